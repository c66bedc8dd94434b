"""The relay's tasks: one follower, sender and watcher for each lane, one carrier for each ordered pair."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from caimi.ports.clock import Clock, Entropy
from caimi.ports.metrics import NOT_YET, TURNS_FAILED
from caimi.ports.observer import Observer
from caimi.ports.relay_store import LIVE, CallState, RelayStore
from caimi.ports.validators import NotYet
from caimi.relay.backoff import Backoff, Pauses
from caimi.relay.batch_intake import BatchIntake
from caimi.relay.batch_watcher import BatchWatcher
from caimi.relay.carrier import Carrier
from caimi.relay.certifier import Certifier, ValidatorPeer
from caimi.relay.follower import Follower
from caimi.relay.gauges import BalanceWatch, RelayGauges
from caimi.relay.intake import Intake
from caimi.relay.lanes import RelayLane, RelayLanes
from caimi.relay.resumption import LaneDecisions
from caimi.relay.sender import Sender
from caimi.relay.situation import RelaySituation
from caimi.relay.timeline import Timelines
from caimi.relay.waking import Bell, Part, Waking
from caimi.relay.watcher import Watcher
from caimi.relay.workflows import Workflows
from caimi.types.errors import CaimiError
from caimi.types.primitives import Bytes32
from caimi.types.records import Lane

__all__ = ["LaneReport", "Relay", "RelayTuning"]


_RETRY: Final = Backoff(first=0.5, longest=30.0)
_CERTIFY: Final = Backoff(first=0.2, longest=5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayTuning:
    """How often and how long. All in seconds."""

    poll: float = 0.2
    answer: float = 10.0
    """How long validators are waited for."""
    resend: float = 10.0
    """After how long the same bytes are sent again."""
    replace: float = 60.0
    """After how long a transaction that is not included is replaced by one with the same slot and a higher fee."""
    retry: Backoff = _RETRY
    """Between attempts of one call or one carrier."""
    certify: Backoff = _CERTIFY
    max_attempts: int = 10
    stalled: float = 120.0
    """For how long a workflow may make no progress before it is told of as stalled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneReport:
    """What /v1/status shows of a lane."""

    name: str
    lane: Lane
    height: int
    final_height: int
    followed: int
    """Highest stored event."""
    lag: dict[str, int]
    """By destination: stored events that its cursor has not passed."""
    calls: dict[CallState, int]
    in_flight: int
    batch_items: int
    """Most publications of a batch whose home it is."""
    hint: str
    unread_seconds: float
    """Since the lane was last read without an error."""
    trouble: str
    """Why it could not be read when that was tried last, "" if it could."""


@dataclass(frozen=True, slots=True)
class _Turn:
    name: str
    act: Callable[[], Awaitable[None]]
    bell: Bell


