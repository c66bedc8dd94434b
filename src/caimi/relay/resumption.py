"""What governance decided about lanes, and what a relay forgets and does again when blocks are gone (spec 35 §3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from caimi.ports.chain import FinalEvent
from caimi.ports.relay_store import CallState, Change, DropEvents, PutCall, RelayStore
from caimi.protocol.governance import decision_in
from caimi.protocol.registry_state import GovernedLane
from caimi.relay.calls import changed
from caimi.relay.lanes import RelayLane, RelayLanes
from caimi.types.primitives import Generation, PublicationId, Sequence, UnixSeconds
from caimi.types.records import Kind, Lane
from caimi.wire.digests import lane_hash

__all__ = ["LaneDecisions", "events_dropped", "undone_above"]

_PAGE: Final = 1024


class LaneDecisions:
    """The last decision about each lane of a relay, by the events that it followed.

    Only the root registry emits them. A relay believes whoever does: what it carries is judged where it arrives.
    """

    def __init__(self, lanes: RelayLanes, store: RelayStore) -> None:
        self._lanes = lanes
        self._store = store
        self._last: dict[Lane, GovernedLane] = {}
        for lane in lanes:
            self.learn(final.event for final in store.followed_about(lane_hash(lane.lane)))

    def of(self, lane: Lane) -> GovernedLane:
        """The last decision about a lane."""
        return self._last.get(lane, GovernedLane())

    def generation(self, lane: RelayLane) -> Generation:
        """The generation in which a lane is certified."""
        return max(lane.generation, self.of(lane.lane).generation)

    def learn(self, events: Iterable[FinalEvent]) -> None:
        """Take note of what stored events decide."""
        for lane, decided in self._decided(events):
            self._last[lane] = decided

    def changes(self, events: Iterable[FinalEvent], now: UnixSeconds) -> list[Change]:
        """What has to become durable together with events, because of what they decide.

        A resumed lane is read again above the last block kept, and what was done there since is to be done again.
        """
        changes: list[Change] = []
        for lane, decided in self._decided(events):
            if not decided.dropped and self._lanes.get(lane) is not None:
                changes += undone_above(self._store, lane, decided.height, now)
        return changes

    def _decided(self, events: Iterable[FinalEvent]) -> list[tuple[Lane, GovernedLane]]:
        # Of each lane the last decision that is new.
        newest: dict[Lane, GovernedLane] = {}
        for final in events:
            found = decision_in(final.item.event)
            if found is not None and found[1].version > newest.get(found[0], self.of(found[0])).version:
                newest[found[0]] = found[1]
        return list(newest.items())


_OUTCOMES: Final = (Kind.OUTCOME, Kind.BATCH_OUTCOME)


def undone_above(store: RelayStore, lane: Lane, height: int, now: UnixSeconds) -> list[Change]:
    """Forget a lane's stored events above a block, and queue again what was done there.

    Arguments:
        height: of the last block whose events are kept; -1 for none.
    """
    first = store.first_above(lane, height)
    dropped: list[Change] = [] if first is None else [events_dropped(store, lane, first)]
    fields = {"attempts": 0, "transaction": None, "height": None}
    undone = store.done_above(lane, height)
    return [*dropped, *(PutCall(row=changed(row, CallState.QUEUED, now, **fields)) for row in undone)]


def events_dropped(store: RelayStore, lane: Lane, first: Sequence) -> DropEvents:
    """Forget a lane's stored events from `first` on; publications that they decided are undecided again."""
    reopened: list[PublicationId] = []
    following = first
    while page := store.followed(lane, following, _PAGE):
        reopened += [PublicationId(final.item.event.subject) for final in page if final.item.event.kind in _OUTCOMES]
        following = Sequence(page[-1].item.sequence + 1)
    return DropEvents(lane=lane, first=first, reopened=tuple(reopened))
