"""Batches on the reference model: one lock, one answer, one decision and one carry for many publications (spec 37)."""

from __future__ import annotations

from typing import Final

from caimi.protocol.brakes import check_running
from caimi.protocol.decision import emit
from caimi.protocol.locking import Reservations, is_locked_here, verify_publisher
from caimi.protocol.publication import AbortReason, Disposition, Role, State
from caimi.protocol.registry_state import BatchRecord, RegistryState
from caimi.types.errors import (
    AlreadyDecided,
    BadBody,
    BadEncoding,
    BadMirrors,
    BatchItem,
    BatchTooLong,
    DeadlineNotPassed,
    EmptyBatch,
    KnownPublication,
    NotHome,
    NotLocked,
    OwnEvents,
    PastDeadline,
    Refusal,
    UnknownBatch,
    WrongAuthority,
    ZeroRoot,
)
from caimi.types.primitives import ZERO32, Bytes32, PublicationId, UnixSeconds
from caimi.types.records import Event, Item, Kind, Lane, Publication
from caimi.wire.digests import batch_leaf
from caimi.wire.functions import decode_body, encode_body
from caimi.wire.merkle import merkle_root

__all__ = [
    "MAX_BATCH",
    "RULES_VERSION",
    "abort_batch",
    "answer_batch",
    "apply_batch_answer",
    "apply_batch_outcome",
    "batch_root",
    "lock_batch",
]

MAX_BATCH: Final = 256
"""Most publications in a batch: as many as one word has bits."""
MAX_REASON: Final = max(AbortReason)
RULES_VERSION: Final = 1
"""Of the registry's rules: equal versions find the same permanent reasons (spec 30 §4)."""


def batch_root(identifiers: tuple[PublicationId, ...]) -> Bytes32:
    """The root of 1 to 256 ids in this order (spec 37 §1).

    Raises:
        EmptyRun: There is no id.
    """
    return merkle_root([batch_leaf(i, identifier) for i, identifier in enumerate(identifiers)])


# --- home


def lock_batch(
    state: RegistryState,
    network: Bytes32,
    publications: tuple[Publication, ...],
    signatures: tuple[bytes, ...],
    *,
    now: UnixSeconds,
) -> Bytes32:
    """Lock all publications as one batch, or none. Returns the root.

    Raises:
        EmptyBatch, BatchTooLong, BadEncoding: By the number of publications and signatures.
        BatchItem: What one of them is refused with, and its index.
        Paused: The registry is.
    """
    if not publications:
        raise EmptyBatch
    if len(publications) > MAX_BATCH:
        raise BatchTooLong(MAX_BATCH, len(publications))
    if len(signatures) != len(publications):
        raise BadEncoding
    identifiers: list[PublicationId] = []
    for index, (publication, signature) in enumerate(zip(publications, signatures, strict=True)):
        try:
            identifiers.append(verify_publisher(network, publication, signature))
        except Refusal as refusal:
            raise BatchItem(index, refusal.code) from refusal
    root = batch_root(tuple(identifiers))
    own = state.config.lane
    if _known(state, own, root):
        return root
    check_running(state)
    taken = _reserve(state, identifiers, publications, now)
    taken.take()
    mirrors = publications[0].mirrors
    deadlines = [p.deadline for p in publications]
    state.batches[own, root] = BatchRecord(
        role=Role.HOME,
        state=State.LOCKED,
        count=len(publications),
        mirrors=mirrors,
        earliest=min(deadlines),
        latest=max(deadlines),
        deposits=sum(p.deposit for p in publications),
        awaited=len(mirrors),
    )
    state.batch_ids[root] = tuple(identifiers)
    body = encode_body(Kind.BATCH_LOCKED, len(publications))
    emit(state, Event(schema=1, kind=Kind.BATCH_LOCKED, destinations=mirrors, subject=root, body=body))
    _meet_batch_answers(state, root)
    return root


def _reserve(
    state: RegistryState,
    identifiers: list[PublicationId],
    publications: tuple[Publication, ...],
    now: UnixSeconds,
) -> Reservations:
    reservations = Reservations(state)
    mirrors = publications[0].mirrors
    for index, (identifier, publication) in enumerate(zip(identifiers, publications, strict=True)):
        try:
            if publication.home != state.config.lane:
                raise NotHome
            if publication.mirrors != mirrors:
                raise BadMirrors
            if is_locked_here(state, identifier, publication) or reservations.holds(identifier, publication):
                raise KnownPublication
            reservations.add(identifier, publication, now)
        except Refusal as refusal:
            raise BatchItem(index, refusal.code) from refusal
    return reservations