class Relay:
    """All of one relay process but HTTP."""

    def __init__(
        self,
        network: Bytes32,
        lanes: Sequence[RelayLane],
        peers: Sequence[ValidatorPeer],
        *,
        store: RelayStore,
        clock: Clock,
        entropy: Entropy,
        observer: Observer,
        tuning: RelayTuning | None = None,
    ) -> None:
        self._tuning = tuning or RelayTuning()
        self.network = network
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._observer = observer
        self.lanes = RelayLanes(lanes)
        self._decisions = LaneDecisions(self.lanes, store)
        self._followers = {
            lane.lane: Follower(lane, decisions=self._decisions, store=store, clock=clock, observer=observer)
            for lane in self.lanes
        }
        self._senders = {lane.lane: self._sender(lane, network) for lane in self.lanes}
        self._watchers = [watcher for lane in self.lanes for watcher in self._make_watchers(lane)]
        certifier = Certifier(network, peers, clock=clock, observer=observer, answer_seconds=self._tuning.answer)
        self._carriers = {(pair[0].lane, pair[1].lane): self._carrier(pair, certifier) for pair in self.lanes.pairs()}
        situation = RelaySituation(followers=self._followers, senders=self._senders, carriers=self._carriers)
        self.timelines = Timelines(self.lanes, store, situation)
        self._balances = [BalanceWatch(lane, clock=clock, observer=observer) for lane in self.lanes]
        self.workflows = Workflows(self.lanes, store, clock)
        self._gauges = RelayGauges(
            self.lanes,
            followers=self._followers,
            senders=self._senders,
            store=store,
            clock=clock,
            observer=observer,
            stalled_seconds=self._tuning.stalled,
        )
        observer.count(NOT_YET, 0, part="carrier")
        self.batches, self.intake = self._make_intakes()
        self._turns = self._make_turns()

    async def run(self) -> None:
        """Work for ever. Only what is no error of ours or of a ledger's ends it."""
        async with asyncio.TaskGroup() as tasks:
            for turn in self._turns:
                tasks.create_task(self._repeat(turn))

    async def turn(self) -> None:
        """One turn of everything, one after the other."""
        for turn in self._turns:
            await self._once(turn)

    @property
    def stalled_seconds(self) -> float:
        """After so long without progress a workflow is stalled."""
        return self._tuning.stalled

    def report(self) -> tuple[LaneReport, ...]:
        """How the lanes are."""
        return tuple(self._report(lane) for lane in self.lanes)

    def collect(self) -> None:
        """Set the gauges."""
        self._gauges.collect(self.workflows.open())

    def _make_turns(self) -> list[_Turn]:
        waking = Waking(self._clock)
        self._store.listen(waking.written)
        followers = [_Turn("follower", f.turn, waking.bell(Part.FOLLOWER, lane)) for lane, f in self._followers.items()]
        carriers = [
            _Turn("carrier", c.turn, waking.bell(Part.CARRIER, source)) for (source, _), c in self._carriers.items()
        ]
        senders = [_Turn("sender", s.turn, waking.bell(Part.SENDER, lane)) for lane, s in self._senders.items()]
        # What ends the late and what measures has time.
        watchers = [_Turn("watcher", w.turn, Bell(self._clock)) for w in self._watchers]
        balances = [_Turn("balance", b.turn, Bell(self._clock)) for b in self._balances]
        return [*followers, *carriers, *watchers, *senders, *balances]

    async def _repeat(self, turn: _Turn) -> None:
        while True:
            await self._once(turn)
            await turn.bell.rest(self._tuning.poll)

    async def _once(self, turn: _Turn) -> None:
        name = turn.name
        try:
            await turn.act()
        except NotYet:
            self._observer.count(NOT_YET, part=name)
        except CaimiError as error:
            self._observer.count(TURNS_FAILED, part=name, error=type(error).__name__)
            self._observer.step("relay.waits", part=name, error=type(error).__name__, text=str(error))

    def _make_watchers(self, lane: RelayLane) -> tuple[Watcher, BatchWatcher]:
        store, clock, observer = self._store, self._clock, self._observer
        follower = self._followers[lane.lane]
        return (
            Watcher(lane, follower=follower, store=store, clock=clock, observer=observer),
            BatchWatcher(lane, self.lanes, follower=follower, store=store, clock=clock, observer=observer),
        )

    def _make_intakes(self) -> tuple[BatchIntake, Intake]:
        store, clock, observer = self._store, self._clock, self._observer
        network, lanes, followers = self.network, self.lanes, self._followers
        batches = BatchIntake(network, lanes, followers=followers, store=store, clock=clock, observer=observer)
        return batches, Intake(
            network, lanes, followers=followers, store=store, clock=clock, observer=observer, batches=batches
        )

    def _sender(self, lane: RelayLane, network: Bytes32) -> Sender:
        return Sender(
            lane,
            network=network,
            store=self._store,
            clock=self._clock,
            observer=self._observer,
            pauses=self._pauses(self._tuning.retry),
            max_attempts=self._tuning.max_attempts,
            resend_seconds=self._tuning.resend,
            replace_seconds=self._tuning.replace,
        )

    def _carrier(self, pair: tuple[RelayLane, RelayLane], certifier: Certifier) -> Carrier:
        source, destination = pair
        return Carrier(
            source,
            destination,
            follower=self._followers[source.lane],
            decisions=self._decisions,
            certifier=certifier,
            store=self._store,
            clock=self._clock,
            observer=self._observer,
            pauses=self._pauses(self._tuning.certify),
        )

    def _pauses(self, backoff: Backoff) -> Pauses:
        return Pauses(backoff, clock=self._clock, entropy=self._entropy)

    def _report(self, lane: RelayLane) -> LaneReport:
        follower = self._followers[lane.lane]
        head = follower.head
        followed = self._store.last_followed(lane.lane)
        others = [other for other in self.lanes if other is not lane]
        return LaneReport(
            name=lane.name,
            lane=lane.lane,
            height=head.height if head else 0,
            final_height=head.final_height if head else 0,
            followed=followed,
            lag={other.name: followed - self._store.cursor(lane.lane, other.lane) for other in others},
            calls=dict(self._store.call_counts(lane.lane)),
            in_flight=len(self._store.transactions(lane.lane, LIVE)),
            batch_items=lane.batch_items,
            hint=self._senders[lane.lane].hint,
            unread_seconds=follower.unread_seconds,
            trouble=follower.trouble,
        )
