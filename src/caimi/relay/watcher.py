"""Aborts publications whose deadline passed. Only home's clock decides (spec 30 §1); ours says when to ask."""

from __future__ import annotations

import dataclasses

from caimi.ports.chain import PublicationView
from caimi.ports.clock import Clock
from caimi.ports.metrics import UNDECIDED
from caimi.ports.observer import Observer
from caimi.ports.relay_store import (
    AddCall,
    AddPublication,
    CallRow,
    PublicationRow,
    Purpose,
    RelayStep,
    RelayStore,
    Watched,
)
from caimi.protocol.publication import State
from caimi.relay.calls import abort_key, new_call
from caimi.relay.follower import Follower
from caimi.relay.lanes import RelayLane
from caimi.types.primitives import UnixSeconds
from caimi.types.records import Publication
from caimi.wire.codec import decode
from caimi.wire.functions import encode_call

__all__ = ["Watcher", "abort_call"]


class Watcher:
    """Watches the publications whose home is one lane."""

    def __init__(
        self, lane: RelayLane, *, follower: Follower, store: RelayStore, clock: Clock, observer: Observer
    ) -> None:
        self._lane = lane
        self._follower = follower
        self._store = store
        self._clock = clock
        self._observer = observer

    async def turn(self) -> None:
        """Read missing deadlines and queue the aborts that are due.

        Raises:
            ChainError: Ask again later.
        """
        head = self._follower.head
        if head is None:
            return
        # A ledger without traffic has a clock that stands still, and the abort itself would move it: so our clock is
        # reason enough to ask. If it is fast, home says DeadlineNotPassed and is asked again later.
        now = max(head.time, self._clock.now())
        undecided = self._store.undecided(self._lane.lane)
        self._observer.gauge(UNDECIDED, len(undecided), lane=self._lane.name)
        for row in undecided:
            if row.watched is not Watched.PUBLICATION:
                continue
            known = row if row.deadline is not None else await self._read_deadline(row)
            if known.deadline is not None and now > known.deadline and not self._is_queued(known):
                await self._abort(known)

    def _is_queued(self, row: PublicationRow) -> bool:
        return self._store.call(abort_key(row.id)) is not None

    async def _read_deadline(self, row: PublicationRow) -> PublicationRow:
        view = await self._lane.port.publication(row.id)
        if view is None:
            return row
        known = dataclasses.replace(row, deadline=view.deadline)
        self._store.write(RelayStep.WATCHED, AddPublication(row=known))
        return known

    async def _abort(self, row: PublicationRow) -> None:
        call = abort_call(row, await self._lane.port.publication(row.id))
        if call is None:
            return
        self._observer.step("relay.aborts", about=(row.id,), lane=self._lane.name)
        self._store.write(RelayStep.ABORT_QUEUED, AddCall(row=self._row(row, call, self._clock.now())))

    def _row(self, row: PublicationRow, call: bytes, now: UnixSeconds) -> CallRow:
        return new_call(abort_key(row.id), self._lane.lane, call, purpose=Purpose.ABORT, subjects=(row.id,), now=now)


def abort_call(row: PublicationRow, view: PublicationView | None) -> bytes | None:
    """What ends a publication at home after its deadline, by home's record of it.

    None if home decided already and its event is not final yet, or if home never saw it and its bytes are not here.
    """
    if view is not None:
        return encode_call("abort", row.id) if view.state is State.LOCKED else None
    if row.publication is None or row.signature is None:
        return None
    return encode_call("abortUnlocked", decode(Publication, row.publication), row.signature)
