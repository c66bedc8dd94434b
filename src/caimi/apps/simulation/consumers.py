"""Consumers: whoever wants an answer asks, again and again if need be, until there is one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from caimi.apps.simulation.histories import dropped_lanes
from caimi.apps.simulation.hosts import HostSite
from caimi.apps.simulation.publishers import Published, Publisher
from caimi.apps.simulation.relays import RelayLine, RelaySite
from caimi.apps.simulation.world import World, key
from caimi.bundle.unixfs import UnixFsBuilder
from caimi.crypto.inference_seal import Salted, input_commitment, seal_input
from caimi.crypto.sealing import SealingKey
from caimi.ports.content import ContentError
from caimi.protocol.publication import State
from caimi.simulators.models import SimulatedModel, batch, values_of
from caimi.simulators.processes import ProcessDown
from caimi.types.errors import CaimiError
from caimi.types.primitives import ZERO32, Bytes32, UnixSeconds
from caimi.types.records import Cid, InferenceRequest
from caimi.wire.codec import encode
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call

__all__ = ["Asked", "Consumers", "Oddity"]


class Oddity(Enum):
    """What is odd about a request."""

    NONE = "none"
    WRONG_TENSOR = "wrong tensor"
    """Its input has another name or shape than the model takes."""
    WRONG_COMMITMENT = "wrong commitment"
    """It commits to another input than the sealed one."""
    WRONG_KEY = "wrong key"
    """Its input is sealed to a key that no host has."""
    HURRIED = "hurried"
    """Its deadline is seconds away."""
    EARLY = "early"
    """Its publication may not be committed."""

    @property
    def is_answerable(self) -> bool:
        """Whether a host may answer it."""
        return self in (Oddity.NONE, Oddity.HURRIED, Oddity.EARLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as its consumer knows it."""

    id: Bytes32
    record: InferenceRequest
    signature: bytes
    ledger: str
    model: SimulatedModel
    host: HostSite
    """Whose key the input is sealed to."""
    start: int
    """To that of which of its starts, from 0."""
    at: float
    """When, in virtual seconds."""
    oddity: Oddity
    payload: bytes
    sealed: bytes
    client: SealingKey


