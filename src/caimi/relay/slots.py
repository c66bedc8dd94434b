"""Keeps a lane's numbered transactions moving: higher fees for what nobody includes, fillers for missing numbers.

Everything is decided by the stored transactions and the ledger's answers, so that a relay which was killed goes on
where it was. Transactions of one slot are the same call at different prices; the ledger takes at most one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from caimi.ports.call_errors import FeeBoundReached
from caimi.ports.chain import PreparedCall
from caimi.ports.clock import Clock
from caimi.ports.metrics import REPLACEMENTS
from caimi.ports.observer import Observer
from caimi.ports.relay_store import (
    LIVE,
    CallState,
    PutCall,
    PutTransaction,
    RelayStep,
    RelayStore,
    TransactionRow,
    TransactionState,
)
from caimi.relay.backoff import Pauses
from caimi.relay.calls import changed, new_transaction, prepared_call, same_slot, subjects_in
from caimi.relay.lanes import RelayLane
from caimi.relay.tracker import Tracker

__all__ = ["SlotKeeper"]

_DOUBLINGS: Final = 6
_FILLERS: Final = 16
# What a node refuses for its price alone does not wait for its turn: there is nothing in the pool to be included.
_UNDERPRICED_SECONDS: Final = 1.0
_PENDING: Final = (TransactionState.PREPARED, TransactionState.SENT)


class SlotKeeper:
    """Works for one lane; does nothing where transactions have no slots."""

    def __init__(
        self,
        lane: RelayLane,
        *,
        tracker: Tracker,
        store: RelayStore,
        clock: Clock,
        observer: Observer,
        pauses: Pauses,
        resend_seconds: float,
        replace_seconds: float,
    ) -> None:
        """Look for gaps after `resend_seconds`; outbid after `replace_seconds`, twice as long each time."""
        self._lane = lane
        self._tracker = tracker
        self._store = store
        self._clock = clock
        self._observer = observer
        self._pauses = pauses
        self._resend_seconds = resend_seconds
        self._replace_seconds = replace_seconds
        self._seen: dict[str, float] = {}
        self._bound: dict[int, str] = {}
        # What is shown as 0 from the start can be seen to grow.
        observer.count(REPLACEMENTS, 0, lane=lane.name)

    @property
    def hint(self) -> str:
        """Which price bound keeps which transaction waiting, "" if none does."""
        return next(iter(self._bound.values()), "")

    async def outbid(self) -> None:
        """Sign again, at a higher fee and under the same slot, what has waited too long.

        Raises:
            ChainError: The ledger cannot be used now, or the sender cannot pay.
        """
        slots = self._pending()
        self._forget_all_but(slots)
        stuck = {slot for slot, rows in slots.items() if self._is_stuck(rows)}
        if not stuck:
            return
        # Only what nothing is missing before: a higher fee moves nothing behind a gap.
        slot = await self._lane.port.next_slot()
        while slot is not None and slot in slots:
            if slot in stuck:
                await self._outbid(slot, slots[slot])
            slot += 1

    async def close_gaps(self) -> None:
        """Fill slots that nothing of ours uses and that later transactions wait for.

        They arise where a node refuses bytes for good, and where a ledger went back further than it should.

        Raises:
            ChainError: As `outbid`.
        """
        waiting = [slot for slot, rows in self._pending().items() if self._age(rows[-1]) >= self._resend_seconds]
        if not waiting:
            return
        following = await self._lane.port.next_slot()
        if following is None:
            return
        taken = {row.slot for row in self._store.transactions(self._lane.lane, LIVE)}
        missing = (slot for slot in range(following, max(waiting)) if slot not in taken)
        for slot, _ in zip(missing, range(_FILLERS), strict=False):
            await self._fill(slot)

    # --- one slot

    async def _outbid(self, slot: int, rows: list[TransactionRow]) -> None:
        key = ("outbid", self._lane.name, slot)
        if self._pauses.waits(key):
            return
        newest = rows[-1]
        try:
            prepared = await self._lane.port.reprice(prepared_call(newest))
        except FeeBoundReached as error:
            self._pauses.failed(key)
            self._bound[slot] = f"{type(error).__name__}: {newest.transaction} waits: {error}; {error.hint}"
            return
        self._pauses.over(key)
        self._bound.pop(slot, None)
        now = self._clock.now()
        calls = [call for row in rows for call in self._store.calls_in(self._lane.lane, row.transaction)]
        self._observer.step(
            "relay.replaces", about=subjects_in(calls), lane=self._lane.name, transaction=newest.transaction
        )
        self._observer.count(REPLACEMENTS, lane=self._lane.name)
        moved = [PutCall(row=changed(call, CallState.BOUND, now, transaction=prepared.transaction)) for call in calls]
        await self._send(RelayStep.REPRICED, prepared, moved)

    async def _fill(self, slot: int) -> None:
        prepared = await self._lane.port.fill(slot)
        self._observer.step("relay.fills", lane=self._lane.name, transaction=prepared.transaction, slot=slot)
        await self._send(RelayStep.FILLED, prepared, [])

    async def _send(self, step: RelayStep, prepared: PreparedCall, moved: list[PutCall]) -> None:
        row = new_transaction(self._lane.lane, prepared, self._clock.now())
        self._store.write(step, PutTransaction(row=row), *moved)
        await self._tracker.send(row)

    # --- how long

    def _pending(self) -> dict[int, list[TransactionRow]]:
        # By slot, of which no transaction is on the ledger. Oldest first in each.
        groups = same_slot(self._store.transactions(self._lane.lane, LIVE))
        return {rows[0].slot: rows for rows in groups if rows[0].slot is not None and _is_pending(rows)}

    def _is_stuck(self, rows: list[TransactionRow]) -> bool:
        wait = self._replace_seconds
        if self._tracker.is_underpriced(rows[-1].transaction):
            wait = min(wait, _UNDERPRICED_SECONDS)
        return self._age(rows[-1]) >= wait * 2 ** min(len(rows) - 1, _DOUBLINGS)

    def _age(self, row: TransactionRow) -> float:
        # By the clock of the wall it survives a restart, by the other one a clock that is set back.
        now = self._clock.monotonic()
        return max(now - self._seen.setdefault(row.transaction, now), self._clock.now() - row.prepared)

    def _forget_all_but(self, slots: dict[int, list[TransactionRow]]) -> None:
        live = {row.transaction for rows in slots.values() for row in rows}
        self._seen = {transaction: since for transaction, since in self._seen.items() if transaction in live}
        self._bound = {slot: words for slot, words in self._bound.items() if slot in slots}


def _is_pending(rows: Iterable[TransactionRow]) -> bool:
    return all(row.state in _PENDING for row in rows)
