"""Calls about batches, as rows of the outbox (spec 37)."""

from __future__ import annotations

from collections.abc import Sequence

from caimi.ports.relay_store import AddCall, BatchItem, Purpose
from caimi.relay.calls import new_call, take_out_key
from caimi.relay.lanes import RelayLane
from caimi.types.primitives import Bytes32, PublicationId, UnixSeconds
from caimi.types.records import BatchProof, Lane, Publication
from caimi.wire.codec import decode
from caimi.wire.digests import batch_leaf
from caimi.wire.functions import encode_call
from caimi.wire.merkle import merkle_multiproof, merkle_paths

__all__ = ["batch_proof", "take_out", "take_out_all"]


def batch_proof(home: Lane, root: Bytes32, identifiers: Sequence[PublicationId], index: int) -> BatchProof:
    """Shows that the id at `index` is in the batch of these ids."""
    leaves = [batch_leaf(place, identifier) for place, identifier in enumerate(identifiers)]
    return BatchProof(home=home, root=root, index=index, siblings=merkle_multiproof(leaves, [index]))


def take_out(item: BatchItem, items: Sequence[BatchItem], lane: RelayLane, now: UnixSeconds) -> AddCall:
    """Queue that `item`, of the whole batch `items`, gets its own record on `lane`."""
    publication = decode(Publication, item.publication)
    proof = batch_proof(publication.home, item.root, [one.id for one in items], item.index)
    return _take_out(item, publication, proof, lane, now)


def take_out_all(items: Sequence[BatchItem], lane: RelayLane, now: UnixSeconds) -> list[AddCall]:
    """Queue that every publication of the whole batch `items` gets its own record on `lane`."""
    paths = merkle_paths([batch_leaf(place, item.id) for place, item in enumerate(items)])
    calls: list[AddCall] = []
    for item, path in zip(items, paths, strict=True):
        publication = decode(Publication, item.publication)
        proof = BatchProof(home=publication.home, root=item.root, index=item.index, siblings=path)
        calls.append(_take_out(item, publication, proof, lane, now))
    return calls


def _take_out(
    item: BatchItem, publication: Publication, proof: BatchProof, lane: RelayLane, now: UnixSeconds
) -> AddCall:
    call = encode_call("takeOut", publication, item.signature, proof)
    key = take_out_key(item.id, lane.name)
    return AddCall(row=new_call(key, lane.lane, call, purpose=Purpose.TAKE_OUT, subjects=(item.id,), now=now))
