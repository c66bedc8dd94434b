"""Ends batches that home did not decide in time (spec 37 §2, §4). Only home's clock decides; ours says when to ask."""

from __future__ import annotations

import dataclasses
from typing import Final

from caimi.ports.chain import BatchView
from caimi.ports.clock import Clock
from caimi.ports.observer import Observer
from caimi.ports.relay_store import (
    AddCall,
    AddPublication,
    BatchItem,
    Change,
    PublicationRow,
    Purpose,
    RelayStep,
    RelayStore,
    Watched,
)
from caimi.protocol.publication import State
from caimi.relay.batch_calls import take_out_all
from caimi.relay.calls import abort_key, lock_key, new_call, take_out_key
from caimi.relay.follower import Follower
from caimi.relay.lanes import RelayLane, RelayLanes
from caimi.types.primitives import UnixSeconds
from caimi.types.records import Publication
from caimi.wire.codec import decode
from caimi.wire.functions import encode_call

__all__ = ["BatchWatcher"]

# No ledger's clock runs back further: twice the widest clock window, and as much again.
_TOO_LATE_SECONDS: Final = 120


class BatchWatcher:
    """Watches the batches whose home is one lane."""

    def __init__(
        self,
        lane: RelayLane,
        lanes: RelayLanes,
        *,
        follower: Follower,
        store: RelayStore,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._lane = lane
        self._lanes = lanes
        self._follower = follower
        self._store = store
        self._clock = clock
        self._observer = observer

    async def turn(self) -> None:
        """Queue what ends the batches that are late.

        Raises:
            ChainError: Ask again later.
        """
        head = self._follower.head
        if head is None:
            return
        now = max(head.time, self._clock.now())
        for row in self._store.undecided(self._lane.lane):
            if row.watched is not Watched.BATCH or (row.deadline is not None and now <= row.deadline):
                continue
            view = await self._lane.port.batch(self._lane.lane, row.id)
            if view is None:
                self._abandon(row, head.time)
            elif view.state is State.LOCKED:
                self._end(row, view, now)

    def _abandon(self, row: PublicationRow, time: UnixSeconds) -> None:
        # Home never locked it, and it can do so no more: nothing is held anywhere.
        if row.deadline is not None and time > row.deadline + _TOO_LATE_SECONDS:
            self._observer.step("relay.abandons-batch", about=(row.id,), lane=self._lane.name)
            aborted = dataclasses.replace(row, outcome=State.ABORTED)
            self._store.write(RelayStep.ABANDONED, AddPublication(row=aborted))

    def _end(self, row: PublicationRow, view: BatchView, now: UnixSeconds) -> None:
        if row.deadline is None:
            known = dataclasses.replace(row, deadline=view.earliest)
            self._store.write(RelayStep.WATCHED, AddPublication(row=known))
        if now > view.earliest:
            self._take_out_all(row, now)
        if now > view.latest and self._store.call(abort_key(row.id)) is None:
            call = encode_call("abortBatch", row.id)
            key, lane = abort_key(row.id), self._lane.lane
            queued = new_call(key, lane, call, purpose=Purpose.ABORT, subjects=(row.id,), now=self._clock.now())
            self._observer.step("relay.aborts", about=(row.id,), lane=self._lane.name)
            self._store.write(RelayStep.ABORT_QUEUED, AddCall(row=queued))

    def _take_out_all(self, row: PublicationRow, now: UnixSeconds) -> None:
        items = self._store.batch_items(row.id)
        if not items or self._store.call(take_out_key(items[0].id, self._lane.name)) is not None:
            return
        changes: list[Change] = [*take_out_all(items, self._lane, self._clock.now())]
        for item in items:
            changes += self._go_on_alone(item, now)
        self._observer.step("relay.takes-out", about=(row.id,), lane=self._lane.name, count=len(items))
        self._store.write(RelayStep.TAKE_OUTS_QUEUED, *changes)

    def _go_on_alone(self, item: BatchItem, now: UnixSeconds) -> list[Change]:
        publication = decode(Publication, item.publication)
        row = PublicationRow(
            id=item.id,
            publication=item.publication,
            signature=item.signature,
            home=publication.home,
            mirrors=publication.mirrors,
            deadline=publication.deadline,
            outcome=None,
            accepted=self._clock.now(),
            capsule=item.capsule,
        )
        changes: list[Change] = [AddPublication(row=row)]
        if now <= publication.deadline:
            changes += [self._lock(item, publication, mirror) for mirror in self._mirrors(publication)]
        return changes

    def _mirrors(self, publication: Publication) -> list[RelayLane]:
        served = [self._lanes.get(mirror) for mirror in publication.mirrors]
        return [lane for lane in served if lane is not None]

    def _lock(self, item: BatchItem, publication: Publication, lane: RelayLane) -> AddCall:
        call = encode_call("lockModel", publication, item.signature)
        key, now = lock_key(item.id, lane.name), self._clock.now()
        return AddCall(row=new_call(key, lane.lane, call, purpose=Purpose.LOCK, subjects=(item.id,), now=now))
