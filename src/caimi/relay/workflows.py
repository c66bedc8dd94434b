"""What is under way, and for how long it made no progress: everything that has an end and has not reached it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from caimi.ports.clock import Clock
from caimi.ports.relay_store import CallRow, OpenWorkflow, Purpose, RelayStore
from caimi.relay.calls import concerns, subjects_of
from caimi.relay.lanes import RelayLane, RelayLanes
from caimi.types.primitives import Bytes32, Sequence, UnixSeconds
from caimi.wire.functions import decode_call

__all__ = ["Workflow", "WorkflowKind", "Workflows"]

_MOST: Final = 1_000
_WINDOW: Final = 64


class WorkflowKind(StrEnum):
    """What it is."""

    PUBLICATION = "publication"
    REQUEST = "request"
    OTHER = "other"
    """Another call, e.g. a withdrawal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """One open workflow."""

    id: Bytes32
    kind: WorkflowKind
    since: UnixSeconds
    idle: int
    """Seconds without progress, by the relay's clock."""


class Workflows:
    """Finds them in the store. All times are by the relay's own clock: those of ledgers may be wrong or stand still."""

    def __init__(self, lanes: RelayLanes, store: RelayStore, clock: Clock) -> None:
        self._lanes = lanes
        self._store = store
        self._clock = clock

    def open(self) -> tuple[Workflow, ...]:
        """All of them, the one that waits for the longest first; of very many the oldest 1,000 of each lane.

        A request counts until its answer is final or its deadline has passed. After that nobody can do anything.
        """
        now = self._clock.now()
        subjects: dict[Bytes32, None] = {}
        for lane in self._lanes:
            subjects |= dict.fromkeys(self._store.open_subjects(lane.lane, _MOST))
            waiting = self._store.unanswered(lane.lane, _MOST)
            subjects |= dict.fromkeys(row.subjects[0] for row in waiting if now <= _deadline(row))
        for source, destination in self._lanes.pairs():
            subjects |= dict.fromkeys(self._uncarried(source, destination))
        found = [self._store.workflow(subject) for subject in subjects]
        shown = [_shown(one, self._kind(one), now) for one in found if one is not None]
        return tuple(sorted(shown, key=lambda one: (-one.idle, one.since, one.id)))

    def _uncarried(self, source: RelayLane, destination: RelayLane) -> list[Bytes32]:
        # Decided or locked, but not certified yet: no call tells of it.
        first = Sequence(self._store.cursor(source.lane, destination.lane) + 1)
        events = [final.item.event for final in self._store.followed(source.lane, first, _WINDOW)]
        return [s for event in events if concerns(event, destination.lane) for s in subjects_of(event)]

    def _kind(self, one: OpenWorkflow) -> WorkflowKind:
        if one.is_publication:
            return WorkflowKind.PUBLICATION
        is_other = all(row.purpose is Purpose.OTHER for row in self._store.calls_about(one.subject))
        return WorkflowKind.OTHER if is_other else WorkflowKind.REQUEST


def _shown(one: OpenWorkflow, kind: WorkflowKind, now: UnixSeconds) -> Workflow:
    return Workflow(id=one.subject, kind=kind, since=one.since, idle=max(0, now - one.progressed))


def _deadline(row: CallRow) -> UnixSeconds:
    return decode_call(row.call)[1][0].deadline
