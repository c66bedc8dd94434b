"""A whole network from one seed: production relays and validators on simulated ledgers, with faults by schedule.

Same seed, same trace. Faults: messages to validators lost, delayed, doubled; f validators bad; relays and a validator
killed at persisted steps and between them; nodes down or behind; reorganisations within the finality depth; pools
dropped; skewed process clocks; publishers who tell only some, or somebody wrong. After `Plan.calm_at` the faults stop,
and everything must reach its end.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from caimi.crypto.ecdsa import SigningKey
from caimi.protocol.audit import AccountHistory, Completeness, Finding, LaneHistory, RecordHistory, audit
from caimi.protocol.publication import Role, State
from caimi.protocol.registry_state import RegistryConfig, RegistryState
from caimi.relay.certifier import ValidatorPeer
from caimi.relay.engine import Relay, RelayTuning
from caimi.relay.lanes import RelayLane
from caimi.simulators.actors import Behaviour, KillSwitch, Process, SeededEntropy, Trace, UnreliableValidator
from caimi.simulators.chain import SimulatedChain, SimulatedNode
from caimi.simulators.forger import Forger
from caimi.simulators.ledger import SimulatedLedger, Slots
from caimi.simulators.virtual_time import VirtualClock, run_virtual
from caimi.storage.sqlite_attestations import SqliteAttestationStore
from caimi.storage.sqlite_relay import SqliteRelayStore
from caimi.types.errors import CaimiError
from caimi.types.primitives import ZERO32, Epoch, Generation, SignerIndex, UnixSeconds
from caimi.types.records import NO_TERMS, Attestation, Cid, Genesis, Lane, Publication
from caimi.validator.attestor import Attestor
from caimi.validator.lane import SourceLane
from caimi.validator.seat import Seat
from caimi.wire.codec import encode
from caimi.wire.digests import POLICY_OPEN, network_id, publication_id
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256

__all__ = ["Plan", "Result", "Simulation", "simulate"]

START: Final = UnixSeconds(1_800_000_000)
_TOKENS: Final = 1_000
_BAD: Final = (Behaviour.SILENT, Behaviour.LIAR, Behaviour.OTHER_KEY)
_NOWHERE: Final = Lane(chain=keccak256(b"no such chain"), registry=keccak256(b"no such registry"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to simulate. The defaults are the protocol; the two switches at the end are what it must not be."""

    n: int = 4
    f: int = 1
    publications: int = 5
    relays: int = 2
    calm_at: float = 90.0
    """Virtual second after which no fault happens any more."""
    end_at: float = 420.0
    """Virtual second by which all must have ended."""
    mirrors_have_timers: bool = False
    """PLANTED FAULT: a mirror aborts by itself once the deadline has passed (as the paper's refund on timeout)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run showed."""

    seed: int
    findings: tuple[Finding, ...]
    states: dict[str, dict[str, str]]
    trace: Trace = field(repr=False)


