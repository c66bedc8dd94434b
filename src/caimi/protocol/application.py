"""Applying a certified run: total, each event at most once (spec 20 §3)."""

from __future__ import annotations

from caimi.crypto.quorum import verify_certificate
from caimi.protocol.batches import apply_batch_answer, apply_batch_outcome
from caimi.protocol.decision import follow_home, meet_answers, take_revocation
from caimi.protocol.epochs import apply_set_change, apply_set_entered, apply_set_retired, is_passed_over
from caimi.protocol.governance import apply_governance
from caimi.protocol.publication import Disposition, Role, State
from caimi.protocol.registry_state import Applied, RegistryState
from caimi.types.errors import (
    AlreadyDecided,
    BadBody,
    EmptyRun,
    ItemOutOfRun,
    LaneDropped,
    OwnEvents,
    PastDeadline,
    Refusal,
    RunTooLong,
    UnknownPublication,
    WrongAuthority,
    WrongGeneration,
    WrongRoot,
    ZeroRoot,
)
from caimi.types.primitives import ZERO32, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import Certificate, Checkpoint, Item, Kind, Lane
from caimi.wire.digests import leaf_hash
from caimi.wire.functions import decode_body
from caimi.wire.merkle import multiproof_root

__all__ = ["apply_run", "check_run"]


def check_run(checkpoint: Checkpoint, items: tuple[Item, ...], proof: tuple[Bytes32, ...], *, max_run: int) -> None:
    """Check that `items` are events of the certified range.

    Raises:
        ZeroRoot, EmptyRun, RunTooLong, ItemOutOfRun, ProofTooShort, ProofTooLong, WrongRoot: In this order.
    """
    if checkpoint.root == ZERO32:
        raise ZeroRoot
    if checkpoint.first_sequence < 1 or checkpoint.last_sequence < checkpoint.first_sequence or not items:
        raise EmptyRun
    width = checkpoint.last_sequence - checkpoint.first_sequence + 1
    if width > max_run:
        raise RunTooLong(max_run, width)
    before = checkpoint.first_sequence - 1
    for item in items:
        if not before < item.sequence <= checkpoint.last_sequence:
            raise ItemOutOfRun(item.sequence)
        before = item.sequence
    leaves = [leaf_hash(checkpoint.source, item) for item in items]
    indices = [item.sequence - checkpoint.first_sequence for item in items]
    root = multiproof_root(width, indices, leaves, proof)
    if root != checkpoint.root:
        raise WrongRoot(checkpoint.root, root)


def apply_run(
    state: RegistryState,
    network: Bytes32,
    certificate: Certificate,
    items: tuple[Item, ...],
    proof: tuple[Bytes32, ...],
    *,
    now: UnixSeconds,
) -> None:
    """Verify a certified run, then apply every item that concerns this registry and is not marked yet.

    Raises:
        Refusal: WrongEpoch, of `verify_certificate`, OwnEvents, LaneDropped, WrongGeneration, or of `check_run`. Never
            by an item.
    """
    checkpoint = certificate.checkpoint
    signers = state.epochs.accepting(checkpoint.epoch)
    verify_certificate(certificate, network=network, validator_set=signers.validators, epoch=signers.epoch)
    if checkpoint.source == state.config.lane:
        raise OwnEvents
    governed = state.governance_of(checkpoint.source)
    if governed.dropped:
        raise LaneDropped
    generation = governed.generation
    if checkpoint.generation != generation:
        raise WrongGeneration(generation, checkpoint.generation)
    check_run(checkpoint, items, proof, max_run=state.config.max_run)
    for item in items:
        mark = (checkpoint.source, generation, item.sequence)
        event = item.event
        if mark in state.marks or (event.destinations and state.config.lane not in event.destinations):
            continue
        if is_passed_over(state, checkpoint.source, signers.epoch, event):
            continue
        state.marks.add(mark)
        code = 0
        try:
            disposition = _apply_item(state, checkpoint.source, item, now)
        except Refusal as refusal:
            disposition, code = Disposition.REFUSED, refusal.code
        state.applied.append(
            Applied(source=checkpoint.source, sequence=item.sequence, disposition=disposition, code=code)
        )


