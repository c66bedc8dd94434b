"""What users hand to a relay: checked here as the registries will, stored, and queued. Nothing is half done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from caimi.crypto.capsule import Capsule, capsule_hash
from caimi.crypto.ecdsa import recover, verify_signer
from caimi.ports.chain import Head
from caimi.ports.clock import Clock
from caimi.ports.key_release import ForeignCapsule
from caimi.ports.observer import Observer
from caimi.ports.relay_store import AddPublication, CallRow, Change, PublicationRow, Purpose, RelayStep, RelayStore
from caimi.protocol.validity import check_cid, check_publication
from caimi.relay.batch_intake import BatchIntake
from caimi.relay.calls import answer_key, brought_again, lock_key, new_call, other_key, request_key
from caimi.relay.follower import Follower
from caimi.relay.group_commit import GroupCommit
from caimi.relay.lanes import RelayLane, RelayLanes, UnknownLane
from caimi.types.errors import (
    BadEncoding,
    Expired,
    PastDeadline,
    WrongCommitment,
    WrongSigner,
)
from caimi.types.primitives import ZERO32, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import Answer, HostKey, InferenceRequest, Lane, Publication
from caimi.wire.codec import decode
from caimi.wire.digests import publication_id, typed_digest
from caimi.wire.functions import decode_call, encode_call
from caimi.wire.keccak import keccak256

__all__ = ["Accepted", "AcceptedPublication", "Intake"]

_CALL_LIMIT: Final = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedPublication:
    """A publication that is stored and queued."""

    id: PublicationId
    unknown_mirrors: tuple[Lane, ...]
    """Mirrors that this relay cannot reach: unless another relay does, home aborts after the deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A call that is stored and queued."""

    id: Bytes32
    """Digest of the request; hash of the call's bytes for other calls."""
    key: str