def abort_batch(state: RegistryState, root: Bytes32, *, now: UnixSeconds) -> None:
    """Abort at home after the latest deadline; anyone may.

    Raises:
        UnknownBatch, NotLocked, DeadlineNotPassed: In this order.
    """
    batch = state.batches.get((state.config.lane, root))
    if batch is None:
        raise UnknownBatch(root)
    if batch.state is State.ABORTED:
        return
    if batch.state is not State.LOCKED:
        raise NotLocked(batch.state)
    if now <= batch.latest:
        raise DeadlineNotPassed(batch.latest, now)
    _decide(state, root, batch, State.ABORTED, AbortReason.DEADLINE)


def apply_batch_answer(state: RegistryState, source: Lane, item: Item, now: UnixSeconds) -> Disposition:
    """A mirror's BATCH_ANSWERED, at home.

    Raises:
        BadBody, WrongAuthority, AlreadyDecided, PastDeadline: It has no effect, for good.
    """
    version, home = decode_body(Kind.BATCH_ANSWERED, item.event.body)
    if home != state.config.lane:
        raise WrongAuthority
    root = item.event.subject
    batch = state.batches.get((home, root))
    key = (root, source)
    if batch is None:
        state.pending_batch_answers.setdefault(key, version)
        return Disposition.PENDING
    if source not in batch.mirrors:
        raise WrongAuthority
    if key in state.pending_batch_answers:
        return Disposition.IGNORED
    if batch.state is not State.LOCKED:
        raise AlreadyDecided(batch.state)
    if now > batch.earliest:
        raise PastDeadline(batch.earliest, now)
    state.pending_batch_answers[key] = version
    _meet_batch_answers(state, root)
    return Disposition.APPLIED


def _meet_batch_answers(state: RegistryState, root: Bytes32) -> None:
    batch = state.batches[state.config.lane, root]
    answers = [state.pending_batch_answers.get((root, mirror)) for mirror in batch.mirrors]
    batch.awaited = sum(a is None for a in answers)
    if any(a not in (None, RULES_VERSION) for a in answers):
        # Rules of another version might refuse what these found lawful: such a batch is published one by one.
        _decide(state, root, batch, State.ABORTED, AbortReason.MIRROR_REFUSED)
    elif batch.awaited == 0:
        _decide(state, root, batch, State.COMMITTED, AbortReason.NONE)


def _decide(state: RegistryState, root: Bytes32, batch: BatchRecord, outcome: State, reason: AbortReason) -> None:
    batch.state, batch.reason = outcome, reason
    body = encode_body(Kind.BATCH_OUTCOME, outcome, reason, batch.count, batch.taken)
    emit(state, Event(schema=1, kind=Kind.BATCH_OUTCOME, destinations=batch.mirrors, subject=root, body=body))


# --- mirror


def answer_batch(state: RegistryState, home: Lane, root: Bytes32) -> None:
    """Promise, at a mirror, to hold what `home` decides about `root`; anyone may ask for it.

    Raises:
        OwnEvents, Paused, ZeroRoot: In this order.
    """
    if home == state.config.lane:
        raise OwnEvents
    if _known(state, home, root):
        return
    check_running(state)
    if root == ZERO32:
        raise ZeroRoot
    state.batches[home, root] = BatchRecord(role=Role.MIRROR, state=State.LOCKED)
    body = encode_body(Kind.BATCH_ANSWERED, RULES_VERSION, home)
    emit(state, Event(schema=1, kind=Kind.BATCH_ANSWERED, destinations=(home,), subject=root, body=body))


def apply_batch_outcome(state: RegistryState, source: Lane, item: Item) -> Disposition:
    """A home's BATCH_OUTCOME, at a mirror.

    Raises:
        BadBody, AlreadyDecided: It has no effect, for good.
    """
    outcome, reason, count, taken = decode_body(Kind.BATCH_OUTCOME, item.event.body)
    if outcome not in (State.COMMITTED, State.ABORTED) or not 1 <= count <= MAX_BATCH or reason > MAX_REASON:
        raise BadBody
    batch = state.batches.get((source, item.event.subject))
    if batch is not None and batch.state is not State.LOCKED:
        if batch.state == outcome:
            return Disposition.IGNORED
        raise AlreadyDecided(batch.state)
    state.batches[source, item.event.subject] = BatchRecord(
        role=Role.MIRROR,
        state=State(outcome),
        count=count,
        # It goes to all of them.
        mirrors=item.event.destinations,
        taken=taken,
        reason=AbortReason(reason),
    )
    return Disposition.APPLIED


def _known(state: RegistryState, home: Lane, root: Bytes32) -> bool:
    return (home, root) in state.batches