def _apply_item(state: RegistryState, source: Lane, item: Item, now: UnixSeconds) -> Disposition:
    event = item.event
    if event.schema != 1:
        return Disposition.IGNORED
    match event.kind:
        case Kind.LOCKED:
            role, home = decode_body(Kind.LOCKED, event.body)
            if role != Role.MIRROR:
                return Disposition.IGNORED
            return _apply_answer(state, source, item, home, State.LOCKED, now)
        case Kind.REFUSED:
            _, home = decode_body(Kind.REFUSED, event.body)
            return _apply_answer(state, source, item, home, State.REFUSED, now)
        case Kind.OUTCOME:
            outcome, _ = decode_body(Kind.OUTCOME, event.body)
            if outcome not in (State.COMMITTED, State.ABORTED):
                return Disposition.IGNORED
            return _apply_outcome(state, source, item, State(outcome))
        case Kind.SUPERSEDED:
            decode_body(Kind.SUPERSEDED, event.body)
            return _apply_outcome(state, source, item, State.SUPERSEDED)
        case Kind.ANSWERED:
            return _apply_receipt(state, source, item)
        case Kind.REVOKED:
            return _apply_revocation(state, source, item)
        case Kind.GOVERNANCE:
            return apply_governance(state, source, item)
        case Kind.BATCH_ANSWERED:
            return apply_batch_answer(state, source, item, now)
        case Kind.BATCH_OUTCOME:
            return apply_batch_outcome(state, source, item)
        case Kind.SET_CHANGE:
            return apply_set_change(state, source, item)
        case Kind.SET_RETIRED:
            return apply_set_retired(state, source, item)
        case Kind.SET_ENTERED:
            return apply_set_entered(state, source, item)
        case _:
            return Disposition.IGNORED


def _apply_answer(
    state: RegistryState, source: Lane, item: Item, home: Lane, answer: State, now: UnixSeconds
) -> Disposition:
    # A mirror's LOCKED or REFUSED, at home.
    identifier = PublicationId(item.event.subject)
    if home != state.config.lane:
        raise WrongAuthority
    record = state.publications.get(identifier)
    key = (identifier, source)
    if record is None:
        state.pending_answers.setdefault(key, answer)
        return Disposition.PENDING
    if record.role is not Role.HOME or source not in record.mirrors:
        raise WrongAuthority
    if key in state.pending_answers:
        return Disposition.IGNORED
    if record.state is not State.LOCKED:
        raise AlreadyDecided(record.state)
    if answer is State.LOCKED and now > record.deadline:
        raise PastDeadline(record.deadline, now)
    state.pending_answers[key] = answer
    meet_answers(state, identifier)
    return Disposition.APPLIED


def _apply_outcome(state: RegistryState, source: Lane, item: Item, outcome: State) -> Disposition:
    # A home's OUTCOME or SUPERSEDED, at a mirror.
    identifier = PublicationId(item.event.subject)
    record = state.publications.get(identifier)
    if record is None:
        key = (identifier, source)
        kept = state.pending_outcomes.get(key)
        if kept is None or (kept is State.COMMITTED and outcome is State.SUPERSEDED):
            state.pending_outcomes[key] = outcome
        return Disposition.PENDING
    if record.role is not Role.MIRROR or source != record.home:
        raise WrongAuthority
    return Disposition.APPLIED if follow_home(record, outcome) else Disposition.IGNORED


def _apply_receipt(state: RegistryState, source: Lane, item: Item) -> Disposition:
    # A mirror's ANSWERED, at home.
    request, receipt_hash, _ = decode_body(Kind.ANSWERED, item.event.body)
    if receipt_hash == ZERO32:
        raise BadBody  # no registry emits it: zero is what stands for "not answered"
    identifier = PublicationId(item.event.subject)
    record = state.publications.get(identifier)
    if record is None:
        raise UnknownPublication(identifier)
    if record.role is not Role.HOME or source not in record.mirrors:
        raise WrongAuthority
    if request in state.carried_receipts:
        return Disposition.IGNORED
    state.carried_receipts[request] = receipt_hash
    return Disposition.APPLIED


def _apply_revocation(state: RegistryState, source: Lane, item: Item) -> Disposition:
    # The publisher's signature was given at another registry of the publication, which tells all: here nothing is told.
    _, at = decode_body(Kind.REVOKED, item.event.body)
    if at != source:
        raise WrongAuthority
    identifier = PublicationId(item.event.subject)
    record = state.publications.get(identifier)
    if record is None:
        state.pending_revocations.add((identifier, source))
        return Disposition.PENDING
    if source not in (record.home, *record.mirrors):
        raise WrongAuthority
    if not take_revocation(state, record):
        return Disposition.IGNORED
    return Disposition.APPLIED if record.state is State.REVOKED else Disposition.PENDING
