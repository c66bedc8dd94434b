"""A relay's numbers that are read rather than counted: ages, backlogs, balances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from caimi.ports.chain import Paying
from caimi.ports.clock import Clock
from caimi.ports.metrics import (
    CALLS,
    IN_FLIGHT,
    LAG,
    LANE_CLOCK_OFFSET,
    LANE_FINAL_HEIGHT,
    LANE_HEIGHT,
    LANE_READ_AGE,
    LANE_SEQUENCE,
    SENDER_BALANCE,
    SENDER_TROUBLE,
    UNDELIVERED,
    UNDELIVERED_AGE,
    WORKFLOW_IDLE,
    WORKFLOWS_OPEN,
    WORKFLOWS_STALLED,
)
from caimi.ports.observer import Observer
from caimi.ports.relay_store import LIVE, CallState, RelayStore
from caimi.relay.calls import carry_prefix
from caimi.relay.follower import Follower
from caimi.relay.lanes import RelayLane, RelayLanes
from caimi.relay.sender import Sender
from caimi.relay.workflows import Workflow, WorkflowKind
from caimi.types.records import Lane

__all__ = ["BalanceWatch", "RelayGauges"]

_BALANCE_S: Final = 15.0


class RelayGauges:
    """Sets the gauges when they are asked for."""

    def __init__(
        self,
        lanes: RelayLanes,
        *,
        followers: Mapping[Lane, Follower],
        senders: Mapping[Lane, Sender],
        store: RelayStore,
        clock: Clock,
        observer: Observer,
        stalled_seconds: float,
    ) -> None:
        self._lanes = lanes
        self._followers = followers
        self._senders = senders
        self._store = store
        self._clock = clock
        self._observer = observer
        self._stalled_seconds = stalled_seconds

    def collect(self, workflows: tuple[Workflow, ...]) -> None:
        """All of them."""
        counts = Counter(workflow.kind for workflow in workflows)
        for kind in WorkflowKind:
            self._observer.gauge(WORKFLOWS_OPEN, counts[kind], kind=kind.value)
        self._observer.gauge(WORKFLOW_IDLE, max((workflow.idle for workflow in workflows), default=0))
        self._observer.gauge(WORKFLOWS_STALLED, sum(w.idle > self._stalled_seconds for w in workflows))
        for lane in self._lanes:
            self._collect_lane(lane)
        for source, destination in self._lanes.pairs():
            self._collect_pair(source, destination)

    def _collect_lane(self, lane: RelayLane) -> None:
        follower, gauge = self._followers[lane.lane], self._observer.gauge
        gauge(LANE_READ_AGE, follower.unread_seconds, lane=lane.name)
        gauge(LANE_SEQUENCE, self._store.last_followed(lane.lane), lane=lane.name)
        if follower.head is not None:
            gauge(LANE_HEIGHT, follower.head.height, lane=lane.name)
            gauge(LANE_FINAL_HEIGHT, follower.head.final_height, lane=lane.name)
            gauge(LANE_CLOCK_OFFSET, self._clock.now() - follower.head.time, lane=lane.name)
        counts = self._store.call_counts(lane.lane)
        for state in CallState:
            gauge(CALLS, counts.get(state, 0), lane=lane.name, state=state.value)
        gauge(IN_FLIGHT, len(self._store.transactions(lane.lane, LIVE)), lane=lane.name)
        gauge(SENDER_TROUBLE, float(bool(self._senders[lane.lane].hint)), lane=lane.name)

    def _collect_pair(self, source: RelayLane, destination: RelayLane) -> None:
        pair = {"source": source.name, "destination": destination.name}
        lag = self._store.last_followed(source.lane) - self._store.cursor(source.lane, destination.lane)
        prefix = carry_prefix(source.name, destination.name)
        on_the_way, oldest = self._store.on_the_way(destination.lane, prefix)
        self._observer.gauge(LAG, lag, **pair)
        self._observer.gauge(UNDELIVERED, lag + on_the_way, **pair)
        self._observer.gauge(UNDELIVERED_AGE, max(0, self._clock.now() - oldest) if oldest else 0, **pair)


class BalanceWatch:
    """Asks what the account that pays on one lane has, now and then."""

    def __init__(self, lane: RelayLane, *, clock: Clock, observer: Observer) -> None:
        self._lane = lane
        # Looked at once: to see whether a port is `Paying` means to look for each of its methods.
        self._paying = lane.port if isinstance(lane.port, Paying) else None
        self._clock = clock
        self._observer = observer
        self._asked_at: float | None = None

    async def turn(self) -> None:
        """Ask, if it is due.

        Raises:
            ChainError: Ask again later.
        """
        if self._paying is None:
            return
        now, port = self._clock.monotonic(), self._paying
        if self._asked_at is not None and now - self._asked_at < _BALANCE_S:
            return
        self._asked_at = now
        self._observer.gauge(SENDER_BALANCE, await port.funds(), lane=self._lane.name)