class Intake:
    """The changing calls of the relay's HTTP interface."""

    def __init__(
        self,
        network: Bytes32,
        lanes: RelayLanes,
        *,
        followers: Mapping[Lane, Follower],
        store: RelayStore,
        clock: Clock,
        observer: Observer,
        batches: BatchIntake,
    ) -> None:
        self._observer = observer
        self._network = network
        self._lanes = lanes
        self._followers = followers
        self._store = store
        self._clock = clock
        self._batches = batches
        self._commit = GroupCommit(RelayStep.ACCEPTED, store=store, clock=clock)

    async def publish(self, publication: bytes, signature: bytes, capsule: bytes | None = None) -> AcceptedPublication:
        """Queue the locks of a signed publication on its home and on every mirror known here.

        Arguments:
            publication: The ABI-encoded `Publication`.
            signature: 65 bytes.
            capsule: 195 bytes, kept for hosts; without one it can be brought later by the same call.
        Raises:
            BadEncoding, BadSignature, HighS, WrongSigner: Not what its publisher signed.
            UnsupportedFormat, ... BadMirrors: A permanent reason (spec 30 §4).
            MalformedCapsule, ForeignCapsule: The capsule is none, or another publication's.
            UnknownLane: Its home is not served here.
            PastDeadline: Its deadline passed by home's clock, and it is not known here.
        """
        record = decode(Publication, publication, limit=_CALL_LIMIT)
        identifier = publication_id(self._network, record)
        verify_signer(identifier, signature, record.publisher)
        check_publication(record)
        if capsule is not None and capsule_hash(Capsule.from_bytes(capsule)) != record.capsule_hash:
            raise ForeignCapsule("it does not hash to the publication's capsule hash")
        home = self._served(record.home)
        head = self._head(home)
        # What is known here was brought in time, or is on its home: then this brings what was missing, as the capsule.
        is_known = self._store.publication(identifier) is not None
        if not is_known and head is not None and head.time > record.deadline:
            raise PastDeadline(record.deadline, head.time)
        now = self._clock.now()
        row = PublicationRow(
            id=identifier,
            publication=publication,
            signature=signature,
            home=record.home,
            mirrors=record.mirrors,
            deadline=record.deadline,
            outcome=None,
            accepted=now,
            capsule=capsule,
        )
        call = encode_call("lockModel", record, signature)
        known = [lane for lane in (record.home, *record.mirrors) if self._lanes.get(lane) is not None]
        locks = [self._lock(identifier, lane, call, now) for lane in known]
        await self._commit.write(AddPublication(row=row), *locks)
        self._observer.step("relay.accepted", about=(identifier,), purpose="lock", home=self._lanes.name(record.home))
        unknown = tuple(mirror for mirror in record.mirrors if self._lanes.get(mirror) is None)
        return AcceptedPublication(id=identifier, unknown_mirrors=unknown)

    async def request(self, request: bytes, signature: bytes) -> Accepted:
        """Queue a signed `InferenceRequest` on its lane.

        Raises:
            BadEncoding, BadSignature, HighS, WrongSigner: Not what its consumer signed.
            UnknownLane, BadCid: The lane is not served here; the input's CID is none.
            Expired: Its deadline passed by the lane's clock.
        """
        record = decode(InferenceRequest, request, limit=_CALL_LIMIT)
        identifier = typed_digest(self._network, record)
        verify_signer(identifier, signature, record.consumer)
        check_cid(record.input)
        lane = self._served(record.at)
        head = self._head(lane)
        if head is not None and head.time > record.deadline:
            raise Expired(record.deadline, head.time)
        call = encode_call("requestInference", record, signature)
        # A publication of a batch is used by its own record; the host's key needs the one at home.
        before = self._batches.take_outs(PublicationId(record.publication))
        return await self._queue(lane, request_key(identifier), identifier, call, Purpose.REQUEST, *before)

    async def answer(self, answer: bytes, signature: bytes, host_key: bytes, operator_signature: bytes) -> Accepted:
        """Queue a host's signed `Answer` on the lane of its request.

        Raises:
            BadEncoding, BadSignature, HighS, WrongSigner: Not what the host's key signed.
            UnknownLane, BadCid, WrongCommitment: The lane is not served here; the answer is none.
        """
        record = decode(Answer, answer, limit=_CALL_LIMIT)
        key = decode(HostKey, host_key, limit=_CALL_LIMIT)
        # Which operators may sign host keys is the registry's to say; here it must be a signature at all.
        recover(typed_digest(self._network, key), operator_signature)
        signer = recover(typed_digest(self._network, record), signature)
        if signer != key.signing_key:
            raise WrongSigner(key.signing_key, signer)
        check_cid(record.output)
        if record.receipt_hash == ZERO32:
            raise WrongCommitment
        lane = self._served(record.at)
        call = encode_call("answerInference", record, signature, key, operator_signature)
        return await self._queue(lane, answer_key(record.request), record.request, call, Purpose.ANSWER)

    async def call(self, lane: Lane, call: bytes) -> Accepted:
        """Queue any other call of a registry's function.

        Raises:
            UnknownLane, UnknownFunction, BadEncoding: The lane or the call is none; or it is a `multicall`.
        """
        served = self._served(lane)
        name, _ = decode_call(call, limit=_CALL_LIMIT)
        if name == "multicall":
            raise BadEncoding
        digest = keccak256(call)
        return await self._queue(served, other_key(served.name, digest), digest, call, Purpose.OTHER)

    async def _queue(
        self, lane: RelayLane, key: str, identifier: Bytes32, call: bytes, purpose: Purpose, *before: Change
    ) -> Accepted:
        now = self._clock.now()
        row: CallRow = new_call(key, lane.lane, call, purpose=purpose, subjects=(identifier,), now=now)
        await self._commit.write(*before, brought_again(self._store.call(key), row))
        self._observer.step("relay.accepted", about=(identifier,), purpose=purpose.value, lane=lane.name)
        return Accepted(id=identifier, key=key)

    def _lock(self, identifier: PublicationId, lane: Lane, call: bytes, now: UnixSeconds) -> Change:
        key = lock_key(identifier, self._lanes.name(lane))
        row = new_call(key, lane, call, purpose=Purpose.LOCK, subjects=(identifier,), now=now)
        return brought_again(self._store.call(key), row)

    def _served(self, lane: Lane) -> RelayLane:
        served = self._lanes.get(lane)
        if served is None:
            raise UnknownLane(self._lanes.name(lane))
        return served

    def _head(self, lane: RelayLane) -> Head | None:
        follower = self._followers.get(lane.lane)
        return follower.head if follower else None
