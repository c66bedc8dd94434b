"""One numbered ledger and the relay's sender to it, driven step by step."""

from __future__ import annotations

from collections.abc import Callable

from caimi.ports.chain import CallStatus, PreparedCall, StatusUnknown
from caimi.ports.crash import NoCrash
from caimi.ports.relay_store import LIVE, CallRow, CallState, Purpose, RelayStep, TransactionRow, TransactionState
from caimi.ports.relay_store import AddCall as Add
from caimi.protocol.registry_state import RegistryConfig
from caimi.relay.backoff import Backoff, Pauses
from caimi.relay.calls import new_call
from caimi.relay.lanes import RelayLane
from caimi.relay.sender import Sender
from caimi.simulators.chain import SimulatedChain, SimulatedNode
from caimi.simulators.ledger import SimulatedLedger, Slots
from caimi.storage.sqlite_relay import SqliteRelayStore
from caimi.types.primitives import ZERO32, Address, Generation, UnixSeconds
from caimi.types.records import Attestation, Funding, Genesis, Lane
from caimi.wire.digests import network_id, typed_digest
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.unit.relay.world import Counter, Recorder, StepClock, key

__all__ = ["Pool", "SenderWorld"]


class Pool(SimulatedChain):
    """A port to a node's pool that a test controls; what the pool keeps is not handed on to the ledger."""

    def __init__(self, node: SimulatedNode, *, sender: Address, entropy: Callable[[int], bytes]) -> None:
        super().__init__(node, sender=sender, entropy=entropy)
        self.takes: Callable[[PreparedCall], bool] = lambda prepared: True
        """Which transactions reach the ledger."""
        self.refuses: Callable[[PreparedCall], bool] = lambda prepared: True
        """For which of the others `error` is raised."""
        self.error: Exception | None = None
        """None keeps them silently."""
        self.reprices: Exception | None = None
        """Raised instead of another price."""
        self.silent: set[str] = set()
        """Transactions of whose status the node says nothing."""
        self.kept: list[PreparedCall] = []
        self.handed: list[PreparedCall] = []

    async def send(self, prepared: PreparedCall) -> None:
        """See `ChainPort.send`."""
        self.handed.append(prepared)
        if self.takes(prepared):
            await self.deliver(prepared)
            return
        self.kept.append(prepared)
        if self.error is not None and self.refuses(prepared):
            raise self.error

    async def deliver(self, prepared: PreparedCall) -> None:
        """Hand it on to the ledger."""
        await super().send(prepared)

    async def reprice(self, prepared: PreparedCall) -> PreparedCall:
        """See `ChainPort.reprice`."""
        if self.reprices is not None:
            raise self.reprices
        return await super().reprice(prepared)

    async def status(self, prepared: PreparedCall) -> CallStatus:
        """See `ChainPort.status`."""
        if prepared.transaction in self.silent:
            return StatusUnknown(because="indexing is in progress")
        return await super().status(prepared)


class WallClock(StepClock):
    """Time whose wall clock can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = 0
        """Seconds by which the wall clock is wrong."""

    def now(self) -> UnixSeconds:
        """See `Clock.now`."""
        return UnixSeconds(super().now() + self.shift)


class SenderWorld:
    """A relay's sender with its store; a second is a block and a turn."""

    def __init__(self) -> None:
        self.clock, self.observer = WallClock(), Recorder()
        self.publisher, self.account = key("publisher"), key("relay")
        genesis = Genesis(
            root_genesis=keccak256(b"root"),
            validators=tuple(key(f"validator {i}").address for i in range(4)),
            f=1,
            t=2,
            operators=(key("operator").address,),
            attestation=Attestation.NONE,
            nonce=ZERO32,
        )
        self.network = network_id(genesis)
        lane = Lane(chain=keccak256(b"ethereum"), registry=keccak256(b"registry"))
        self.ledger = SimulatedLedger(
            RegistryConfig(lane=lane, genesis=genesis, min_deposit=1, clock_window=5),
            slots=Slots.NUMBERED,
            depth=2,
            now=self.clock.now,
            tokens={self.publisher.address: 1_000_000},
        )
        self.lane = lane
        self.node = SimulatedNode(ledger=self.ledger)
        self.pool = Pool(self.node, sender=self.account.address, entropy=Counter("pool").take)
        self.store = SqliteRelayStore(":memory:", crash=NoCrash())
        self.apart_seconds = 0.0
        """Of senders that are made from now on."""
        self.sender = self._sender()

    def __enter__(self) -> SenderWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def _sender(self) -> Sender:
        return Sender(
            RelayLane(
                name="ethereum",
                port=self.pool,
                generation=Generation(1),
                apart_seconds=self.apart_seconds,
                batch_calls=2,
            ),
            network=self.network,
            store=self.store,
            clock=self.clock,
            observer=self.observer,
            pauses=Pauses(Backoff(first=0.5, longest=30.0), clock=self.clock, entropy=Counter("pauses")),
        )

    def restart(self) -> None:
        """A new process on the same store: what was only in memory is gone."""
        self.sender = self._sender()

    def queue(self, number: int, amount: int = 1) -> str:
        """Queue a call whose effect cannot be seen from outside, and which the registry takes once; its key."""
        funding = Funding(
            at=self.lane,
            account=self.publisher.address,
            amount=amount,
            nonce=keccak256(number.to_bytes(4, "big")),
            deadline=UnixSeconds(2**40),
        )
        call = encode_call("fund", funding, self.publisher.sign(typed_digest(self.network, funding)).to_bytes())
        row = new_call(f"call/{number}", self.lane, call, purpose=Purpose.OTHER, subjects=(), now=self.clock.now())
        self.store.write(RelayStep.ACCEPTED, Add(row=row))
        return row.key

    async def turn(self) -> None:
        """The sender works; nothing else happens."""
        await self.sender.turn()

    async def step(self, seconds: int = 1) -> None:
        """Seconds pass, each with a block and then a turn."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.ledger.mine()
            await self.sender.turn()

    async def foreign(self, slot: int) -> None:
        """Somebody else uses the relay's key; the next block takes it."""
        await self.pool.deliver(await self.pool.fill(slot))

    def row(self, key: str) -> CallRow:
        """A call."""
        row = self.store.call(key)
        assert row is not None
        return row

    def state(self, key: str) -> CallState:
        """A call's state."""
        return self.row(key).state

    def transactions(self) -> tuple[TransactionRow, ...]:
        """All transactions, oldest first."""
        return self.store.transactions(self.lane, list(TransactionState))

    def live(self) -> tuple[TransactionRow, ...]:
        """Transactions that the ledger can still change."""
        return self.store.transactions(self.lane, LIVE)

    @property
    def funded(self) -> int:
        """What arrived in the registry."""
        return self.ledger.tip.registry.state.balances.get(self.publisher.address, 0)
