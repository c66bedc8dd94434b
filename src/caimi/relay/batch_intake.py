"""Batches that users hand to a relay: checked here as home will, stored, and queued (spec 37)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from caimi.crypto.capsule import CAPSULE_BYTES, Capsule, capsule_hash
from caimi.crypto.ecdsa import verify_signer
from caimi.ports.clock import Clock
from caimi.ports.key_release import ForeignCapsule
from caimi.ports.observer import Observer
from caimi.ports.relay_store import (
    AddBatchItems,
    AddCall,
    AddPublication,
    BatchItem,
    CallRow,
    CallState,
    Change,
    PublicationRow,
    Purpose,
    PutCall,
    RelayStep,
    RelayStore,
    Watched,
)
from caimi.protocol.batches import MAX_BATCH, batch_root
from caimi.protocol.publication import State
from caimi.protocol.validity import check_publication
from caimi.relay.batch_calls import take_out, take_out_all
from caimi.relay.calls import brought_again, lock_key, new_call, take_out_key
from caimi.relay.follower import Follower
from caimi.relay.group_commit import GroupCommit
from caimi.relay.lanes import RelayLane, RelayLanes, UnknownLane
from caimi.types import errors
from caimi.types.failure import Refusal
from caimi.types.primitives import Bytes32, PublicationId
from caimi.types.records import Lane, Publication
from caimi.wire.codec import decode_values, encode
from caimi.wire.digests import publication_id
from caimi.wire.functions import FUNCTIONS, encode_call

__all__ = ["AcceptedBatch", "BatchIntake"]

_LIMIT: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedBatch:
    """A batch that is stored and queued."""

    root: Bytes32
    ids: tuple[PublicationId, ...]
    """By index."""
    unknown_mirrors: tuple[Lane, ...]
    """Mirrors that this relay cannot reach: unless another relay does, home does not commit the batch."""


class BatchIntake:
    """Takes batches, and the wish that a publication be taken out of one."""

    def __init__(
        self,
        network: Bytes32,
        lanes: RelayLanes,
        *,
        followers: Mapping[Lane, Follower],
        store: RelayStore,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._network = network
        self._lanes = lanes
        self._followers = followers
        self._store = store
        self._clock = clock
        self._observer = observer
        self._commit = GroupCommit(RelayStep.ACCEPTED, store=store, clock=clock)

    async def publish(self, batch: bytes, capsules: bytes | None = None) -> AcceptedBatch:
        """Queue the lock of a batch on its home and the answers of every mirror known here.

        Arguments:
            batch: ABI-encoded `(Publication[], bytes[])`, as `lockBatch` takes it; at most 1 MiB.
            capsules: 195 bytes for each publication, in order, kept for hosts; can be brought later by the same call.
        Raises:
            BadEncoding, EmptyBatch, BatchTooLong: It is no batch, or longer than home's lane takes.
            BatchItem: What home would refuse one of them with, as far as this can be seen without home, and its index.
                A batch that is known here may also be late: then this brings what was missing.
            MalformedCapsule, ForeignCapsule: A capsule is none, or another publication's.
            UnknownLane: Its home is not served here.
        """
        publications, signatures = decode_values(FUNCTIONS["lockBatch"], batch, limit=_LIMIT)
        home = self._check_shape(publications, signatures)
        ids = self._check_items(publications, signatures, home.lane)
        root = batch_root(ids)
        before = self._store.publication(PublicationId(root))
        if before is None:
            self._check_time(publications, home.lane)
        items = tuple(
            BatchItem(id=i, root=root, index=index, publication=encode(p), signature=s, capsule=c)
            for index, (i, p, s, c) in enumerate(
                zip(ids, publications, signatures, _split(capsules, publications), strict=True)
            )
        )
        mirrors: tuple[Lane, ...] = publications[0].mirrors
        row = PublicationRow(
            id=PublicationId(root),
            publication=None,
            signature=None,
            home=home.lane,
            mirrors=mirrors,
            deadline=min(p.deadline for p in publications),
            outcome=None,
            accepted=self._clock.now(),
            watched=Watched.BATCH,
        )
        lock = self._lock(root, home.lane, encode_call("lockBatch", publications, signatures))
        known = [mirror for mirror in mirrors if self._lanes.get(mirror) is not None]
        answers = [self._lock(root, mirror, encode_call("answerBatch", home.lane, root)) for mirror in known]
        # Of a batch that was aborted before its bytes came, the deposits are still there.
        is_aborted = before is not None and before.outcome is State.ABORTED
        refunds = take_out_all(items, home, self._clock.now()) if is_aborted else []
        await self._commit.write(AddPublication(row=row), AddBatchItems(items=items), lock, *answers, *refunds)
        self._observer.step("relay.accepted-batch", about=(root,), home=home.name, count=len(items))
        unknown = tuple(mirror for mirror in mirrors if mirror not in known)
        return AcceptedBatch(root=root, ids=ids, unknown_mirrors=unknown)

    async def take_out(self, identifier: PublicationId) -> tuple[str, ...]:
        """Queue that a publication of a batch gets its own record on all its registries. The keys of the calls.

        Raises:
            UnknownPublication: This relay has no batch with it.
        """
        item = self._store.batch_item(identifier)
        if item is None:
            raise errors.UnknownPublication(identifier)
        await self._commit.write(*self.take_outs(identifier))
        return tuple(take_out_key(identifier, lane.name) for lane in self._registries(item))

    def take_outs(self, identifier: PublicationId) -> list[AddCall | PutCall]:
        """The calls of `take_out` that are not on their way; none if it is in no batch that was brought here.

        They come again with every request, so nothing is computed for those that are there.
        """
        item = self._store.batch_item(identifier)
        if item is None:
            return []
        known = {lane.name: self._store.call(take_out_key(identifier, lane.name)) for lane in self._registries(item)}
        missing = [lane for lane in self._registries(item) if _is_missing(known[lane.name])]
        items = self._store.batch_items(item.root) if missing else ()
        calls = [(lane, take_out(item, items, lane, self._clock.now())) for lane in missing]
        return [brought_again(known[lane.name], call.row) for lane, call in calls]

    def _registries(self, item: BatchItem) -> list[RelayLane]:
        row = self._store.publication(PublicationId(item.root))
        lanes = () if row is None else (row.home, *row.mirrors)
        served = [self._lanes.get(lane) for lane in lanes]
        return [lane for lane in served if lane is not None]

    # --- checks

    def _check_shape(self, publications: tuple[Publication, ...], signatures: tuple[bytes, ...]) -> RelayLane:
        if not publications:
            raise errors.EmptyBatch
        home = self._lanes.get(publications[0].home)
        if home is None:
            raise UnknownLane(self._lanes.name(publications[0].home))
        limit = min(MAX_BATCH, home.batch_items)
        if len(publications) > limit:
            raise errors.BatchTooLong(limit, len(publications))
        if len(signatures) != len(publications):
            raise errors.BadEncoding
        return home

    def _check_items(
        self, publications: tuple[Publication, ...], signatures: tuple[bytes, ...], home: Lane
    ) -> tuple[PublicationId, ...]:
        mirrors = publications[0].mirrors
        ids: dict[PublicationId, None] = {}
        for index, (publication, signature) in enumerate(zip(publications, signatures, strict=True)):
            try:
                identifier = publication_id(self._network, publication)
                verify_signer(identifier, signature, publication.publisher)
                if publication.home != home:
                    raise errors.NotHome
                if publication.mirrors != mirrors:
                    raise errors.BadMirrors
                if identifier in ids:
                    raise errors.KnownPublication
                check_publication(publication)
            except Refusal as refusal:
                raise errors.BatchItem(index, refusal.code) from refusal
            ids[identifier] = None
        return tuple(ids)

    def _check_time(self, publications: tuple[Publication, ...], home: Lane) -> None:
        follower = self._followers.get(home)
        if follower is None or follower.head is None:
            return
        for index, publication in enumerate(publications):
            if follower.head.time > publication.deadline:
                raise errors.BatchItem(index, errors.PastDeadline.code)

    def _lock(self, root: Bytes32, lane: Lane, call: bytes) -> Change:
        key = lock_key(PublicationId(root), self._lanes.name(lane))
        row = new_call(key, lane, call, purpose=Purpose.LOCK, subjects=(root,), now=self._clock.now())
        return brought_again(self._store.call(key), row)


def _is_missing(call: CallRow | None) -> bool:
    return call is None or call.state is CallState.REFUSED


def _split(capsules: bytes | None, publications: tuple[Publication, ...]) -> list[bytes | None]:
    if capsules is None:
        return [None] * len(publications)
    if len(capsules) != CAPSULE_BYTES * len(publications):
        raise ForeignCapsule(f"there are not {CAPSULE_BYTES} bytes for each publication")
    found = [capsules[i : i + CAPSULE_BYTES] for i in range(0, len(capsules), CAPSULE_BYTES)]
    for index, (capsule, publication) in enumerate(zip(found, publications, strict=True)):
        if capsule_hash(Capsule.from_bytes(capsule)) != publication.capsule_hash:
            raise ForeignCapsule(f"number {index} does not hash to its publication's capsule hash")
    return [*found]
