"""The auditor finds every planted fault in what ledgers say of batches."""

from __future__ import annotations

import dataclasses

import pytest

from caimi.protocol.audit import AccountHistory, Completeness, LaneHistory, RecordHistory, audit
from caimi.protocol.audit_batches import BatchHistory
from caimi.protocol.publication import AbortReason, Role, State
from caimi.types.primitives import Address, Bytes32, PublicationId, Sequence
from caimi.types.records import Event, Item, Kind, Lane
from caimi.wire.functions import encode_body

HOME = Lane(chain=Bytes32(b"\x01" * 32), registry=Bytes32(b"\x02" * 32))
MIRROR = Lane(chain=Bytes32(b"\x03" * 32), registry=Bytes32(b"\x04" * 32))
PUBLISHER = Address(b"\x05" * 20)
ROOT = Bytes32(b"\x06" * 32)
IDS = tuple(PublicationId(Bytes32(bytes([n]) * 32)) for n in (7, 8))
KEY = (HOME, ROOT)


def event(kind: Kind, *values: object, subject: Bytes32 = ROOT) -> Event:
    return Event(schema=1, kind=kind, destinations=(), subject=subject, body=encode_body(kind, *values))


def numbered(*events: Event) -> tuple[Item, ...]:
    return tuple(Item(sequence=Sequence(n), event=e) for n, e in enumerate(events, start=1))


LOCKED = event(Kind.BATCH_LOCKED, 2)
ANSWERED = event(Kind.BATCH_ANSWERED, 1, HOME)


def outcome(state: State, taken: int = 0) -> Event:
    return event(Kind.BATCH_OUTCOME, state, AbortReason.NONE, 2, taken)


def histories(state: State = State.COMMITTED, taken: int = 0) -> tuple[LaneHistory, LaneHistory]:
    """A batch of two that the mirror has answered and home decides."""
    batch = BatchHistory(
        role=Role.HOME, state=state, taken=taken, mirrors=(MIRROR,), ids=IDS, deposits=20, held={PUBLISHER: 20}
    )
    events = (LOCKED,) if state is State.LOCKED else (LOCKED, outcome(state, taken))
    home = LaneHistory(
        name="home",
        lane=HOME,
        items=numbered(*events),
        records={},
        accounts={PUBLISHER: AccountHistory(funded=100, withdrawn=0, balance=80)},
        batches={KEY: batch},
    )
    there = dataclasses.replace(batch, role=Role.MIRROR, mirrors=(), ids=(), deposits=0, held={})
    mirror = LaneHistory(
        name="mirror", lane=MIRROR, items=numbered(ANSWERED), records={}, accounts={}, batches={KEY: there}
    )
    return home, mirror


def with_batch(history: LaneHistory, **changes: object) -> LaneHistory:
    batch = dataclasses.replace(history.batches[KEY], **changes)  # pyright: ignore[reportArgumentType]
    return dataclasses.replace(history, batches={KEY: batch})


def with_record(history: LaneHistory, role: Role, state: State, *, deposit: int = 0) -> LaneHistory:
    record = RecordHistory(role=role, state=state, publisher=PUBLISHER, home=HOME, mirrors=(MIRROR,), deposit=deposit)
    return dataclasses.replace(history, records={IDS[0]: record})


def rules(*found: LaneHistory, finished: bool = False) -> set[str]:
    done = Completeness(frozenset({HOME, MIRROR})) if finished else None
    return {f.rule for f in audit(found, finished=done)}


@pytest.mark.parametrize("state", [State.COMMITTED, State.ABORTED, State.LOCKED])
def test_sound_history(state: State) -> None:
    assert rules(*histories(state)) == set()


def test_sound_history_of_one_that_was_taken_out() -> None:
    home, mirror = histories()
    home = with_record(with_batch(home, deposits=10, held={PUBLISHER: 10}), Role.HOME, State.COMMITTED, deposit=10)
    assert rules(home, with_record(mirror, Role.MIRROR, State.COMMITTED), finished=True) == set()


