"""Production hosts with fresh keys at each start; only their runtime is simulated."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from caimi.apps.simulation.relays import RelayLine, RelaySite
from caimi.apps.simulation.validators import ValidatorSite
from caimi.apps.simulation.world import EPOCH, START, World
from caimi.host.answering import Answerer
from caimi.host.fair_queue import QueueLimits
from caimi.host.identity import HostIdentity, make_identity
from caimi.host.key_client import KeyClient
from caimi.host.leases import LeaseDesk, LeaseTerms
from caimi.host.model_server import Batching
from caimi.host.publications import Publications
from caimi.host.registry_call import CallLimits, RegistryCalls
from caimi.host.service import Host, HostTuning
from caimi.host.serving import DirectServing, ServingLimits
from caimi.host.shelf import ModelShelf, ShelfLimits
from caimi.host.tensor_checks import TensorLimits
from caimi.host.warming import warm
from caimi.ports.clock import Entropy
from caimi.ports.host_store import RequestRow
from caimi.simulators.actors import KillSwitch, SeededEntropy
from caimi.simulators.models import SimulatedRuntime
from caimi.simulators.processes import Process, ProcessDown
from caimi.simulators.virtual_time import VirtualClock
from caimi.storage.sqlite_host import SqliteHostStore
from caimi.types.primitives import Bytes32
from caimi.types.records import HostKey
from caimi.wire.digests import typed_digest
from caimi.wire.direct_body import DirectCall

__all__ = ["HostSite"]

_TENSOR_BYTES: Final = 4_096
_LIMITS: Final = ServingLimits(
    # Few, so that some calls are told to come again.
    calls=4,
    queue=QueueLimits(calls=3, bytes=1 << 16),
    tensors=TensorLimits(input_bytes=_TENSOR_BYTES, output_bytes=_TENSOR_BYTES),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    identity: HostIdentity
    host: Host
    calls: RegistryCalls
    serving: DirectServing
    shelf: ModelShelf


class HostSite:
    """One host process with its store, which survives it."""

    def __init__(self, world: World, name: str, relay: RelaySite, validators: Sequence[ValidatorSite]) -> None:
        self.name = name
        self.relay = relay
        self._world = world
        self._line = RelayLine(world, relay, name)
        self._holders = {v.signer + 1: v.holding(name) for v in validators}
        self._board = world.board_port(name)
        self._ports = [world.port(ledger, name) for ledger in world.ledgers]
        rng = world.rng(name)
        self.runtime = SimulatedRuntime(rng=rng, mixes_up=world.plan.hosts_mix_up_outputs)
        # Within the window in which a ledger takes a time for its own.
        self._clock = VirtualClock(START, skew=rng.uniform(-15, 15))
        switch = KillSwitch()
        self.store = SqliteHostStore(":memory:", crash=switch)
        world.at_end.callback(self.store.close)
        self.starts: list[Bytes32] = []
        """The sealing key of each start."""
        self.replies: dict[Bytes32, list[bytes]] = {}
        """All replies to direct calls that left it, also those that got lost, by request."""
        self._terms = LeaseTerms(seconds=90, calls=rng.choice((3, 12)))
        self._start: _Start | None = None
        self.process = Process(name, self._live, switch, world.trace)
        world.processes.append(self.process)

    # --- what its HTTP interface does

    async def sealing_key(self) -> Bytes32:
        """GET /v1/host."""

        async def shown() -> Bytes32:
            return self._running().identity.key.sealing_key

        return await self.process.answer(shown)

    async def key(self) -> tuple[HostKey, bytes]:
        """GET /v1/host: the host's keys of this start, and the operator's signature over them."""

        async def shown() -> tuple[HostKey, bytes]:
            identity = self._running().identity
            return identity.key, identity.operator_signature

        return await self.process.answer(shown)

    async def infer_directly(self, publication: Bytes32, call: DirectCall) -> bytes:
        """POST /v1/models/{id}/infer."""
        body = call.to_bytes()
        self._world.wiretap.heard(body)

        async def served() -> bytes:
            serving = self._running().serving
            with serving.place(len(body)):
                return await serving.infer(publication, body)

        reply = await self.process.answer(served)
        self._world.wiretap.heard(reply)
        self.replies.setdefault(typed_digest(self._world.network, call.request), []).append(reply)
        return reply

    async def request(self, identifier: Bytes32) -> RequestRow | None:
        """GET /v1/requests/{id}."""

        async def shown() -> RequestRow | None:
            return self.store.request(identifier)

        return await self.process.answer(shown)

    async def infer(self, request: bytes, signature: bytes, sealed_input: bytes) -> RequestRow:
        """POST /v1/infer."""
        self._world.wiretap.heard(request + signature + sealed_input)
        return await self.process.answer(lambda: self._running().calls.infer(request, signature, sealed_input))

    def _running(self) -> _Start:
        if self._start is None:
            raise ProcessDown(self.name)
        return self._start

    # --- its life

    async def _live(self) -> None:
        self._start = None
        world = self._world
        entropy = SeededEntropy(f"{world.seed} {self.name} {len(self.starts)}")
        identity = make_identity(
            world.operator, network=world.network, epoch=EPOCH, now=self._clock.now(), entropy=entropy
        )
        world.wiretap.protect(f"sealing key of {self.name}", identity.sealing.reveal())
        self.starts.append(identity.key.sealing_key)
        publications, shelf = Publications(world.network, self._line), self._make_shelf(identity, entropy)
        self._start = start = _Start(
            identity=identity,
            host=self._make_host(identity, entropy, publications, shelf),
            serving=DirectServing(
                identity,
                _LIMITS,
                Batching(rows=6, wait_s=0.2),
                publications=publications,
                shelf=shelf,
                clock=self._clock,
                entropy=entropy,
                observer=world.trace,
            ),
            shelf=shelf,
            calls=RegistryCalls(
                world.network,
                CallLimits(longest_wait_s=20.0),
                relay=self._line,
                content=world.content,
                store=self.store,
                clock=self._clock,
            ),
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(start.host.run())
                tasks.create_task(warm(shelf, publications, store=self.store, clock=self._clock, observer=world.trace))
        finally:
            # What the process did beside its tasks ends with it.
            start.serving.close()
            await start.shelf.close()

    def _make_host(
        self, identity: HostIdentity, entropy: Entropy, publications: Publications, shelf: ModelShelf
    ) -> Host:
        world, clock = self._world, self._clock
        answerer = Answerer(
            identity,
            TensorLimits(input_bytes=_TENSOR_BYTES, output_bytes=_TENSOR_BYTES),
            publications=publications,
            shelf=shelf,
            content=world.content,
            clock=clock,
            entropy=entropy,
        )
        return Host(
            identity,
            lanes=self._ports,
            root=world.root,
            answerer=answerer,
            relay=self._line,
            store=self.store,
            clock=clock,
            observer=world.trace,
            tuning=HostTuning(poll_s=1.0),
        )

    def _make_shelf(self, identity: HostIdentity, entropy: Entropy) -> ModelShelf:
        world, clock = self._world, self._clock
        desk = LeaseDesk(
            identity,
            # Short, so that leases are renewed while faults last.
            self._terms,
            board=self._board,
            lane=world.board.lane,
            clock=clock,
            entropy=entropy,
            observer=world.trace,
        )
        keys = KeyClient(
            identity,
            validators=world.validator_set,
            ports=self._holders,
            board=self._board,
            clock=clock,
            observer=world.trace,
        )
        return ModelShelf(
            ShelfLimits(models=2, content_bytes=1 << 16),
            desk=desk,
            keys=keys,
            content=world.content,
            runtime=self.runtime,
            store=self.store,
            clock=clock,
            observer=world.trace,
        )
