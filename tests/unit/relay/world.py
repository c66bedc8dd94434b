"""A small network on simulated ledgers: validators, relays and users, driven step by step."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from caimi.crypto.ecdsa import SigningKey
from caimi.ports.crash import CrashPoints, NoCrash
from caimi.ports.metrics import Counter as CounterMetric
from caimi.ports.metrics import Gauge, Histogram, Metric, Series
from caimi.ports.observer import Observer
from caimi.ports.tracing import current_trace
from caimi.ports.validators import ValidatorPort
from caimi.protocol.publication import State
from caimi.protocol.registry_state import Limits, RegistryConfig
from caimi.relay.certifier import ValidatorPeer
from caimi.relay.engine import Relay
from caimi.relay.lanes import RelayLane
from caimi.simulators.chain import SimulatedChain, SimulatedNode
from caimi.simulators.ledger import SimulatedLedger, Slots
from caimi.storage.sqlite_attestations import SqliteAttestationStore
from caimi.storage.sqlite_relay import SqliteRelayStore
from caimi.types.primitives import ZERO32, Bytes32, Epoch, Generation, PublicationId, SignerIndex, UnixSeconds
from caimi.types.records import (
    NO_TERMS,
    Attestation,
    Cid,
    Funding,
    Genesis,
    Governance,
    Lane,
    Pause,
    Publication,
    Resume,
    Revocation,
)
from caimi.validator.attestor import Attestor
from caimi.validator.lane import SourceLane
from caimi.validator.seat import Seat
from caimi.wire.codec import encode
from caimi.wire.digests import POLICY_OPEN, network_id, publication_id, typed_digest
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256

__all__ = ["START", "Counter", "Crashed", "Recorder", "StepClock", "Stop", "World", "Wrap", "conserved", "key", "run"]

START = 1_800_000_000
RESUME_DELAY = 5
"""Seconds from a pause to the earliest resumption."""
Wrap = Callable[[str, SimulatedChain], Any]
"""Puts a fault before the port of a named lane; what it gives is used as a `ChainPort`."""


def key(name: str) -> SigningKey:
    """The key of a named actor."""
    return SigningKey(keccak256(name.encode()))


class StepClock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> UnixSeconds:
        return UnixSeconds(START + int(self._passed))

    def monotonic(self) -> float:
        return self._passed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._passed + seconds, future))
        await future

    def advance(self, seconds: float) -> None:
        self._passed += seconds
        for until, future in list(self._sleepers):
            if until <= self._passed:
                self._sleepers.remove((until, future))
                if not future.done():
                    future.set_result(None)


class Counter:
    """Entropy that repeats itself from run to run."""

    def __init__(self, name: str) -> None:
        self._state = keccak256(name.encode())

    def take(self, length: int) -> bytes:
        taken = b""
        while len(taken) < length:
            self._state = keccak256(self._state)
            taken += self._state
        return taken[:length]


class Recorder:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, dict[str, str | int | float | None]]] = []
        self.about: list[tuple[str, tuple[Bytes32, ...]]] = []
        self.gauges: dict[tuple[Metric, Series], float] = {}
        self.counts: list[tuple[Metric, dict[str, str]]] = []
        self.observed: list[tuple[Metric, float, dict[str, str]]] = []

    def step(self, name: str, *, about: Sequence[Bytes32] = (), **fields: str | int | float | None) -> None:
        self.steps.append((name, fields))
        context = current_trace()
        self.about.append((name, tuple(about) or (context.ids if context else ())))

    def gauge(self, metric: Gauge, value: float, /, **labels: str) -> None:
        self.gauges[metric, metric.series(labels)] = value

    def count(self, metric: CounterMetric, amount: int = 1, /, **labels: str) -> None:
        metric.series(labels)
        self.counts += [(metric, labels)] * amount

    def observe(self, metric: Histogram, value: float, /, **labels: str) -> None:
        metric.series(labels)
        self.observed.append((metric, value, labels))

    def named(self, name: str) -> list[dict[str, str | int | float | None]]:
        return [fields for n, fields in self.steps if n == name]


class Crashed(BaseException):
    """The process was killed."""


class Stop:
    """Crash points that kill at the n-th time a step is reached."""

    def __init__(self, step: str, count: int = 1) -> None:
        self.step = step
        self.left = count
        self.seen: list[str] = []

    def reached(self, step: str) -> None:
        self.seen.append(step)
        if step == self.step:
            self.left -= 1
            if self.left == 0:
                raise Crashed(step)


class World:
    """Ledgers ("fabric": unnumbered, final at once; others numbered and two deep), four validators, relays."""

    def __init__(
        self,
        *,
        names: tuple[str, ...] = ("fabric", "ethereum"),
        relays: int = 1,
        wrap: Wrap | None = None,
        run_items: int = 64,
        path: str = ":memory:",
        crash: CrashPoints | None = None,
    ) -> None:
        self.wrap: Wrap = wrap or _as_it_is
        self.run_items = run_items
        self.clock = StepClock()
        self.observer = Recorder()
        self.relay_observer: Observer = self.observer
        """Told by relays that are made from now on."""
        self.first_in_step: list[Callable[[], Awaitable[None]]] = []
        """What else happens in every step, before everything else."""
        self.validator_keys = [key(f"validator {i}") for i in range(4)]
        self.genesis = Genesis(
            root_genesis=keccak256(b"root"),
            validators=tuple(k.address for k in self.validator_keys),
            f=1,
            t=2,
            operators=(key("operator").address,),
            attestation=Attestation.NONE,
            nonce=ZERO32,
        )
        self.network = network_id(self.genesis)
        self.publisher = key("publisher")
        self.ledgers = {name: self._ledger(name) for name in names}
        self.nodes = {name: SimulatedNode(ledger=ledger) for name, ledger in self.ledgers.items()}
        self.attestation_stores: list[SqliteAttestationStore] = []
        self.peers: list[ValidatorPort] = [self.attestor(i) for i in range(4)]
        self.path = path
        self.stores = [SqliteRelayStore(path, crash=crash or NoCrash()) for _ in range(relays)]
        self.relays = [self.relay(f"relay {i}", store) for i, store in enumerate(self.stores)]

    def lane(self, name: str) -> Lane:
        return self.ledgers[name].lane

    def port(self, name: str, sender: str) -> SimulatedChain:
        return SimulatedChain(self.nodes[name], sender=key(sender).address, entropy=Counter(sender + name).take)

    def attestor(self, index: int) -> Attestor:
        sources = [
            SourceLane(name=name, reader=self.port(name, "validator"), generation=Generation(1), sources=1, note="")
            for name in self.ledgers
        ]
        return Attestor(
            Seat(network=self.network, epoch=Epoch(1), signer=SignerIndex(index), root=_lane("fabric")),
            key=self.validator_keys[index],
            sources=sources,
            store=self._attestation_store(),
            clock=self.clock,
            observer=self.observer,
        )

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        for store in [*self.stores, *self.attestation_stores]:
            store.close()

    def restart(self) -> None:
        """The relay's process was killed and is started again."""
        self.stores[0].close()
        self.stores[0] = SqliteRelayStore(self.path, crash=NoCrash())
        self.relays[0] = self.relay("relay 0", self.stores[0])

    def relay(self, name: str, store: SqliteRelayStore) -> Relay:
        peers = [ValidatorPeer(signer=SignerIndex(i), port=port) for i, port in enumerate(self.peers)]
        served = [
            RelayLane(
                name=lane,
                port=self.wrap(lane, self.port(lane, name)),
                generation=Generation(1),
                run_items=self.run_items,
            )
            for lane in self.ledgers
        ]
        return Relay(
            self.network,
            served,
            peers,
            store=store,
            clock=self.clock,
            entropy=Counter(name),
            observer=self.relay_observer,
        )

    async def fund(self, name: str, amount: int, account: SigningKey | None = None) -> None:
        """Move tokens into a registry balance, by a relay's sender-independent call."""
        who = account or self.publisher
        funding = Funding(
            at=self.lane(name),
            account=who.address,
            amount=amount,
            nonce=keccak256(b"funding" + name.encode()),
            deadline=UnixSeconds(START + 10_000),
        )
        signature = who.sign(typed_digest(self.network, funding)).to_bytes()
        port = self.port(name, "bank")
        await port.send(await port.prepare(encode_call("fund", funding, signature), slot=None))
        self.ledgers[name].mine()

    def publication(self, home: str, *mirrors: str | Lane, **fields: Any) -> tuple[Publication, bytes, PublicationId]:
        """A lawful publication with its signature and id; `fields` replace its own."""
        lanes = sorted(m if isinstance(m, Lane) else self.lane(m) for m in mirrors)
        record = Publication(
            format=1,
            kind=1,
            publisher=self.publisher.address,
            name="digits",
            version=1,
            ciphertext=Cid(codec=0x70, digest=keccak256(b"ciphertext")),
            capsule_hash=keccak256(b"capsule"),
            manifest_commitment=keccak256(b"manifest"),
            policy_hash=POLICY_OPEN,
            home=self.lane(home),
            mirrors=tuple(lanes),
            terms=NO_TERMS,
            deposit=10,
            nonce=keccak256(b"nonce"),
            deadline=UnixSeconds(self.clock.now() + 120),
            extension_hash=ZERO32,
        )
        record = dataclasses.replace(record, **fields)
        identifier = publication_id(self.network, record)
        return record, self.publisher.sign(identifier).to_bytes(), identifier

    def revocation(self, name: str, identifier: PublicationId) -> bytes:
        """The call by which the publisher takes it back at one ledger."""
        record = Revocation(
            at=self.lane(name),
            publication=identifier,
            publisher=self.publisher.address,
            reason=7,
            nonce=keccak256(b"revocation" + name.encode()),
            deadline=UnixSeconds(START + 10_000),
        )
        return encode_call("revoke", record, self.publisher.sign(typed_digest(self.network, record)).to_bytes())

    def order(self, record: Pause | Resume | Governance, *signers: int) -> bytes:
        """The call of an order that those validators signed."""
        digest = typed_digest(self.network, record)
        signatures = tuple(self.validator_keys[i].sign(digest).as_record(SignerIndex(i)) for i in sorted(signers))
        names = {Pause: "pause", Resume: "resume", Governance: "govern"}
        return encode_call(names[type(record)], record, signatures)

    async def send(self, name: str, call: bytes, *, sender: str = "somebody") -> None:
        """Somebody else sends a call; it waits for the next block."""
        port = self.port(name, sender)
        await port.send(await port.prepare(call, slot=None))

    async def publish(self, publication: Publication, signature: bytes, relay: int = 0) -> PublicationId:
        accepted = await self.relays[relay].intake.publish(encode(publication), signature)
        return accepted.id

    async def step(self) -> None:
        """A second passes: a block on every ledger, a turn of everybody."""
        for happens in self.first_in_step:
            await happens()
        self.clock.advance(1)
        for ledger in self.ledgers.values():
            ledger.mine()
        for peer in self.peers:
            if isinstance(peer, Attestor):
                await peer.turn()
        for relay in self.relays:
            await relay.turn()

    async def until(self, done: Callable[[], bool], *, steps: int = 60) -> None:
        """Step until `done`; fail after `steps`."""
        for _ in range(steps):
            if done():
                return
            await self.step()
        raise AssertionError(f"not done after {steps} steps: {self.states()}, {self.observer.steps[-8:]}")

    def state(self, name: str, identifier: PublicationId) -> State:
        record = self.ledgers[name].tip.registry.state.publications.get(identifier)
        return State.NONE if record is None else record.state

    def states(self) -> dict[str, dict[str, str]]:
        return {
            name: {i.hex()[:8]: p.state.name for i, p in ledger.tip.registry.state.publications.items()}
            for name, ledger in self.ledgers.items()
        }

    def all_at(self, state: State, identifier: PublicationId) -> bool:
        return all(self.state(name, identifier) is state for name in self.ledgers)

    def _attestation_store(self) -> SqliteAttestationStore:
        self.attestation_stores.append(SqliteAttestationStore(":memory:", crash=NoCrash()))
        return self.attestation_stores[-1]

    def _ledger(self, name: str) -> SimulatedLedger:
        root = _lane("fabric")
        config = RegistryConfig(
            lane=_lane(name),
            genesis=self.genesis,
            min_deposit=1,
            clock_window=5,
            limits=Limits(resume_delay=RESUME_DELAY),
            root=None if _lane(name) == root else root,
        )
        return SimulatedLedger(
            config,
            slots=Slots.NONE if name == "fabric" else Slots.NUMBERED,
            depth=0 if name == "fabric" else 2,
            now=self.clock.now,
            tokens={self.publisher.address: 1_000},
        )


def _lane(name: str) -> Lane:
    return Lane(chain=keccak256(name.encode()), registry=keccak256(b"registry" + name.encode()))


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario to its end."""
    asyncio.run(scenario)


def _as_it_is(name: str, port: SimulatedChain) -> SimulatedChain:
    return port


def conserved(world: World, name: str) -> bool:
    """Whether a registry's tokens, balances and escrows add up to what there was."""
    state = world.ledgers[name].tip.registry.state
    return sum(state.tokens.values()) + sum(state.balances.values()) + state.escrowed() == 1_000
