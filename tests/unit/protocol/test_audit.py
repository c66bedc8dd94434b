"""The auditor finds every planted fault, and nothing in a sound history."""

from __future__ import annotations

import dataclasses

import pytest

from caimi.protocol.audit import AccountHistory, Completeness, LaneHistory, RecordHistory, audit
from caimi.protocol.publication import AbortReason, Role, State
from caimi.types.primitives import Address, Bytes32, PublicationId, Sequence
from caimi.types.records import Cid, Event, Item, Kind, Lane
from caimi.wire.functions import encode_body

PUBLISHER = Address(b"\x01" * 20)
ID = PublicationId(Bytes32(b"\x07" * 32))
HOME = Lane(chain=Bytes32(b"\x0a" * 32), registry=Bytes32(b"\x0b" * 32))
MIRROR = Lane(chain=Bytes32(b"\x0c" * 32), registry=Bytes32(b"\x0d" * 32))
LOCKED = encode_body(Kind.LOCKED, Role.HOME, HOME)


def event(kind: Kind, body: bytes) -> Event:
    return Event(schema=1, kind=kind, destinations=(), subject=ID, body=body)


def numbered(*events: Event) -> tuple[Item, ...]:
    return tuple(Item(sequence=Sequence(n), event=e) for n, e in enumerate(events, start=1))


def histories(state: State = State.COMMITTED) -> tuple[LaneHistory, LaneHistory]:
    """A publication that both ledgers lock and home decides."""
    deposit = 10 if state in (State.COMMITTED, State.LOCKED) else 0
    outcome = event(Kind.OUTCOME, encode_body(Kind.OUTCOME, state, AbortReason.NONE))
    lock = event(Kind.LOCKED, LOCKED)
    record = RecordHistory(
        role=Role.HOME, state=state, publisher=PUBLISHER, home=HOME, mirrors=(MIRROR,), deposit=deposit
    )
    home = LaneHistory(
        name="home",
        lane=HOME,
        items=numbered(lock) if state is State.LOCKED else numbered(lock, outcome),
        records={ID: record},
        accounts={PUBLISHER: AccountHistory(funded=100, withdrawn=20, balance=80 - deposit)},
    )
    mirror = LaneHistory(
        name="mirror",
        lane=MIRROR,
        items=numbered(lock),
        records={ID: dataclasses.replace(record, role=Role.MIRROR, deposit=0)},
        accounts={},
    )
    return home, mirror


def with_record(history: LaneHistory, **changes: object) -> LaneHistory:
    return dataclasses.replace(history, records={ID: dataclasses.replace(history.records[ID], **changes)})  # pyright: ignore[reportArgumentType]


def rules(*found: LaneHistory, finished: bool = False) -> set[str]:
    done = Completeness(frozenset({HOME, MIRROR})) if finished else None
    return {f.rule for f in audit(found, finished=done)}


@pytest.mark.parametrize("state", [State.COMMITTED, State.ABORTED, State.LOCKED])
def test_sound_history(state: State) -> None:
    assert rules(*histories(state)) == set()


@pytest.mark.parametrize("wrong", [State.ABORTED, State.REFUSED])
def test_finds_planted_split(wrong: State) -> None:
    home, mirror = histories()
    assert rules(home, with_record(mirror, state=wrong)) == {"split"}


def test_finds_planted_double_refund() -> None:
    home, mirror = histories(State.ABORTED)
    twice = {PUBLISHER: AccountHistory(funded=100, withdrawn=20, balance=90)}
    assert rules(dataclasses.replace(home, accounts=twice), mirror) == {"money"}


def test_finds_lost_deposit() -> None:
    home, mirror = histories(State.ABORTED)
    lost = {PUBLISHER: AccountHistory(funded=100, withdrawn=20, balance=70)}
    assert rules(dataclasses.replace(home, accounts=lost), mirror) == {"money"}


@pytest.mark.parametrize(("state", "deposit"), [(State.ABORTED, 10), (State.SUPERSEDED, 10), (State.COMMITTED, 0)])
def test_finds_deposit_in_the_wrong_state(state: State, deposit: int) -> None:
    home, mirror = histories(state)
    assert "deposit" in rules(with_record(home, deposit=deposit), mirror)


def test_finds_deposit_on_a_mirror() -> None:
    home, mirror = histories()
    assert rules(home, with_record(mirror, deposit=1)) == {"deposit"}


def test_finds_commit_that_the_mirror_never_locked() -> None:
    home, mirror = histories()
    assert rules(home, dataclasses.replace(mirror, items=())) == {"uncaused-commit"}


def test_finds_mirror_that_committed_alone() -> None:
    home, mirror = histories(State.LOCKED)
    assert rules(home, with_record(mirror, state=State.COMMITTED)) == {"uncaused-commit"}


def test_finds_second_decision() -> None:
    home, mirror = histories()
    again = numbered(*(i.event for i in home.items), home.items[-1].event)
    assert rules(dataclasses.replace(home, items=again), mirror) == {"decided-twice"}


def test_finds_decision_of_a_mirror() -> None:
    home, mirror = histories()
    both = numbered(*(i.event for i in mirror.items), home.items[-1].event)
    assert rules(home, dataclasses.replace(mirror, items=both)) == {"foreign-decision"}


REVOKED = event(Kind.REVOKED, encode_body(Kind.REVOKED, 7, MIRROR))


