"""Follows transactions to a final end. Only final inclusion counts; not knowing never leads to something new."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import assert_never

from caimi.ports.call_errors import CallRejected
from caimi.ports.chain import (
    CallStatus,
    ChainError,
    Included,
    Lost,
    NotIncluded,
    PreparedCall,
    Reverted,
    StatusUnknown,
)
from caimi.ports.clock import Clock
from caimi.ports.observer import Observer
from caimi.ports.relay_store import (
    LIVE,
    CallRow,
    CallState,
    Change,
    PutCall,
    PutTransaction,
    RelayStep,
    RelayStore,
    TransactionRow,
    TransactionState,
)
from caimi.relay.backoff import Pauses
from caimi.relay.calls import Failure, changed, failed, gives_up
from caimi.relay.lanes import RelayLane
from caimi.types.primitives import UnixSeconds

__all__ = ["Tracker", "judge"]


def judge(row: TransactionRow, status: CallStatus, now: UnixSeconds) -> tuple[RelayStep, TransactionRow] | None:
    """What a status makes of a live transaction, None if nothing changes.

    SENT as a result means that it fell off the chain and has to be sent again.
    """
    match status:
        case Included(height=height, final=True):
            included = row.included if row.included is not None else now
            return RelayStep.DONE, dataclasses.replace(
                row, state=TransactionState.DONE, height=height, included=included, final=now
            )
        case Included(height=height):
            if row.state is TransactionState.INCLUDED and row.height == height:
                return None
            return RelayStep.INCLUDED, dataclasses.replace(
                row, state=TransactionState.INCLUDED, height=height, included=now
            )
        case Reverted(cause=cause, final=True):
            return RelayStep.RETRIED, dataclasses.replace(row, state=TransactionState.FAILED, cause=cause, final=now)
        case Reverted(cause=cause):
            if row.state is TransactionState.REVERTED:
                return None
            return RelayStep.RETRIED, dataclasses.replace(row, state=TransactionState.REVERTED, cause=cause)
        case Lost():
            cause = row.cause or "its slot was used by another transaction, or its time has passed"
            return RelayStep.RETRIED, dataclasses.replace(row, state=TransactionState.LOST, cause=cause, final=now)
        case NotIncluded():
            if row.state in (TransactionState.PREPARED, TransactionState.SENT):
                return None
            return RelayStep.SENT, dataclasses.replace(row, state=TransactionState.SENT, height=None, included=None)
        case StatusUnknown():
            return None
        case _:
            assert_never(status)


class Tracker:
    """Follows the live transactions of one lane."""

    def __init__(
        self,
        lane: RelayLane,
        *,
        store: RelayStore,
        clock: Clock,
        observer: Observer,
        pauses: Pauses,
        max_attempts: int,
        resend_seconds: float,
    ) -> None:
        self._lane = lane
        self._store = store
        self._clock = clock
        self._observer = observer
        self._pauses = pauses
        self._max_attempts = max_attempts
        self._resend_seconds = resend_seconds
        self._sent_at: dict[str, float] = {}
        self.hint = ""
        """What the node said last against taking a transaction."""

    async def send(self, row: TransactionRow) -> None:
        """Hand a transaction to the ledger; if that is not known to have worked, it is done again later."""
        self._sent_at[row.transaction] = self._clock.monotonic()
        try:
            await self._lane.port.send(_prepared(row))
        except ChainError as error:
            self.hint = f"{type(error).__name__}: {error}"
            self._observer.step("relay.not-sent", lane=self._lane.name, transaction=row.transaction, text=self.hint)
            if isinstance(error, CallRejected):
                await self._drop_rejected(row, str(error))
            return
        self.hint = ""
        if row.state is TransactionState.PREPARED:
            sent = dataclasses.replace(row, state=TransactionState.SENT, sent=self._clock.now())
            self._store.write(RelayStep.SENT, PutTransaction(row=sent))

    async def _drop_rejected(self, row: TransactionRow, cause: str) -> None:
        # The node will never take these bytes. If the ledger does not have them either, the calls are prepared afresh;
        # with the same slot, so that at most one of the two is ever included.
        if not isinstance(await self._status(row), NotIncluded):
            return
        now = self._clock.now()
        lost = dataclasses.replace(row, state=TransactionState.LOST, cause=cause, final=now)
        self._store.write(RelayStep.RETRIED, PutTransaction(row=lost), *self._call_changes(lost, now))

    async def turn(self) -> None:
        """Ask for the status of every live transaction, keep what changed, and send again what is not there."""
        rows = self._store.transactions(self._lane.lane, LIVE)
        statuses = await asyncio.gather(*(self._status(row) for row in rows))
        now = self._clock.now()
        changes: dict[RelayStep, list[Change]] = {}
        again: list[TransactionRow] = []
        for row, status in zip(rows, statuses, strict=True):
            verdict = judge(row, status, now)
            if verdict is None:
                # The same bytes take effect at most once: what was not handed over is, whatever the node knows.
                if row.state is TransactionState.PREPARED or (isinstance(status, NotIncluded) and self._is_due(row)):
                    again.append(row)
                continue
            step, after = verdict
            self._tell(after)
            changes.setdefault(step, []).extend([PutTransaction(row=after), *self._call_changes(after, now)])
            if step is RelayStep.SENT:
                again.append(after)
            if after.state not in LIVE:
                self._sent_at.pop(row.transaction, None)
        for step, together in changes.items():
            self._store.write(step, *together)
        for row in again:
            await self.send(row)

    async def _status(self, row: TransactionRow) -> CallStatus:
        try:
            return await self._lane.port.status(_prepared(row))
        except ChainError as error:
            return StatusUnknown(because=f"{type(error).__name__}: {error}")

    def _is_due(self, row: TransactionRow) -> bool:
        sent_at = self._sent_at.get(row.transaction)
        return sent_at is None or self._clock.monotonic() - sent_at >= self._resend_seconds

    def _call_changes(self, after: TransactionRow, now: UnixSeconds) -> list[Change]:
        calls = self._store.calls_in(self._lane.lane, after.transaction)
        match after.state:
            case TransactionState.DONE:
                for call in calls:
                    self._pauses.over(call.key)
                return [PutCall(row=changed(call, CallState.DONE, now, height=after.height)) for call in calls]
            case TransactionState.FAILED | TransactionState.REVERTED | TransactionState.LOST:
                return [PutCall(row=self._again(call, after, now)) for call in calls]
            case _:
                return []

    def _again(self, call: CallRow, transaction: TransactionRow, now: UnixSeconds) -> CallRow:
        name = "Lost" if transaction.state is TransactionState.LOST else "Reverted"
        cause = Failure(name=name, values={"cause": transaction.cause, "transaction": transaction.transaction})
        self._pauses.failed(call.key)
        state = CallState.REFUSED if gives_up(call, self._max_attempts) else CallState.QUEUED
        return failed(call, state, cause, now)

    def _tell(self, row: TransactionRow) -> None:
        self._observer.step(
            "relay.transaction",
            lane=self._lane.name,
            transaction=row.transaction,
            state=row.state.value,
            height=row.height,
            cause=row.cause or None,
        )
        self._observer.count("transactions", lane=self._lane.name, state=row.state.value)


def _prepared(row: TransactionRow) -> PreparedCall:
    return PreparedCall(transaction=row.transaction, raw=row.raw, slot=row.slot)
