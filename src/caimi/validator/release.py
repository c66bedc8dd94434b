"""Releasing a partial: only for a committed publication, under a lease on the board, to the lease's key (spec 60 §2).

What the requester says counts for nothing: the lease is read from the board, the publication is what hashes to the id
in the lease, its outcome is home's final event, and the label is computed here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from caimi.crypto.capsule import Capsule, capsule_hash
from caimi.crypto.ecdsa import SigningKey
from caimi.crypto.key_share import KeyShare
from caimi.crypto.partial import make_partial, seal_partial
from caimi.ports.chain import BoardPort, ChainReader
from caimi.ports.clock import Clock, Entropy
from caimi.ports.key_release import ForeignCapsule, ForeignPublication, UnreadHome
from caimi.ports.key_vault import KeyStep, KeyVault
from caimi.ports.observer import Observer
from caimi.protocol.publication import State
from caimi.types.errors import BadLease, LeaseEnded, NotCommitted, UnknownLease, WrongEpoch, WrongRegistry
from caimi.types.primitives import Bytes32, PublicationId
from caimi.types.records import Lane, LeaseRequest, PartialPost, Publication
from caimi.validator.outcomes import FinalOutcomes
from caimi.wire.digests import capsule_label, publication_id, sealed_hash, typed_digest
from caimi.wire.functions import encode_call

__all__ = ["KeyRelease"]

_PURPOSE_SERVE = 1


class KeyRelease:
    """The releasing part of one validator, for one epoch's share."""

    def __init__(
        self,
        share: KeyShare,
        *,
        network: Bytes32,
        key: SigningKey,
        board: BoardPort,
        board_lane: Lane,
        homes: Mapping[Lane, ChainReader],
        vault: KeyVault,
        clock: Clock,
        entropy: Entropy,
        observer: Observer,
    ) -> None:
        self._share = share
        self._network = network
        self._key = key
        self._board = board
        self._lane = board_lane
        self._homes = homes
        self._outcomes = {lane: FinalOutcomes(reader) for lane, reader in homes.items()}
        self._vault = vault
        self._clock = clock
        self._entropy = entropy
        self._observer = observer
        # One at a time: a repetition must find the first one's record.
        self._turn = asyncio.Lock()

    @property
    def releases(self) -> int:
        """How many leases got a partial."""
        return self._vault.releases()

    async def release(self, lease: Bytes32, publication: Publication, capsule: bytes) -> None:
        """Put this validator's sealed partial for `lease` into the private collection. Repeating is harmless.

        Raises:
            UnknownLease, LeaseEnded, WrongEpoch, WrongRegistry, BadLease: Of the lease.
            ForeignPublication, UnreadHome, NotCommitted, ForeignCapsule: Of the publication.
            MalformedCapsule, InvalidCapsule: The capsule is not sound under the label; nothing was computed with the
                share.
            BadSealingKey: The lease's sealing key is none.
            AlreadyPosted: The board has other bytes of this validator: its vault was lost.
            ChainUnavailable, SourcesDisagree: Ask again later.
        """
        async with self._turn:
            record = await self._live_lease(lease)
            # Also for a repetition: what was recorded may not have left, and the publication may be gone meanwhile.
            await self._check_publication(record, publication)
            sealed = self._vault.released(lease)
            if sealed is None:
                sealed = self._make(lease, record, publication, capsule)
                self._vault.record_release(KeyStep.RELEASE_RECORDED, lease, record.publication, sealed)
                self._observer.step(
                    "keys.released", lease="0x" + lease.hex(), publication="0x" + record.publication.hex()
                )
        await self._post(lease, sealed)

    async def _live_lease(self, lease: Bytes32) -> LeaseRequest:
        record = await self._board.lease(lease)
        if record is None or typed_digest(self._network, record) != lease:
            raise UnknownLease(lease)
        if record.at != self._lane:
            raise WrongRegistry(record.at.registry, self._lane.registry)
        if record.purpose != _PURPOSE_SERVE:
            raise BadLease
        if record.epoch != self._share.epoch:
            raise WrongEpoch(self._share.epoch, record.epoch)
        if record.end < self._clock.now():
            raise LeaseEnded(record.end, self._clock.now())
        return record

    async def _check_publication(self, record: LeaseRequest, publication: Publication) -> None:
        identifier = publication_id(self._network, publication)
        if identifier != record.publication:
            raise ForeignPublication("0x" + identifier.hex())
        await self._check_committed(identifier, publication.home)
        for lane in (publication.home, *publication.mirrors):
            outcomes = self._outcomes.get(lane)
            # Home will be told, but that takes a while. A mirror that is down stops nobody: home is what gates.
            if outcomes is not None and await outcomes.is_revoked(identifier):
                raise NotCommitted(State.REVOKED)

    def _make(self, lease: Bytes32, record: LeaseRequest, publication: Publication, capsule: bytes) -> bytes:
        parsed = Capsule.from_bytes(capsule)
        if capsule_hash(parsed) != publication.capsule_hash:
            raise ForeignCapsule("0x" + capsule_hash(parsed).hex())
        partial = make_partial(
            self._share,
            signing_key=self._key,
            capsule=parsed,
            label=capsule_label(self._network, self._share.group_key.encode(), publication),
            lease=lease,
            entropy=Bytes32(self._entropy.take(32)),
        )
        return seal_partial(partial, recipient=record.sealing_key)

    async def _check_committed(self, identifier: PublicationId, home: Lane) -> None:
        outcomes = self._outcomes.get(home)
        if outcomes is None:
            raise UnreadHome("0x" + home.registry.hex())
        final = await outcomes.state(identifier)
        if final is not State.COMMITTED:
            raise NotCommitted(final)
        # What takes a publication away counts at first sight, not only once it is final.
        seen = await self._homes[home].publication(identifier)
        if seen is None or seen.state is not State.COMMITTED:
            raise NotCommitted(State.NONE if seen is None else seen.state)

    async def _post(self, lease: Bytes32, sealed: bytes) -> None:
        post = PartialPost(at=self._lane, lease=lease, index=self._share.index, sealed_hash=sealed_hash(sealed))
        signature = self._key.sign(typed_digest(self._network, post)).to_bytes()
        await self._board.post_partial(encode_call("postPartial", post, signature), sealed)
