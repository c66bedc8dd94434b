"""How home decides and what a decision moves (spec 30 §2)."""

from __future__ import annotations

from contextlib import suppress

from caimi.protocol.publication import AbortReason, Input, Role, State, step
from caimi.protocol.registry_state import PublicationRecord, RegistryState
from caimi.types.errors import AlreadyDecided
from caimi.types.primitives import PublicationId, Sequence
from caimi.types.records import Event, Item, Kind
from caimi.wire.functions import encode_body

__all__ = [
    "abort_home",
    "advance",
    "emit",
    "follow_home",
    "meet_answers",
    "meet_outcome",
    "meet_revocations",
    "settle_abort",
    "settle_commit",
    "take_revocation",
]

_OUTCOME_INPUT = {
    State.COMMITTED: Input.HOME_COMMITTED,
    State.ABORTED: Input.HOME_ABORTED,
    State.SUPERSEDED: Input.HOME_SUPERSEDED,
}


def emit(state: RegistryState, event: Event) -> None:
    """Give an event the registry's next sequence number."""
    state.events.append(Item(sequence=Sequence(len(state.events) + 1), event=event))


def advance(record: PublicationRecord, happened: Input) -> None:
    """Take the transition of the table.

    Raises:
        AlreadyDecided: There is none.
    """
    following = step(record.role, record.state, happened)
    if following is None:
        raise AlreadyDecided(record.state)
    record.state = following


def abort_home(state: RegistryState, identifier: PublicationId, happened: Input, reason: AbortReason) -> None:
    """Home aborts: deposit back, outcome to the mirrors."""
    record = state.publications[identifier]
    settle_abort(state, record, happened, reason)
    body = encode_body(Kind.OUTCOME, State.ABORTED, reason)
    emit(state, Event(schema=1, kind=Kind.OUTCOME, destinations=record.mirrors, subject=identifier, body=body))


def settle_abort(state: RegistryState, record: PublicationRecord, happened: Input, reason: AbortReason) -> None:
    """ABORTED at home, deposit back; its batch, or the caller, tells it."""
    advance(record, happened)
    record.reason = reason
    _give_back(state, record)


def settle_commit(state: RegistryState, identifier: PublicationId) -> None:
    """COMMITTED at home: versions meet, a revocation that waited takes effect; its batch, or the caller, tells it."""
    record = state.publications[identifier]
    advance(record, Input.ALL_LOCKED)
    _meet_rival(state, identifier)
    if record.revoked:
        _revoke(state, record)


def meet_answers(state: RegistryState, identifier: PublicationId) -> None:
    """Let the mirrors' answers known so far decide a LOCKED publication at home."""
    record = state.publications[identifier]
    answers = [state.pending_answers.get((identifier, mirror)) for mirror in record.mirrors]
    record.awaited = sum(a is None for a in answers)
    if State.REFUSED in answers:
        abort_home(state, identifier, Input.MIRROR_REFUSED, AbortReason.MIRROR_REFUSED)
    elif record.awaited == 0:
        _commit_home(state, identifier)


def meet_outcome(state: RegistryState, identifier: PublicationId) -> None:
    """Let an outcome that came before this mirror's lock take effect."""
    record = state.publications[identifier]
    outcome = state.pending_outcomes.pop((identifier, record.home), None)
    if outcome is not None:
        # A home that commits what this mirror refuses has more than f bad validators behind it: the refusal stands.
        with suppress(AlreadyDecided):
            follow_home(record, outcome)


def follow_home(record: PublicationRecord, outcome: State) -> bool:
    """A mirror follows its home, and what waited for COMMITTED takes effect; False if it was there already.

    Raises:
        AlreadyDecided: The table has no such transition.
    """
    if record.role is not Role.MIRROR:
        raise AlreadyDecided(record.state)
    committed = outcome in (State.COMMITTED, State.SUPERSEDED)
    if record.state is outcome or (committed and record.state in (State.SUPERSEDED, State.REVOKED)):
        return False
    advance(record, _OUTCOME_INPUT[outcome])
    if committed and record.revoked:
        advance(record, Input.REVOKED)
    return True


def take_revocation(state: RegistryState, record: PublicationRecord) -> bool:
    """A publisher's revocation: at once, or while LOCKED together with COMMITTED. False if it was known.

    Raises:
        AlreadyDecided: ABORTED or REFUSED here: there is nothing to take back.
    """
    if record.state in (State.ABORTED, State.REFUSED):
        raise AlreadyDecided(record.state)
    if record.revoked:
        return False
    record.revoked = True
    if record.state is not State.LOCKED:
        _revoke(state, record)
    return True


def meet_revocations(state: RegistryState, identifier: PublicationId) -> None:
    """Let revocations that came before the lock here wait with it for the outcome."""
    record = state.publications[identifier]
    lanes = (record.home, *record.mirrors)
    record.revoked = any((identifier, lane) in state.pending_revocations for lane in lanes)


def _revoke(state: RegistryState, record: PublicationRecord) -> None:
    advance(record, Input.REVOKED)
    _give_back(state, record)


def _give_back(state: RegistryState, record: PublicationRecord) -> None:
    state.credit(record.publisher, record.deposit)
    record.deposit = 0


def _commit_home(state: RegistryState, identifier: PublicationId) -> None:
    mirrors = state.publications[identifier].mirrors
    body = encode_body(Kind.OUTCOME, State.COMMITTED, AbortReason.NONE)
    emit(state, Event(schema=1, kind=Kind.OUTCOME, destinations=mirrors, subject=identifier, body=body))
    settle_commit(state, identifier)


def _meet_rival(state: RegistryState, identifier: PublicationId) -> None:
    # A REVOKED version stays the latest of its name: a lower one that is committed after it is superseded all the same.
    record = state.publications[identifier]
    name = (record.publisher, record.name)
    latest = state.latest.get(name)
    if latest is None:
        state.latest[name] = identifier
        return
    rival = state.publications[latest]
    if rival.version > record.version:
        _supersede(state, identifier, rival.version)
        return
    state.latest[name] = identifier
    if rival.state is State.COMMITTED:
        _supersede(state, latest, record.version)


def _supersede(state: RegistryState, identifier: PublicationId, by_version: int) -> None:
    record = state.publications[identifier]
    advance(record, Input.HIGHER_VERSION)
    _give_back(state, record)
    body = encode_body(Kind.SUPERSEDED, by_version)
    emit(state, Event(schema=1, kind=Kind.SUPERSEDED, destinations=record.mirrors, subject=identifier, body=body))
