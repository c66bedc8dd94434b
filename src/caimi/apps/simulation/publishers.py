"""Publishers, who tell only some, or somebody wrong; in seeds with inference they seal a model first."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from caimi.apps.simulation.batches import BatchPublisher
from caimi.apps.simulation.relays import RelayLine, RelaySite
from caimi.apps.simulation.validators import ValidatorSite
from caimi.apps.simulation.world import NOWHERE, World
from caimi.bundle.framing import manifest_commitment
from caimi.bundle.manifest import encode_manifest
from caimi.bundle.opener import SealEntropy, seal_bundle
from caimi.bundle.stream import content_key
from caimi.crypto.capsule import Capsule, capsule_hash, seal_key
from caimi.crypto.key_share import ThresholdKey
from caimi.ports.content import ContentError
from caimi.ports.host_relay import RelayUnavailable
from caimi.simulators.models import SimulatedModel
from caimi.simulators.processes import ProcessDown
from caimi.types.errors import CaimiError
from caimi.types.primitives import ZERO32, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import NO_TERMS, Cid, Lane, Publication
from caimi.wire.codec import encode
from caimi.wire.digests import POLICY_OPEN, capsule_label, publication_id
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256

__all__ = ["Published", "Publisher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a publisher signed, and the model behind it."""

    id: PublicationId
    record: Publication
    signature: bytes
    capsule: Capsule | None
    """None in seeds without inference, as the model."""
    model: SimulatedModel | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sealed:
    ciphertext: Cid
    commitment: Bytes32
    data_key: bytes
    model: SimulatedModel


