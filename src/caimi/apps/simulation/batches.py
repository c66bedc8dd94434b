"""A publisher of batches, who tells only some, or locks them himself."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Final

from caimi.apps.simulation.relays import RelayLine
from caimi.apps.simulation.world import NOWHERE, START, World
from caimi.ports.host_relay import RelayUnavailable
from caimi.protocol.batches import batch_root
from caimi.types.errors import CaimiError
from caimi.types.primitives import ZERO32, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import NO_TERMS, Cid, Lane, Publication
from caimi.wire.codec import encode_values
from caimi.wire.digests import POLICY_OPEN, publication_id
from caimi.wire.functions import FUNCTIONS, encode_call
from caimi.wire.keccak import keccak256

__all__ = ["BatchPublisher"]

_MOST: Final = 4
_LAST_TRY_S: Final = 300
_DOOMED_S: Final = 150.0
_ONE_NONCE: Final = keccak256(b"the nonce of two publications")


class BatchPublisher:
    """Publishes a number of batches at random times; what he signed is never used but in its batch."""

    def __init__(self, world: World, lines: Sequence[RelayLine]) -> None:
        self._world = world
        self._rng = world.rng("batch publisher")
        self._lines = lines
        self._untold: list[bytes] = []
        self._ports = {name: world.port(name, "batch publisher") for name in world.ledgers}

    async def run(self) -> None:
        """Publish all."""
        rng, names = self._rng, list(self._world.ledgers)
        for number in range(self._world.plan.batches):
            is_doomed = number == 0 and self._world.plan.turn(self._world.seed) % 4 == 0
            await asyncio.sleep(rng.uniform(0, 10 if is_doomed else 40))
            home, other = rng.sample(names, 2)
            mirrors = (self._world.ledgers[other].lane,) if rng.random() < 0.85 else (NOWHERE,)
            drafts = [self._draft(number, place, home, mirrors) for place in range(rng.randint(1, _MOST))]
            if is_doomed:
                # No home ever locks it: relays have to find that out.
                drafts = [self._doomed(drafts[0], version) for version in (900, 901)]
                self._world.not_before = self._world.clock.monotonic() + _DOOMED_S
            ids = tuple(publication_id(self._world.network, draft) for draft in drafts)
            signatures = tuple(self._world.publisher.sign(identifier).to_bytes() for identifier in ids)
            await self._tell(tuple(drafts), signatures, ids, home, other)
        for batch in self._untold:
            # Nobody can give deposits back without the signed bytes.
            await self._bring(batch)

    def _doomed(self, draft: Publication, version: int) -> Publication:
        deadline = UnixSeconds(self._world.clock.now() + 15)
        return dataclasses.replace(draft, version=version, nonce=_ONE_NONCE, deadline=deadline)

    def _draft(self, number: int, place: int, home: str, mirrors: tuple[Lane, ...]) -> Publication:
        rng, world = self._rng, self._world
        return Publication(
            format=1,
            kind=1,
            publisher=world.publisher.address,
            # Some share a name, so that versions meet when they are taken out.
            name=rng.choice(("digits", f"batch-{number}-{place}")),
            version=100 + 10 * number + place,
            ciphertext=Cid(codec=0x70, digest=keccak256(b"ciphertext")),
            capsule_hash=keccak256(b"capsule"),
            manifest_commitment=keccak256(b"manifest"),
            policy_hash=POLICY_OPEN,
            home=world.ledgers[home].lane,
            mirrors=mirrors,
            terms=NO_TERMS,
            deposit=rng.randint(1, 40),
            nonce=keccak256(rng.randbytes(8)),
            deadline=UnixSeconds(world.clock.now() + rng.randint(12, 120)),
            extension_hash=ZERO32,
        )

    async def _tell(
        self,
        publications: tuple[Publication, ...],
        signatures: tuple[bytes, ...],
        ids: tuple[PublicationId, ...],
        home: str,
        other: str,
    ) -> None:
        # A relay, all relays, or calls sent straight to a ledger; sometimes both.
        told = self._rng.choice((self._lines[:1], self._lines, self._lines, []))
        if not told or self._rng.random() < 0.2:
            await self._send(home, encode_call("lockBatch", publications, signatures))
            root = batch_root(ids)
            if self._rng.random() < 0.7:
                await self._send(other, encode_call("answerBatch", publications[0].home, root))
        batch = encode_values(FUNCTIONS["lockBatch"], (publications, signatures))
        taken = [await self._give(line, batch) for line in told]
        if not any(taken):
            self._untold.append(batch)
        await self._use(told, ids)

    async def _bring(self, batch: bytes) -> None:
        await asyncio.sleep(self._rng.uniform(20, 160))
        for line in self._lines:
            while True:
                try:
                    await line.publish_batch(batch)
                    break
                except RelayUnavailable:
                    await self._world.clock.sleep(2.0)
                except CaimiError as error:
                    # Home never locked it, or the relay has not seen that yet.
                    self._world.trace.note(f"{line.site.name} refuses a late batch {type(error).__name__}")
                    if self._world.clock.now() > START + _LAST_TRY_S:
                        break
                    await self._world.clock.sleep(5.0)

    async def _give(self, line: RelayLine, batch: bytes) -> bool:
        try:
            await line.publish_batch(batch)
        except RelayUnavailable:
            self._world.trace.note(f"{line.site.name} does not take a batch")
            return False
        except CaimiError as error:
            self._world.trace.note(f"{line.site.name} refuses a batch {type(error).__name__}")
            return False
        return True

    async def _use(self, told: Sequence[RelayLine], ids: tuple[PublicationId, ...]) -> None:
        # Somebody wants one of them, perhaps before it is decided.
        if not told or self._rng.random() < 0.4:
            return
        await asyncio.sleep(self._rng.uniform(0, 20))
        try:
            await told[0].take_out(Bytes32(self._rng.choice(ids)))
        except CaimiError as error:
            self._world.trace.note(f"{told[0].site.name} does not take out {type(error).__name__}")

    async def _send(self, ledger: str, call: bytes) -> None:
        port = self._ports[ledger]
        try:
            await port.send(await port.prepare(call, slot=None))
        except CaimiError as error:
            self._world.trace.note(f"direct batch call refused {type(error).__name__}")
