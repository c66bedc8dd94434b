"""Taking a publication out of its batch, and reading it there, on the reference model (spec 37 §4, §5)."""

from __future__ import annotations

from caimi.protocol.decision import (
    abort_home,
    emit,
    follow_home,
    meet_answers,
    meet_revocations,
    settle_abort,
    settle_commit,
)
from caimi.protocol.locking import new_record, verify_publisher
from caimi.protocol.publication import AbortReason, Input, Role, State
from caimi.protocol.registry_state import BatchRecord, RegistryState
from caimi.types.errors import (
    DeadlineNotPassed,
    NotDecided,
    TakenOut,
    UnknownBatch,
    WrongAuthority,
    WrongRegistry,
    WrongRoot,
)
from caimi.types.primitives import Bytes32, PublicationId, UnixSeconds
from caimi.types.records import BatchProof, Event, Kind, Publication
from caimi.wire.digests import batch_leaf
from caimi.wire.functions import encode_body
from caimi.wire.merkle import multiproof_root

__all__ = ["state_in", "take_out"]


def take_out(
    state: RegistryState,
    network: Bytes32,
    publication: Publication,
    signature: bytes,
    proof: BatchProof,
    *,
    now: UnixSeconds,
) -> PublicationId:
    """Give a publication of a batch its own record, here.

    Raises:
        Refusal: As spec 37 §4 says, in its order.
    """
    identifier = verify_publisher(network, publication, signature)
    own = state.config.lane
    if own != publication.home and own not in publication.mirrors:
        raise WrongRegistry(publication.home.registry, own.registry)
    record = state.publications.get(identifier)
    if record is not None and (record.role is Role.HOME or record.state is not State.LOCKED):
        return identifier
    if proof.home != publication.home:
        raise WrongAuthority
    batch = state.batches.get((proof.home, proof.root))
    if batch is None:
        raise UnknownBatch(proof.root)
    if batch.role is Role.MIRROR and batch.state is State.LOCKED:
        raise NotDecided
    _check_proof(identifier, proof, batch.count)
    if batch.role is Role.HOME:
        _take_out_at_home(state, identifier, publication, proof.index, batch, now)
    else:
        if batch.taken >> proof.index & 1:
            raise TakenOut
        _take_out_at_mirror(state, identifier, publication, batch)
    return identifier


def _take_out_at_home(
    state: RegistryState,
    identifier: PublicationId,
    publication: Publication,
    index: int,
    batch: BatchRecord,
    now: UnixSeconds,
) -> None:
    if batch.state is State.LOCKED and now <= batch.earliest:
        raise DeadlineNotPassed(batch.earliest, now)
    record = new_record(publication, Role.HOME, State.LOCKED, deposit=publication.deposit)
    state.publications[identifier] = record
    batch.deposits -= publication.deposit
    match batch.state:
        case State.LOCKED:
            batch.taken |= 1 << index
            body = encode_body(Kind.LOCKED, Role.HOME, publication.home)
            mirrors = publication.mirrors
            emit(state, Event(schema=1, kind=Kind.LOCKED, destinations=mirrors, subject=identifier, body=body))
            meet_revocations(state, identifier)
            if now > publication.deadline:
                abort_home(state, identifier, Input.DEADLINE, AbortReason.DEADLINE)
            else:
                meet_answers(state, identifier)
        case State.COMMITTED:
            record.awaited = 0
            meet_revocations(state, identifier)
            settle_commit(state, identifier)
        case _:
            record.awaited = batch.awaited
            happened = Input.DEADLINE if batch.reason is AbortReason.DEADLINE else Input.MIRROR_REFUSED
            settle_abort(state, record, happened, batch.reason)


def _take_out_at_mirror(
    state: RegistryState, identifier: PublicationId, publication: Publication, batch: BatchRecord
) -> None:
    record = state.publications.get(identifier)
    if record is None:
        record = new_record(publication, Role.MIRROR, State.LOCKED, deposit=0)
        state.publications[identifier] = record
        meet_revocations(state, identifier)
    # Of what home told of the id itself only SUPERSEDED can come after the batch's outcome.
    waiting = state.pending_outcomes.pop((identifier, publication.home), None)
    is_superseded = batch.state is State.COMMITTED and waiting is State.SUPERSEDED
    follow_home(record, State.SUPERSEDED if is_superseded else batch.state)


def state_in(state: RegistryState, identifier: PublicationId, proof: BatchProof) -> tuple[Role, State]:
    """What is known of a publication by its own record and by its batch (spec 37 §5).

    Raises:
        UnknownBatch, ItemOutOfRun, ProofTooShort, ProofTooLong, WrongRoot: In this order.
    """
    batch = state.batches.get((proof.home, proof.root))
    if batch is None:
        raise UnknownBatch(proof.root)
    record = state.publications.get(identifier)
    if record is not None and (record.role is Role.HOME or record.state is not State.LOCKED):
        return record.role, record.state
    if batch.role is Role.MIRROR and batch.state is State.LOCKED:
        return Role.MIRROR, State.LOCKED
    _check_proof(identifier, proof, batch.count)
    if batch.role is Role.MIRROR and batch.taken >> proof.index & 1:
        return Role.MIRROR, State.NONE if record is None else record.state
    if batch.state is not State.COMMITTED:
        return batch.role, batch.state
    told = any((identifier, lane) in state.pending_revocations for lane in (proof.home, *batch.mirrors))
    if told or (record is not None and record.revoked):
        return batch.role, State.REVOKED
    waiting = state.pending_outcomes.get((identifier, proof.home))
    return batch.role, State.SUPERSEDED if waiting is State.SUPERSEDED else State.COMMITTED


def _check_proof(identifier: PublicationId, proof: BatchProof, count: int) -> None:
    root = multiproof_root(count, [proof.index], [batch_leaf(proof.index, identifier)], proof.siblings)
    if root != proof.root:
        raise WrongRoot(proof.root, root)
