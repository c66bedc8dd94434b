"""Production relays, and the ways to them."""

from __future__ import annotations

from collections.abc import Sequence

from caimi.apps.simulation.world import START, World
from caimi.ports.host_relay import PublicationUnknown, PublishedBytes, RelayUnavailable, SignedBytes
from caimi.ports.validators import ValidatorPort
from caimi.relay.certifier import ValidatorPeer
from caimi.relay.engine import Relay, RelayTuning
from caimi.relay.lanes import RelayLane
from caimi.simulators.actors import KillSwitch, SeededEntropy
from caimi.simulators.processes import Process
from caimi.simulators.virtual_time import VirtualClock
from caimi.storage.sqlite_relay import SqliteRelayStore
from caimi.types.primitives import Bytes32, Generation, PublicationId, SignerIndex

__all__ = ["RelayLine", "RelaySite"]


class RelaySite:
    """One relay process with its store, which survives it."""

    def __init__(self, world: World, name: str, validators: Sequence[ValidatorPort]) -> None:
        self.name = name
        self._world = world
        self._validators = validators
        switch = KillSwitch()
        self._store = SqliteRelayStore(":memory:", crash=switch)
        world.at_end.callback(self._store.close)
        self._ports = {lane: world.port(lane, name) for lane in world.ledgers}
        self._clock = VirtualClock(START, skew=world.rng(f"clock {name}").uniform(-600, 600))
        self._lives = 0
        self._relay: Relay | None = None
        self.process = Process(name, self._live, switch, world.trace)
        world.processes.append(self.process)

    def has_capsule(self, publication: Bytes32) -> bool:
        """Whether hosts can load that publication through this relay."""
        row = self._store.publication(PublicationId(publication))
        return row is not None and row.publication is not None and row.capsule is not None

    # --- what its HTTP interface does

    async def publish(self, publication: bytes, signature: bytes, capsule: bytes | None) -> None:
        """POST /v1/publications."""
        await self._running().intake.publish(publication, signature, capsule)

    async def publish_batch(self, batch: bytes) -> None:
        """POST /v1/batches."""
        await self._running().batches.publish(batch)

    async def take_out(self, identifier: Bytes32) -> None:
        """POST /v1/publications/{id}/take-out."""
        await self._running().batches.take_out(PublicationId(identifier))

    async def publication(self, identifier: Bytes32) -> PublishedBytes:
        """GET /v1/publications/{id}."""
        row = self._store.publication(PublicationId(identifier))
        if row is None or row.publication is None or row.capsule is None:
            raise PublicationUnknown("0x" + identifier.hex())
        return PublishedBytes(publication=row.publication, capsule=row.capsule)

    async def request(self, request: bytes, signature: bytes) -> None:
        """POST /v1/requests."""
        await self._running().intake.request(request, signature)

    async def answer(self, signed: SignedBytes) -> None:
        """POST /v1/answers."""
        await self._running().intake.answer(signed.answer, signed.signature, signed.host_key, signed.operator_signature)

    def _running(self) -> Relay:
        if self._relay is None:
            raise RelayUnavailable("it starts")
        return self._relay

    async def _live(self) -> None:
        world = self._world
        self._lives += 1
        self._relay = Relay(
            world.network,
            [RelayLane(name=lane, port=port, generation=Generation(1)) for lane, port in self._ports.items()],
            [ValidatorPeer(signer=SignerIndex(i), port=port) for i, port in enumerate(self._validators)],
            store=self._store,
            clock=self._clock,
            entropy=SeededEntropy(f"{self.name}-{self._lives}"),
            observer=world.trace,
            tuning=RelayTuning(poll=2.0),
        )
        await self._relay.run()


class RelayLine:
    """`HostRelay`, and the interface of publishers and consumers, over a connection of their own."""

    def __init__(self, world: World, site: RelaySite, owner: str) -> None:
        self.site = site
        self._line = world.line(f"{owner} to {site.name}", RelayUnavailable, patience_s=30.0)
        self._heard = world.wiretap.heard

    async def publish(self, publication: bytes, signature: bytes, capsule: bytes | None) -> None:
        """See `RelaySite`."""
        self._heard(publication + signature + (capsule or b""))
        site = self.site
        await self._line.ask(lambda: site.process.answer(lambda: site.publish(publication, signature, capsule)))

    async def publish_batch(self, batch: bytes) -> None:
        """See `RelaySite`."""
        self._heard(batch)
        site = self.site
        await self._line.ask(lambda: site.process.answer(lambda: site.publish_batch(batch)))

    async def take_out(self, identifier: Bytes32) -> None:
        """See `RelaySite`."""
        site = self.site
        await self._line.ask(lambda: site.process.answer(lambda: site.take_out(identifier)))

    async def publication(self, identifier: Bytes32) -> PublishedBytes:
        """See `HostRelay`."""
        site = self.site
        return await self._line.ask(lambda: site.process.answer(lambda: site.publication(identifier)))

    async def answer(self, signed: SignedBytes) -> None:
        """See `HostRelay`."""
        self._heard(signed.answer + signed.signature + signed.host_key + signed.operator_signature)
        site = self.site
        await self._line.ask(lambda: site.process.answer(lambda: site.answer(signed)))

    async def request(self, request: bytes, signature: bytes) -> None:
        """See `HostRelay`."""
        self._heard(request + signature)
        site = self.site
        await self._line.ask(lambda: site.process.answer(lambda: site.request(request, signature)))