def test_sound_history_of_one_that_was_aborted_alone() -> None:
    home, mirror = histories(taken=0b01)
    home = with_record(with_batch(home, deposits=10, held={PUBLISHER: 10}), Role.HOME, State.ABORTED)
    alone = event(Kind.OUTCOME, State.ABORTED, AbortReason.DEADLINE, subject=Bytes32(IDS[0]))
    home = dataclasses.replace(
        home,
        items=numbered(LOCKED, alone, outcome(State.COMMITTED, 0b01)),
        accounts={PUBLISHER: AccountHistory(funded=100, withdrawn=0, balance=90)},
    )
    assert rules(home, mirror) == set()


def test_finds_a_batch_that_is_split() -> None:
    home, mirror = histories()
    assert "split" in rules(home, with_batch(mirror, state=State.ABORTED))


def test_finds_an_id_that_is_split_from_its_batch() -> None:
    home, mirror = histories()
    assert "split" in rules(home, with_record(mirror, Role.MIRROR, State.ABORTED))


def test_finds_an_id_that_home_decided_alone_and_in_its_batch() -> None:
    home, mirror = histories()
    alone = event(Kind.OUTCOME, State.ABORTED, AbortReason.DEADLINE, subject=Bytes32(IDS[1]))
    twice = dataclasses.replace(home, items=numbered(LOCKED, alone, outcome(State.COMMITTED)))
    assert "decided-twice" in rules(twice, mirror)


def test_finds_a_batch_that_is_decided_or_answered_twice() -> None:
    home, mirror = histories()
    twice = dataclasses.replace(home, items=numbered(LOCKED, outcome(State.COMMITTED), outcome(State.COMMITTED)))
    assert rules(twice, mirror) == {"decided-twice"}
    assert rules(home, dataclasses.replace(mirror, items=numbered(ANSWERED, ANSWERED))) == {"answered-twice"}


def test_finds_a_mirror_that_decides() -> None:
    home, mirror = histories()
    deciding = dataclasses.replace(mirror, items=numbered(ANSWERED, outcome(State.COMMITTED)))
    assert rules(home, deciding) == {"foreign-decision"}


@pytest.mark.parametrize("deposits", [0, 30])
def test_finds_money_that_is_missing_or_held_twice(deposits: int) -> None:
    home, mirror = histories()
    assert rules(with_batch(home, deposits=deposits, held={PUBLISHER: deposits}), mirror) - {"deposit"} == {"money"}


def test_finds_missing_money_though_the_owners_of_deposits_are_not_known() -> None:
    home, mirror = histories()
    assert rules(with_batch(home, held={}), mirror) == set()
    assert rules(with_batch(home, held={}, deposits=15), mirror) == {"money"}


def test_finds_deposits_that_belong_to_nobody() -> None:
    home, mirror = histories()
    record = RecordHistory(
        role=Role.HOME, state=State.COMMITTED, publisher=PUBLISHER, home=HOME, mirrors=(MIRROR,), deposit=1
    )
    both = dataclasses.replace(home, records=dict.fromkeys(IDS, record))
    assert "deposit" in rules(both, mirror)


def test_finds_what_did_not_reach_its_end() -> None:
    home, mirror = histories(State.LOCKED)
    assert rules(home, mirror, finished=True) == {"unfinished"}
    home, mirror = histories(State.ABORTED)
    assert rules(home, mirror, finished=True) == {"unfinished"}, "the deposits are not back"
    home, mirror = histories()
    assert rules(home, with_batch(mirror, state=State.LOCKED), finished=True) == {"unfinished"}


def test_finds_a_commit_that_no_mirror_answered() -> None:
    home, mirror = histories()
    home = with_record(with_batch(home, deposits=10, held={PUBLISHER: 10}), Role.HOME, State.COMMITTED, deposit=10)
    assert "uncaused-commit" in rules(home, dataclasses.replace(mirror, items=(), batches={}))