class Simulation:
    """One run."""

    def __init__(self, seed: int, plan: Plan) -> None:
        self.seed = seed
        self.plan = plan
        self.rng = random.Random(seed)
        self.trace = Trace()
        self.keys = [_key(f"validator {i}") for i in range(plan.n)]
        self.publisher = _key("publisher")
        t = max(plan.f + 1, min((plan.n + 1) // 2, plan.n - plan.f))
        self.genesis = Genesis(
            root_genesis=keccak256(seed.to_bytes(8, "big")),
            validators=tuple(k.address for k in self.keys),
            f=plan.f,
            t=t,
            operators=(_key("operator").address,),
            attestation=Attestation.SIMULATED,
            nonce=ZERO32,
        )
        self.network = network_id(self.genesis)
        self.clock = VirtualClock(START)
        self.ledgers = {"fabric": self._ledger("fabric", 0), "ethereum": self._ledger("ethereum", 2)}
        self.nodes: list[SimulatedNode] = []
        self.validators: list[UnreliableValidator] = []
        self.processes: list[Process] = []
        self.relays: dict[str, Relay] = {}

    async def run(self) -> Result:
        """From the first block to the audit."""
        tasks = [asyncio.ensure_future(self._mine(name)) for name in self.ledgers]
        self._build_validators()
        for index in range(self.plan.relays):
            self._build_relay(f"relay-{index}")
        tasks += [asyncio.ensure_future(p.run()) for p in self.processes]
        tasks += [asyncio.ensure_future(t) for t in (self._publish_all(), self._disturb(), self._forge())]
        try:
            await self._until_ended()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return Result(seed=self.seed, findings=self._audit(), states=self._states(), trace=self.trace)

    # --- the parts

    def _ledger(self, name: str, depth: int) -> SimulatedLedger:
        lane = Lane(chain=keccak256(name.encode()), registry=keccak256(b"registry " + name.encode()))
        config = RegistryConfig(lane=lane, genesis=self.genesis, min_deposit=1, clock_window=5)
        ledger = SimulatedLedger(
            config, slots=Slots.NUMBERED if depth else Slots.NONE, depth=depth, now=self._chain_time
        )
        ledger.tip.registry.state.balances[self.publisher.address] = _TOKENS
        return ledger

    def _chain_time(self) -> UnixSeconds:
        try:
            return self.clock.now()
        except RuntimeError:
            return START  # the first block is made before the loop runs

    def _port(self, name: str, owner: str) -> SimulatedChain:
        node = SimulatedNode(ledger=self.ledgers[name])
        self.nodes.append(node)
        return SimulatedChain(node, sender=_key(owner).address, entropy=SeededEntropy(owner + name).take)

    def _build_validators(self) -> None:
        bad = set(self.rng.sample(range(self.plan.n), self.plan.f))
        for index, key in enumerate(self.keys):
            switch = KillSwitch()
            store = SqliteAttestationStore(":memory:", crash=switch)
            attestor = self._attestor(index, key, store)
            behaviour = self.rng.choice(_BAD) if index in bad else Behaviour.HONEST
            unreliable = UnreliableValidator(
                attestor,
                signer=SignerIndex(index),
                key=key,
                network=self.network,
                behaviour=behaviour,
                rng=random.Random(self.rng.randbytes(8)),
            )
            self.validators.append(unreliable)
            process = Process(f"validator-{index}", self._validator_life(index, key, store), switch, self.trace)
            unreliable.killed = partial(process.kill, at_step=False, pause=2.0)
            self.processes.append(process)

    def _attestor(self, index: int, key: SigningKey, store: SqliteAttestationStore) -> Attestor:
        return Attestor(
            Seat(network=self.network, epoch=Epoch(1), signer=SignerIndex(index)),
            key=key,
            sources=[
                SourceLane(
                    name=name,
                    reader=self._port(name, f"validator-{index}"),
                    generation=Generation(1),
                    sources=1,
                    note="SIMULATED",
                )
                for name in self.ledgers
            ],
            store=store,
            clock=self.clock,
            observer=self.trace,
            poll_seconds=1.0,
        )

    def _validator_life(self, index: int, key: SigningKey, store: SqliteAttestationStore) -> Any:
        async def live() -> None:
            attestor = self._attestor(index, key, store)
            self.validators[index].port = attestor
            await attestor.run()

        return live

    def _build_relay(self, name: str) -> None:
        switch = KillSwitch()
        store = SqliteRelayStore(":memory:", crash=switch)
        ports = {lane: self._port(lane, name) for lane in self.ledgers}
        clock = VirtualClock(START, skew=self.rng.uniform(-600, 600))
        lives = 0

        async def live() -> None:
            nonlocal lives
            lives += 1
            peers = [ValidatorPeer(signer=SignerIndex(i), port=v) for i, v in enumerate(self.validators)]
            lanes = [RelayLane(name=lane, port=port, generation=Generation(1)) for lane, port in ports.items()]
            relay = Relay(
                self.network,
                lanes,
                peers,
                store=store,
                clock=clock,
                entropy=SeededEntropy(f"{name}-{lives}"),
                observer=self.trace,
                tuning=RelayTuning(poll=1.0),
            )
            self.relays[name] = relay
            await relay.run()

        self.processes.append(Process(name, live, switch, self.trace))

    # --- what happens

    async def _mine(self, name: str) -> None:
        ledger = self.ledgers[name]
        while True:
            await asyncio.sleep(self.rng.uniform(0.5, 1.5))
            if self.plan.mirrors_have_timers:
                _time_out_mirrors(ledger.tip.registry.state, self.clock.now())
            block = ledger.mine()
            if block.transactions:
                self.trace.note(f"{name} block {block.height} {block.hash.hex()[:16]} {len(block.transactions)}")

    async def _publish_all(self) -> None:
        names = list(self.ledgers)
        for number in range(self.plan.publications):
            await asyncio.sleep(self.rng.uniform(0, 12))
            home, other = self.rng.sample(names, 2)
            mirrors = [self.ledgers[other].lane] if self.rng.random() < 0.85 else [_NOWHERE]
            fields: dict[str, Any] = {}
            if self.rng.random() < 0.1:
                fields["policy_hash"] = keccak256(b"a policy that nobody knows")
            publication = dataclasses.replace(self._publication(number, home, mirrors), **fields)
            await self._tell(publication, self.publisher.sign(publication_id(self.network, publication)).to_bytes())

    def _publication(self, number: int, home: str, mirrors: Sequence[Lane]) -> Publication:
        return Publication(
            format=1,
            kind=1,
            publisher=self.publisher.address,
            name="digits",
            version=self.rng.choice((number + 1, 50 - number)),
            ciphertext=Cid(codec=0x70, digest=keccak256(b"ciphertext")),
            capsule_hash=keccak256(b"capsule"),
            manifest_commitment=keccak256(b"manifest"),
            policy_hash=POLICY_OPEN,
            home=self.ledgers[home].lane,
            mirrors=tuple(mirrors),
            terms=NO_TERMS,
            deposit=self.rng.randint(1, 40),
            nonce=keccak256(self.rng.randbytes(8)),
            deadline=UnixSeconds(self.clock.now() + self.rng.randint(12, 90)),
            extension_hash=ZERO32,
        )

    async def _tell(self, publication: Publication, signature: bytes) -> None:
        # A relay, all relays, or a lock sent straight to one ledger: a publisher may do any of it.
        told = self.rng.choice((["relay-0"], ["relay-1"], list(self.relays), []))
        for name in told:
            relay = self.relays.get(name)
            if relay is not None:
                try:
                    await relay.intake.publish(encode(publication), signature)
                except CaimiError as error:
                    self.trace.note(f"{name} refuses {type(error).__name__}")
        if not told:
            port = self._port(self.rng.choice(list(self.ledgers)), "publisher")
            try:
                await port.send(await port.prepare(encode_call("lockModel", publication, signature), slot=None))
            except CaimiError as error:
                self.trace.note(f"direct lock refused {type(error).__name__}")

    async def _disturb(self) -> None:
        while (now := asyncio.get_running_loop().time()) < self.plan.calm_at:
            await asyncio.sleep(self.rng.uniform(0.5, 6.0))
            self._fault(self.rng.randrange(8), self.plan.calm_at - now)
        for validator in self.validators:
            validator.loss = validator.delay = 0.0
        for node in self.nodes:
            node.is_up, node.behind = True, 0

    def _fault(self, kind: int, left: float) -> None:
        rng = self.rng
        self.trace.note(f"fault {kind}")
        match kind:
            case 0 | 1:
                rng.choice(self.processes).kill(at_step=kind == 0, pause=rng.uniform(0.1, min(20.0, max(1.0, left))))
            case 2:
                rng.choice(self.nodes).is_up = False
            case 3:
                rng.choice(self.nodes).behind = rng.randint(1, 6)
            case 4:
                for node in self.nodes:
                    node.is_up, node.behind = True, 0
            case 5:
                for validator in self.validators:
                    validator.loss, validator.delay = rng.uniform(0, 0.4), rng.uniform(0, 3.0)
            case 6:
                self.ledgers["ethereum"].reorganise(rng.randint(1, 2))
            case _:
                rng.choice(list(self.ledgers.values())).drop_pool()

    async def _forge(self) -> None:
        bad = [i for i, v in enumerate(self.validators) if v.behaviour is not Behaviour.HONEST]
        forger = Forger(self.network, {i: self.keys[i] for i in bad}, rng=random.Random(self.rng.randbytes(8)))
        ports = {name: self._port(name, "forger") for name in self.ledgers}
        while True:
            await asyncio.sleep(7.0)
            for name, ledger in self.ledgers.items():
                states = {n: other.tip.registry.state for n, other in self.ledgers.items()}
                for refused in await forger.attack(ports[name], ledger.tip.registry.state, list(states.values())):
                    self.trace.note(f"forgery at {name}: {refused}")

    # --- the end

    async def _until_ended(self) -> None:
        await asyncio.sleep(self.plan.calm_at + 5)
        loop = asyncio.get_running_loop()
        while loop.time() < self.plan.end_at:
            latest = max((p.deadline for s in self._registries() for p in s.publications.values()), default=START)
            if self.clock.now() > latest and not any(f.rule == "unfinished" for f in self._audit()):
                return
            await asyncio.sleep(5.0)

    def _audit(self) -> tuple[Finding, ...]:
        every = frozenset(ledger.lane for ledger in self.ledgers.values())
        return audit([self._history(name) for name in self.ledgers], finished=Completeness(every))

    def _registries(self) -> list[RegistryState]:
        return [ledger.tip.registry.state for ledger in self.ledgers.values()]

    def _states(self) -> dict[str, dict[str, str]]:
        return {
            name: {i.hex()[:8]: p.state.name for i, p in ledger.tip.registry.state.publications.items()}
            for name, ledger in self.ledgers.items()
        }

    def _history(self, name: str) -> LaneHistory:
        state = self.ledgers[name].tip.registry.state
        account = self.publisher.address
        return LaneHistory(
            name=name,
            lane=state.config.lane,
            items=tuple(state.events),
            records={
                i: RecordHistory(
                    role=p.role, state=p.state, publisher=p.publisher, home=p.home, mirrors=p.mirrors, deposit=p.deposit
                )
                for i, p in state.publications.items()
            },
            accounts={account: AccountHistory(funded=_TOKENS, withdrawn=0, balance=state.balances.get(account, 0))},
        )


def _key(name: str) -> SigningKey:
    return SigningKey(keccak256(name.encode()))


def _time_out_mirrors(state: RegistryState, now: UnixSeconds) -> None:
    for record in state.publications.values():
        if record.role is Role.MIRROR and record.state is State.LOCKED and now > record.deadline:
            record.state = State.ABORTED


def simulate(seed: int, plan: Plan | None = None) -> Result:
    """Run one seed to its end and audit the ledgers."""
    chosen = plan or Plan()

    async def main() -> Result:
        return await Simulation(seed, chosen).run()

    return run_virtual(main())