class Publisher:
    """Publishes a number of models at random times."""

    def __init__(self, world: World, relays: Sequence[RelaySite], validators: Sequence[ValidatorSite]) -> None:
        self.published: list[Published] = []
        self._world = world
        self._rng = world.rng("publisher")
        self._lines = [RelayLine(world, relay, "publisher") for relay in relays]
        self._ports = {name: world.port(name, "publisher") for name in world.ledgers}
        self._validators = validators

    async def run(self) -> None:
        """Publish all."""
        rng, names = self._rng, list(self._world.ledgers)
        key = await self._group_key() if self._world.has_inference else None
        async with asyncio.TaskGroup() as tasks:
            if not self._world.has_inference:
                tasks.create_task(BatchPublisher(self._world, self._lines).run())
            for number in range(self._world.plan.publications):
                await asyncio.sleep(rng.uniform(0, 12))
                sealed = None if key is None else await self._seal()
                home, other = rng.sample(names, 2)
                mirrors = [self._world.ledgers[other].lane] if rng.random() < 0.85 else [NOWHERE]
                draft = self._draft(number, home, mirrors, sealed)
                if rng.random() < 0.1:
                    draft = dataclasses.replace(draft, policy_hash=keccak256(b"a policy that nobody knows"))
                published = self._sign(draft, key, sealed)
                self.published.append(published)
                await self._tell(published, tasks)

    # --- sealing

    async def _group_key(self) -> ThresholdKey:
        # What q validators report alike.
        while True:
            reported: Counter[bytes] = Counter()
            for validator in self._validators:
                try:
                    reported[(await validator.public_key()).to_bytes()] += 1
                except (CaimiError, ProcessDown):
                    continue
            encoded, count = reported.most_common(1)[0] if reported else (b"", 0)
            if count >= self._world.validator_set.q:
                return ThresholdKey.from_bytes(encoded)
            await asyncio.sleep(1.0)

    async def _seal(self) -> _Sealed:
        rng, wiretap = self._rng, self._world.wiretap
        model, data_key = SimulatedModel.drawn(rng), rng.randbytes(32)
        wiretap.protect("a model key", data_key)
        wiretap.protect("a model", model.secret)
        entropy = SealEntropy(
            manifest_salt=Bytes32(rng.randbytes(32)),
            stream_salt=Bytes32(rng.randbytes(32)),
            stream_prefix=rng.randbytes(7),
        )
        manifest = model.manifest()
        segments = seal_bundle(content_key(data_key), manifest, entropy=entropy, contents=[[model.to_bytes()]])
        ciphertext = b"".join(bytes(segment) for segment in segments)
        while True:
            try:
                root = await self._world.content.upload([ciphertext])
                break
            except ContentError:
                await asyncio.sleep(1.0)
        commitment = manifest_commitment(entropy.manifest_salt, encode_manifest(manifest))
        return _Sealed(ciphertext=root.cid, commitment=commitment, data_key=data_key, model=model)

    def _draft(self, number: int, home: str, mirrors: Sequence[Lane], sealed: _Sealed | None) -> Publication:
        rng, world = self._rng, self._world
        return Publication(
            format=1,
            kind=1,
            publisher=world.publisher.address,
            name="digits",
            version=rng.choice((number + 1, 50 - number)),
            ciphertext=Cid(codec=0x70, digest=keccak256(b"ciphertext")) if sealed is None else sealed.ciphertext,
            capsule_hash=keccak256(b"capsule"),
            manifest_commitment=keccak256(b"manifest") if sealed is None else sealed.commitment,
            policy_hash=POLICY_OPEN,
            home=world.ledgers[home].lane,
            mirrors=tuple(mirrors),
            terms=NO_TERMS,
            deposit=rng.randint(1, 40),
            nonce=keccak256(rng.randbytes(8)),
            deadline=UnixSeconds(world.clock.now() + rng.randint(12, 90)),
            extension_hash=ZERO32,
        )

    def _sign(self, draft: Publication, key: ThresholdKey | None, sealed: _Sealed | None) -> Published:
        world, capsule, record = self._world, None, draft
        if key is not None and sealed is not None:
            label = capsule_label(world.network, key.group_key.encode(), draft)
            entropy = Bytes32(self._rng.randbytes(32))
            capsule = seal_key(key.group_key, label=label, data_key=sealed.data_key, entropy=entropy)
            record = dataclasses.replace(draft, capsule_hash=capsule_hash(capsule))
        identifier = publication_id(world.network, record)
        return Published(
            id=identifier,
            record=record,
            signature=world.publisher.sign(identifier).to_bytes(),
            capsule=capsule,
            model=None if sealed is None else sealed.model,
        )

    # --- telling

    async def _tell(self, published: Published, tasks: asyncio.TaskGroup) -> None:
        # A relay, all relays, or a lock sent straight to one ledger: a publisher may do any of it.
        told = self._rng.choice((self._lines[:1], self._lines[-1:], self._lines, []))
        for line in told:
            await self._give(line, published)
        if not told:
            await self._lock(published)
        if self._world.has_inference:
            # Whoever publishes a model for use sees to it that hosts find its capsule; most do.
            for line in self._lines:
                if line not in told and self._rng.random() < 0.7:
                    tasks.create_task(self._bring(line, published, self._rng.uniform(0.0, 12.0)))

    async def _bring(self, line: RelayLine, published: Published, pause: float) -> None:
        await asyncio.sleep(pause)
        while not await self._give(line, published):
            await self._world.clock.sleep(2.0)

    async def _give(self, line: RelayLine, published: Published) -> bool:
        # Whether asking again makes no sense.
        capsule = None if published.capsule is None else published.capsule.to_bytes()
        try:
            await line.publish(encode(published.record), published.signature, capsule)
        except RelayUnavailable:
            return False
        except CaimiError as error:
            self._world.trace.note(f"{line.site.name} refuses {type(error).__name__}")
        return True

    async def _lock(self, published: Published) -> None:
        port = self._ports[self._rng.choice(list(self._ports))]
        call = encode_call("lockModel", published.record, published.signature)
        try:
            await port.send(await port.prepare(call, slot=None))
        except CaimiError as error:
            self._world.trace.note(f"direct lock refused {type(error).__name__}")