class Consumers:
    """Everybody who wants answers. The driver of a simulation sees ledgers as they are; the parts in it do not."""

    def __init__(
        self, world: World, publisher: Publisher, relays: Sequence[RelaySite], hosts: Sequence[HostSite]
    ) -> None:
        self.asked: dict[Bytes32, Asked] = {}
        self.wanting = world.plan.jobs
        """How many answers are wanted that have not come yet."""
        self._world = world
        self._key = key("consumer")
        self._publisher = publisher
        self._hosts = hosts
        self._lines = [RelayLine(world, relay, "consumer") for relay in relays]
        self._ports = {name: world.port(name, "consumer") for name in world.ledgers}

    async def run(self) -> None:
        """All jobs."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._world.plan.jobs):
                tasks.create_task(self._job(self._world.rng(f"job {number}")))

    def can_be_had(self) -> bool:
        """Whether anybody can answer a request for any model now."""
        return any(
            host.relay.has_capsule(p.id) and self._may_lease(p.id) for p, _ in self.committed() for host in self._hosts
        )

    def could_be_answered(self, asked: Asked) -> bool:
        """Whether nothing stands against a request: its model is served now, by the start that can read it."""
        is_present = asked.start == len(asked.host.starts) - 1
        is_committed = any(p.id == asked.record.publication and name == asked.ledger for p, name in self.committed())
        is_there = asked.host.relay.has_capsule(asked.record.publication)
        return is_present and is_committed and is_there and self._may_lease(asked.record.publication)

    def _may_lease(self, publication: Bytes32) -> bool:
        cap = self._world.limits.lease_cap
        return not cap or sum(one.publication == publication for one in self._world.board.leases.values()) < cap

    def committed(self) -> list[tuple[Published, str]]:
        """Publications and the ledgers where they can be used: by what home decided, where it was heard of.

        What governance dropped is read by nobody any more.
        """
        dropped, registries = dropped_lanes(self._world), self._world.registries()
        by_lane = {state.config.lane: state for state in registries.values()}
        found: list[tuple[Published, str]] = []
        for published in self._publisher.published:
            home = by_lane[published.record.home].publications.get(published.id)
            if home is None or home.state is not State.COMMITTED or published.record.home in dropped:
                continue
            for name, state in registries.items():
                record = state.publications.get(published.id)
                if record is not None and record.state is State.COMMITTED and state.config.lane not in dropped:
                    found.append((published, name))
        return found

    def known(self) -> list[tuple[Published, str]]:
        """All publications, with every ledger."""
        return [(p, name) for p in self._publisher.published for name in self._world.ledgers]

    async def _job(self, rng: random.Random) -> None:
        await self._world.clock.sleep(rng.uniform(5.0, 0.7 * self._world.plan.calm_at))
        if rng.random() < 0.5:
            oddity = rng.choice(list(Oddity))
            while oddity is not Oddity.EARLY and not self.committed():
                await self._world.clock.sleep(1.0)
            await self._attempt(rng, oddity)
        while not await self._attempt(rng, Oddity.NONE):
            await self._world.clock.sleep(rng.uniform(0.5, 3.0))
        self.wanting -= 1

    async def _attempt(self, rng: random.Random, oddity: Oddity) -> bool:
        # One request, to its answer or the end of hope.
        places = self.committed()
        if oddity is Oddity.EARLY:
            places = self.known()
        if not places:
            return False
        everywhere = [(p, name, host) for p, name in places for host in self._hosts]
        served = [place for place in everywhere if place[2].relay.has_capsule(place[0].id)]
        published, ledger, host = rng.choice(served or everywhere)
        try:
            sealing_key = await host.sealing_key()
        except ProcessDown:
            return False
        asked = self._ask(rng, oddity, published, ledger, host, sealing_key)
        self.asked[asked.id] = asked
        async with asyncio.TaskGroup() as tasks:
            # Some bring the input only after they asked.
            tasks.create_task(self._upload(asked, rng.choice((0.0, 0.0, rng.uniform(0.0, 15.0)))))
            return await self._pursue(rng, asked)

    def _ask(
        self,
        rng: random.Random,
        oddity: Oddity,
        published: Published,
        ledger: str,
        host: HostSite,
        sealing_key: Bytes32,
    ) -> Asked:
        world, model = self._world, published.model
        if model is None:
            raise RuntimeError("in seeds with inference every publication has a model")
        width = 5 if oddity is Oddity.WRONG_TENSOR else 4
        salted = Salted(salt=Bytes32(rng.randbytes(32)), payload=batch(rng, width=width))
        world.wiretap.protect("an input", values_of(salted.payload))
        if oddity.is_answerable:
            world.wiretap.protect("an output", values_of(model.run(salted.payload)))
        to = SealingKey(rng.randbytes(32)).public_key if oddity is Oddity.WRONG_KEY else sealing_key
        sealed = seal_input(salted, host=to, publication=published.id)
        is_wrong = oddity is Oddity.WRONG_COMMITMENT
        client = SealingKey(rng.randbytes(32))
        life = rng.randint(1, 6) if oddity is Oddity.HURRIED else rng.randint(30, 60)
        record = InferenceRequest(
            at=world.ledgers[ledger].lane,
            publication=published.id,
            consumer=self._key.address,
            input=_cid(sealed),
            input_commitment=Bytes32(rng.randbytes(32)) if is_wrong else input_commitment(salted),
            client_key=client.public_key,
            nonce=Bytes32(rng.randbytes(32)),
            deadline=UnixSeconds(world.clock.now() + life),
        )
        identifier = typed_digest(world.network, record)
        return Asked(
            id=identifier,
            record=record,
            signature=self._key.sign(identifier).to_bytes(),
            ledger=ledger,
            model=model,
            host=host,
            start=host.starts.index(sealing_key),
            at=world.clock.monotonic(),
            oddity=oddity,
            payload=salted.payload,
            sealed=sealed,
            client=client,
        )

    async def _upload(self, asked: Asked, pause: float) -> None:
        await asyncio.sleep(pause)
        while True:
            try:
                await self._world.content.upload([asked.sealed])
            except ContentError:
                await asyncio.sleep(1.0)
            else:
                return

    async def _pursue(self, rng: random.Random, asked: Asked) -> bool:
        clock, asked_at = self._world.clock, -100.0
        while clock.now() <= asked.record.deadline + 3:
            record = self._world.registries()[asked.ledger].requests.get(asked.id)
            if record is not None and record.receipt_hash != ZERO32:
                if rng.random() < 0.3:
                    # Asking once more has no effect.
                    await self._deliver(rng, asked)
                return True
            if record is not None and await self._is_hopeless(asked):
                return False
            if record is None and clock.monotonic() - asked_at >= 6.0:
                asked_at = clock.monotonic()
                await self._deliver(rng, asked)
            await asyncio.sleep(1.0)
        return False

    async def _is_hopeless(self, asked: Asked) -> bool:
        try:
            row = await asked.host.request(asked.id)
        except ProcessDown:
            return False
        return row is not None and row.reason != ""

    async def _deliver(self, rng: random.Random, asked: Asked) -> None:
        # By a relay, straight to the ledger, or by the host itself.
        encoded = encode(asked.record)
        way = rng.randrange(len(self._lines) + 2)
        try:
            if way < len(self._lines):
                await self._lines[way].request(encoded, asked.signature)
            elif way == len(self._lines):
                port = self._ports[asked.ledger]
                call = encode_call("requestInference", asked.record, asked.signature)
                await port.send(await port.prepare(call, slot=None))
            else:
                await asked.host.infer(encoded, asked.signature, asked.sealed)
        except (CaimiError, ProcessDown) as error:
            self._world.trace.note(f"consumer: {type(error).__name__}")


def _cid(sealed: bytes) -> Cid:
    builder = UnixFsBuilder()
    for _ in builder.blocks([sealed]):
        pass
    return builder.root.cid
