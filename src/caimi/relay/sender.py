"""Sends queued calls of one lane: batches, slots, back-off. The only writer of that lane's account."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence
from typing import Final

from caimi.ports.call_errors import CallRejected, CallTooLarge
from caimi.ports.chain import PreparedCall
from caimi.ports.clock import Clock
from caimi.ports.metrics import BATCH_CALLS, CALL_FAILURES
from caimi.ports.observer import Observer
from caimi.ports.relay_store import (
    LIVE,
    CallRow,
    CallState,
    Change,
    Purpose,
    PutCall,
    PutTransaction,
    RelayStep,
    RelayStore,
)
from caimi.relay.backoff import Pauses
from caimi.relay.calls import (
    Failure,
    changed,
    failed,
    gives_up,
    is_for_good,
    new_transaction,
    packed,
    same_slot,
    subjects_in,
)
from caimi.relay.effects import effect_present
from caimi.relay.lanes import RelayLane
from caimi.relay.runs import halves
from caimi.relay.slots import SlotKeeper
from caimi.relay.tracker import Tracker
from caimi.types.errors import CaimiError, ClockSkew, NotInitialised, Refusal, WrongChain
from caimi.types.primitives import Bytes32

__all__ = ["Sender"]

_LOOKAHEAD: Final = 256
# What says nothing about the call: the whole lane waits.
_LANE_FAULTS: Final = (WrongChain, ClockSkew, NotInitialised)


class Sender:
    """Turns a lane's queued calls into transactions, and follows these to a final end."""

    def __init__(
        self,
        lane: RelayLane,
        *,
        network: Bytes32,
        store: RelayStore,
        clock: Clock,
        observer: Observer,
        pauses: Pauses,
        max_attempts: int = 10,
        resend_seconds: float = 10.0,
        replace_seconds: float = 60.0,
    ) -> None:
        self._lane = lane
        self._network = network
        self._store = store
        self._clock = clock
        self._observer = observer
        self._pauses = pauses
        self._max_attempts = max_attempts
        self._tracker = Tracker(
            lane,
            store=store,
            clock=clock,
            observer=observer,
            pauses=pauses,
            max_attempts=max_attempts,
            resend_seconds=resend_seconds,
        )
        self._slots = SlotKeeper(
            lane,
            tracker=self._tracker,
            store=store,
            clock=clock,
            observer=observer,
            pauses=pauses,
            resend_seconds=resend_seconds,
            replace_seconds=replace_seconds,
        )
        self._hint = ""
        self._bound_at = -math.inf

    @property
    def hint(self) -> str:
        """The last thing that the ledger or its node said against sending, "" if all is well."""
        return self._hint or self._slots.hint or self._tracker.hint

    async def turn(self) -> None:
        """Follow what is under way, then send what waits.

        Raises:
            ChainError, WrongChain, ClockSkew: The ledger or its node cannot be used now; nothing is lost.
        """
        try:
            await self._tracker.turn()
            await self._settle_elsewhere()
            await self._slots.outbid()
            await self._dispatch()
            await self._slots.close_gaps()
        except CaimiError as error:
            self._hint = f"{type(error).__name__}: {error}; {error.hint}"
            raise
        self._hint = ""

    async def _dispatch(self) -> None:
        under_way = same_slot(self._store.transactions(self._lane.lane, LIVE))
        free = max(0, self._lane.in_flight - len(under_way))
        if self._lane.apart_seconds:
            is_alone = not under_way or self._clock.monotonic() - self._bound_at >= self._lane.apart_seconds
            free = min(free, 1 if is_alone else 0)
        ready = await self._ready(free * self._lane.batch_calls)
        while ready and free > 0:
            batch, ready = self._take_batch(ready)
            await self._prepare(batch)
            free -= 1

    # --- what to send

    async def _ready(self, limit: int) -> list[CallRow]:
        queued = self._store.calls(self._lane.lane, CallState.QUEUED, _LOOKAHEAD)
        waiting = [row for row in queued if not self._pauses.waits(row.key)][:limit]
        if not waiting:
            return []
        present = await asyncio.gather(*(effect_present(self._lane.port, r.call, self._network) for r in waiting))
        if any(present):
            # Asked after the effects were seen: the blocks that have them are at or below this tip.
            height = (await self._lane.port.head()).height
            now = self._clock.now()
            seen = [row for row, there in zip(waiting, present, strict=True) if there]
            changes = [PutCall(row=changed(row, CallState.ELSEWHERE, now, height=height)) for row in seen]
            self._store.write(RelayStep.ELSEWHERE, *changes)
        return [row for row, there in zip(waiting, present, strict=True) if not there]

    async def _settle_elsewhere(self) -> None:
        # What somebody else delivered counts when it is final; if it vanished it is sent after all.
        rows = self._store.calls(self._lane.lane, CallState.ELSEWHERE, _LOOKAHEAD)
        if not rows:
            return
        final_height = (await self._lane.port.head()).final_height
        done: list[Change] = []
        again: list[Change] = []
        for row in rows:
            if not await effect_present(self._lane.port, row.call, self._network):
                again.append(PutCall(row=changed(row, CallState.QUEUED, self._clock.now(), height=None)))
            elif row.height is not None and final_height >= row.height:
                done.append(PutCall(row=changed(row, CallState.DONE, self._clock.now())))
        self._store.write(RelayStep.DONE, *done)
        self._store.write(RelayStep.RETRIED, *again)

    def _take_batch(self, ready: list[CallRow]) -> tuple[list[CallRow], list[CallRow]]:
        size = 0
        for count, row in enumerate(ready):
            size += len(row.call)
            if count and (size > self._lane.batch_bytes or count == self._lane.batch_calls):
                return ready[:count], ready[count:]
        return ready, []

    # --- one transaction

    async def _prepare(self, rows: list[CallRow]) -> None:
        # A refused batch is halved until the refused calls stand alone; the others go on in smaller ones.
        slot = await self._free_slot()
        try:
            prepared = await self._lane.port.prepare(packed(rows), slot=slot)
        except _LANE_FAULTS:
            raise
        except (Refusal, CallTooLarge, CallRejected) as error:
            if len(rows) == 1:
                self._not_prepared(rows[0], error)
                return
            middle = len(rows) // 2
            await self._prepare(rows[:middle])
            await self._prepare(rows[middle:])
            return
        await self._bind(rows, prepared)

    async def _bind(self, rows: Sequence[CallRow], prepared: PreparedCall) -> None:
        now, self._bound_at = self._clock.now(), self._clock.monotonic()
        transaction = new_transaction(self._lane.lane, prepared, now)
        bound = [PutCall(row=changed(r, CallState.BOUND, now, transaction=prepared.transaction)) for r in rows]
        self._store.write(RelayStep.PREPARED, PutTransaction(row=transaction), *bound)
        self._observer.observe(BATCH_CALLS, len(rows), lane=self._lane.name)
        self._observer.step(
            "relay.prepared", about=subjects_in(rows), lane=self._lane.name, transaction=prepared.transaction
        )
        await self._tracker.send(transaction)

    async def _free_slot(self) -> int | None:
        # The lowest slot that neither the ledger nor a transaction of ours has taken: what waits closes gaps first.
        following = await self._lane.port.next_slot()
        if following is None:
            return None
        taken = {row.slot for row in self._store.transactions(self._lane.lane, LIVE)}
        return next(slot for slot in itertools.count(following) if slot not in taken)

    def _not_prepared(self, row: CallRow, error: Refusal | CallTooLarge | CallRejected) -> None:
        now, cause = self._clock.now(), Failure.of(error)
        told = {"lane": self._lane.name, "key": row.key, "error": cause.name, "text": str(error)}
        self._observer.step("relay.not-prepared", about=row.subjects, **told)
        self._pauses.failed(row.key)
        if row.purpose is Purpose.CARRY:
            changes = halves(self._store, row, now) if isinstance(error, CallTooLarge) else []
            if changes:
                self._failed(cause, "split")
                self._store.write(RelayStep.SPLIT, *changes)
                return
            self._failed(cause, "retried")
            again = failed(row, CallState.UNCERTIFIED, cause, now)
            self._store.write(RelayStep.POSTPONED, PutCall(row=again))
            return
        final = is_for_good(error) or gives_up(row, self._max_attempts)
        self._failed(cause, "refused" if final else "retried")
        if final:
            self._store.write(RelayStep.REFUSED, PutCall(row=failed(row, CallState.REFUSED, cause, now)))
        else:
            self._store.write(RelayStep.POSTPONED, PutCall(row=failed(row, CallState.QUEUED, cause, now)))

    def _failed(self, cause: Failure, following: str) -> None:
        self._observer.count(CALL_FAILURES, lane=self._lane.name, refusal=cause.name, next=following)