def revoked(*told: Event) -> tuple[LaneHistory, LaneHistory]:
    """Both ledgers say REVOKED; the mirror told `told`."""
    home, mirror = histories()
    nothing_held = {PUBLISHER: AccountHistory(funded=100, withdrawn=20, balance=80)}
    home = dataclasses.replace(with_record(home, state=State.REVOKED, deposit=0), accounts=nothing_held)
    mirror = dataclasses.replace(mirror, items=numbered(mirror.items[0].event, *told))
    return home, with_record(mirror, state=State.REVOKED)


def test_sound_revocation() -> None:
    assert rules(*revoked(REVOKED), finished=True) == set()


def test_finds_revocation_that_nobody_told() -> None:
    assert rules(*revoked()) == {"revoked-untold"}


def test_a_registry_that_is_not_shown_may_have_told_it() -> None:
    assert rules(revoked()[0]) == set()


def test_finds_revocation_told_twice() -> None:
    assert rules(*revoked(REVOKED, REVOKED)) == {"revoked-twice"}


def test_finds_deposit_of_what_is_revoked() -> None:
    home, mirror = revoked(REVOKED)
    assert "deposit" in rules(with_record(home, deposit=10), mirror)


@pytest.mark.parametrize("wrong", [State.ABORTED, State.REFUSED])
def test_finds_split_of_what_is_revoked(wrong: State) -> None:
    home, mirror = revoked(REVOKED)
    assert rules(home, with_record(mirror, state=wrong)) == {"split"}


@pytest.mark.parametrize("late", [State.COMMITTED, State.SUPERSEDED])
def test_finds_revocation_that_never_arrived(late: State) -> None:
    home, mirror = revoked(REVOKED)
    assert rules(home, with_record(mirror, state=late)) == set()
    assert rules(home, with_record(mirror, state=late), finished=True) == {"unfinished"}


def test_finds_second_answer_of_a_mirror() -> None:
    home, mirror = histories()
    both = numbered(mirror.items[0].event, event(Kind.REFUSED, encode_body(Kind.REFUSED, 404, HOME)))
    assert rules(home, dataclasses.replace(mirror, items=both)) == {"answered-twice"}


REQUEST = Bytes32(b"\x01" * 32)
CID = Cid(codec=0x55, digest=Bytes32(b"\x05" * 32))
ASKED = event(
    Kind.REQUESTED,
    encode_body(Kind.REQUESTED, REQUEST, PUBLISHER, CID, Bytes32(b"\x02" * 32), Bytes32(b"\x03" * 32), 1_800_000_000),
)
ANSWERED = event(Kind.ANSWERED, encode_body(Kind.ANSWERED, REQUEST, Bytes32(b"\x04" * 32), CID))


def with_inference(*events: Event, state: State = State.COMMITTED) -> set[str]:
    """Rules that these events of the mirror break, behind its lock."""
    home, mirror = histories(state)
    return rules(home, dataclasses.replace(mirror, items=numbered(mirror.items[0].event, *events)))


def test_one_request_and_one_answer_are_sound() -> None:
    assert with_inference(ASKED) == set()
    assert with_inference(ASKED, ANSWERED) == set()
    assert with_inference(ASKED, ANSWERED, state=State.SUPERSEDED) == set()


def test_finds_request_answered_twice() -> None:
    assert with_inference(ASKED, ANSWERED, ANSWERED) == {"answered-twice"}


def test_finds_answer_that_nobody_asked_for() -> None:
    assert with_inference(ANSWERED) == {"answered-unasked"}
    assert with_inference(ANSWERED, ASKED) == {"answered-unasked"}


def test_finds_answer_at_another_registry_than_the_one_that_was_asked() -> None:
    home, mirror = histories()
    asked = numbered(*(i.event for i in home.items), ASKED)
    answered = numbered(mirror.items[0].event, ANSWERED)
    found = rules(dataclasses.replace(home, items=asked), dataclasses.replace(mirror, items=answered))
    assert found == {"answered-unasked"}


def test_finds_answer_about_another_publication() -> None:
    other = dataclasses.replace(ANSWERED, subject=Bytes32(b"\x09" * 32))
    assert with_inference(ASKED, other) == {"answered-unasked"}


def test_finds_request_taken_twice() -> None:
    assert with_inference(ASKED, ASKED) == {"asked-twice"}


@pytest.mark.parametrize("state", [State.LOCKED, State.ABORTED])
def test_finds_request_of_what_is_not_committed(state: State) -> None:
    assert with_inference(ASKED, state=state) == {"asked-uncommitted"}


def test_finds_request_of_what_the_registry_does_not_know() -> None:
    assert with_inference(dataclasses.replace(ASKED, subject=Bytes32(b"\x09" * 32))) == {"asked-uncommitted"}


def test_finds_gap() -> None:
    home, mirror = histories()
    assert rules(dataclasses.replace(home, items=home.items[1:]), mirror) == {"gap"}


def test_finds_what_never_ended() -> None:
    home, mirror = histories(State.LOCKED)
    assert rules(home, mirror, finished=True) == {"unfinished"}
    assert rules(*histories(State.COMMITTED), finished=True) == set()


def test_mirror_whose_home_never_saw_it_is_not_late() -> None:
    _, mirror = histories(State.LOCKED)
    home = LaneHistory(name="home", lane=HOME, items=(), records={}, accounts={})
    assert rules(home, mirror, finished=True) == set()
