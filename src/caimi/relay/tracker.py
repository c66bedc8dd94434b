"""Follows transactions to a final end. Only final inclusion counts; not knowing never leads to something new."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from typing import Final, assert_never

from caimi.ports.call_errors import CallRejected, FeeTooLow, NotTakenNow, SenderUnfunded
from caimi.ports.chain import (
    CallStatus,
    ChainError,
    Included,
    Lost,
    NotIncluded,
    Reverted,
    StatusUnknown,
)
from caimi.ports.clock import Clock
from caimi.ports.metrics import CALL_FAILURES, TRANSACTION_SECONDS, TRANSACTIONS
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
from caimi.relay.calls import Failure, changed, failed, gives_up, prepared_call, same_slot, subjects_in
from caimi.relay.lanes import RelayLane
from caimi.relay.refused import CallLost, CallReverted
from caimi.types.primitives import UnixSeconds

__all__ = ["Tracker", "judge"]

# A node may take a moment to show what it was given.
_FORGOTTEN_SECONDS: Final = 0.5
_WAITING: Final = (TransactionState.PREPARED, TransactionState.SENT)
_TAKEN: Final = (TransactionState.DONE, TransactionState.INCLUDED)
_USELESS: Final = (TransactionState.FAILED, TransactionState.REVERTED)
# The step under which the changes of one slot are stored: that of the transaction that counts.
_WEIGHT: Final = (RelayStep.DONE, RelayStep.INCLUDED, RelayStep.RETRIED, RelayStep.SENT)


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
        self._refused: dict[str, ChainError] = {}

    @property
    def hint(self) -> str:
        """What the node said last against taking a transaction that still waits, "" if nothing."""
        return next((f"{type(error).__name__}: {error}; {error.hint}" for error in self._refused.values()), "")

    def is_underpriced(self, transaction: str) -> bool:
        """Whether the node refused it for its price when it was handed over last."""
        return isinstance(self._refused.get(transaction), FeeTooLow)

    async def send(self, row: TransactionRow) -> None:
        """Hand a transaction to the ledger; if that is not known to have worked, it is done again later."""
        self._sent_at[row.transaction] = self._clock.monotonic()
        try:
            await self._lane.port.send(prepared_call(row))
        except ChainError as error:
            self._refused[row.transaction] = error
            text = f"{type(error).__name__}: {error}"
            self._observer.step("relay.not-sent", lane=self._lane.name, transaction=row.transaction, text=text)
            if isinstance(error, CallRejected):
                await self._drop_rejected(row, str(error))
            return
        self._refused.pop(row.transaction, None)
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
        live = self._store.transactions(self._lane.lane, LIVE)
        after = next(
            group
            for group in same_slot(lost if other.transaction == row.transaction else other for other in live)
            if lost in group
        )
        self._refused.pop(row.transaction, None)
        changes = self._call_changes(after, now, counts=True)
        self._store.write(RelayStep.RETRIED, PutTransaction(row=lost), *changes)

    async def turn(self) -> None:
        """Ask for the status of every live transaction, keep what changed, and send again what is not there."""
        rows = self._store.transactions(self._lane.lane, LIVE)
        asked = await asyncio.gather(*(self._status(row) for row in rows))
        statuses = {row.transaction: status for row, status in zip(rows, asked, strict=True)}
        now = self._clock.now()
        changes: dict[RelayStep, list[Change]] = {}
        again: list[TransactionRow] = []
        for group in same_slot(rows):
            verdicts = [judge(row, statuses[row.transaction], now) for row in group]
            after = [row if verdict is None else verdict[1] for row, verdict in zip(group, verdicts, strict=True)]
            if all(row.state in _WAITING for row in after) and (
                verdicts[-1] is not None or self._is_due(after[-1], statuses[after[-1].transaction])
            ):
                # Only the newest of a slot: it pays most. What fell off the ledger is sent at once.
                again.append(after[-1])
            steps = [verdict[0] for verdict in verdicts if verdict is not None]
            if not steps:
                continue
            changed_rows = [row for row, verdict in zip(after, verdicts, strict=True) if verdict is not None]
            for row in changed_rows:
                self._tell(row)
            # One slot's transactions and calls change together: a call is never bound to a dead transaction.
            together = changes.setdefault(min(steps, key=_WEIGHT.index), [])
            together += [PutTransaction(row=row) for row in changed_rows]
            together += self._call_changes(after, now)
        for step, together in changes.items():
            self._store.write(step, *together)
        self._forget_all_but({group[-1].transaction for group in same_slot(rows)})
        for row in again:
            await self.send(row)

    async def _status(self, row: TransactionRow) -> CallStatus:
        try:
            return await self._lane.port.status(prepared_call(row))
        except ChainError as error:
            return StatusUnknown(because=f"{type(error).__name__}: {error}")

    def _is_due(self, row: TransactionRow, status: CallStatus) -> bool:
        # The same bytes take effect at most once: what was not handed over is, whatever the node knows; what a node
        # refused for a reason waits like the rest.
        sent_at = self._sent_at.get(row.transaction)
        since = math.inf if sent_at is None else self._clock.monotonic() - sent_at
        if since >= self._resend_seconds:
            return row.state is TransactionState.PREPARED or isinstance(status, NotIncluded)
        if isinstance(self._refused.get(row.transaction), (FeeTooLow, NotTakenNow, SenderUnfunded)):
            return False
        # A node that was started again has lost what waited: nobody else will include it.
        is_forgotten = isinstance(status, NotIncluded) and status.is_forgotten and since >= _FORGOTTEN_SECONDS
        return row.state is TransactionState.PREPARED or is_forgotten

    def _forget_all_but(self, transactions: set[str]) -> None:
        self._sent_at = {t: at for t, at in self._sent_at.items() if t in transactions}
        self._refused = {t: error for t, error in self._refused.items() if t in transactions}

    def _call_changes(self, rows: list[TransactionRow], now: UnixSeconds, *, counts: bool = False) -> list[Change]:
        # `rows` are all of one slot. Whichever of them is included counts, for the calls of all.
        bound = [call for row in rows for call in self._store.calls_in(self._lane.lane, row.transaction)]
        taken = next((row for row in rows if row.state in _TAKEN), None)
        if taken is not None and taken.state is TransactionState.DONE:
            for call in bound:
                self._pauses.over(call.key)
            done = {"transaction": taken.transaction, "height": taken.height}
            return [PutCall(row=changed(call, CallState.DONE, now, **done)) for call in bound]
        useless = next((row for row in rows if row.state in _USELESS), None)
        waiting = [row for row in rows if row.state in _WAITING]
        if taken is None and (useless is not None or not waiting):
            return [PutCall(row=self._again(call, useless or rows[-1], now, counts=counts)) for call in bound]
        heir = (taken or waiting[-1]).transaction
        return [
            PutCall(row=changed(call, CallState.BOUND, now, transaction=heir))
            for call in bound
            if call.transaction != heir
        ]

    def _again(self, call: CallRow, transaction: TransactionRow, now: UnixSeconds, *, counts: bool) -> CallRow:
        lost = transaction.state is TransactionState.LOST
        cause = Failure(
            name=(CallLost if lost else CallReverted).__name__,
            values={"cause": transaction.cause, "transaction": transaction.transaction},
        )
        self._pauses.failed(call.key)
        # That somebody else used its slot says nothing about a call: it was not tried.
        tried = counts or not lost
        state = CallState.REFUSED if tried and gives_up(call, self._max_attempts) else CallState.QUEUED
        following = "refused" if state is CallState.REFUSED else "retried"
        self._observer.count(CALL_FAILURES, lane=self._lane.name, refusal=cause.name, next=following)
        row = failed(call, state, cause, now)
        return row if tried else dataclasses.replace(row, attempts=call.attempts)

    def _tell(self, row: TransactionRow) -> None:
        self._observer.step(
            "relay.transaction",
            about=subjects_in(self._store.calls_in(self._lane.lane, row.transaction)),
            lane=self._lane.name,
            transaction=row.transaction,
            state=row.state.value,
            height=row.height,
            cause=row.cause or None,
        )
        self._observer.count(TRANSACTIONS, lane=self._lane.name, state=row.state.value)
        if row.state is TransactionState.DONE and row.final is not None:
            self._observer.observe(TRANSACTION_SECONDS, max(0, row.final - row.prepared), lane=self._lane.name)
