"""Stores on SQLite: one process at a time, all or nothing, the step after the commit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from caimi.ports.attestation_store import AttestedBlock, IndexedEvent, LaneLife, ValidatorStep
from caimi.ports.crash import NoCrash
from caimi.ports.relay_store import (
    AddCall,
    AddPublication,
    CallRow,
    CallState,
    DropEvents,
    MoveCursor,
    PublicationRow,
    Purpose,
    PutCall,
    RelayStep,
)
from caimi.protocol.publication import State
from caimi.storage.sqlite_attestations import SqliteAttestationStore
from caimi.storage.sqlite_database import Durability, SqliteDatabase, StoreInUse, StoreVersionUnknown
from caimi.storage.sqlite_relay import SqliteRelayStore
from caimi.types.primitives import Bytes32, Generation, PublicationId, Sequence, UnixSeconds
from caimi.types.records import Lane
from caimi.wire.keccak import keccak256

LANE = Lane(chain=keccak256(b"chain"), registry=keccak256(b"registry"))
OTHER = Lane(chain=keccak256(b"other"), registry=keccak256(b"registry"))
LIFE = LaneLife(lane=LANE, generation=Generation(1))


class Told:
    """Crash points that remember, or fail."""

    def __init__(self, *, fail: bool = False) -> None:
        self.steps: list[str] = []
        self.fail = fail

    def reached(self, step: str) -> None:
        self.steps.append(step)
        if self.fail:
            raise KeyboardInterrupt


def _call(key: str, state: CallState = CallState.QUEUED) -> CallRow:
    return CallRow(
        key=key,
        lane=LANE,
        call=b"call",
        purpose=Purpose.OTHER,
        subjects=(keccak256(b"subject"),),
        state=state,
        attempts=0,
        transaction=None,
        height=None,
        refusal=None,
        values="",
        created=UnixSeconds(1),
        updated=UnixSeconds(1),
    )


def test_second_process_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "store.sqlite")
    first = SqliteAttestationStore(path, crash=NoCrash())
    with pytest.raises(StoreInUse):
        SqliteAttestationStore(path, crash=NoCrash())
    first.close()
    SqliteAttestationStore(path, crash=NoCrash()).close()


def test_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "store.sqlite")
    schema = "CREATE TABLE a (b INTEGER)"
    SqliteDatabase(path, schema=schema, version=7, durability=Durability.PROCESS_CRASH, crash=NoCrash()).close()
    with pytest.raises(StoreVersionUnknown, match="found 7, know 2"):
        SqliteRelayStore(path, crash=NoCrash())


def test_what_is_signed_is_forced_to_the_disk(tmp_path: Path) -> None:
    database = SqliteAttestationStore(str(tmp_path / "a.sqlite"), crash=NoCrash())._database
    assert database.row("PRAGMA synchronous") == (2,)
    assert database.row("PRAGMA journal_mode") == ("wal",)
    database.close()


def test_step_is_told_after_the_commit(tmp_path: Path) -> None:
    path, told = str(tmp_path / "store.sqlite"), Told(fail=True)
    store = SqliteRelayStore(path, crash=told)
    with pytest.raises(KeyboardInterrupt):
        store.write(RelayStep.ACCEPTED, AddCall(row=_call("a")))
    store.close()
    assert told.steps == ["relay.accepted"]
    again = SqliteRelayStore(path, crash=NoCrash())
    assert again.call("a") == _call("a")
    again.close()


def test_failed_step_writes_nothing_and_is_not_told() -> None:
    told = Told()
    store = SqliteRelayStore(":memory:", crash=told)
    wrong = PublicationRow(
        id=PublicationId(keccak256(b"p")),
        publication=b"",
        signature=b"",
        home=LANE,
        mirrors=(),
        deadline=None,
        outcome=None,
        accepted=UnixSeconds(2**70),
    )
    with pytest.raises(OverflowError):
        store.write(RelayStep.ACCEPTED, AddCall(row=_call("a")), AddPublication(row=wrong))
    assert store.call("a") is None
    assert told.steps == []
    store.write(RelayStep.ACCEPTED)
    assert told.steps == [], "nothing was written"
    store.close()


def test_same_key_is_one_call() -> None:
    store = SqliteRelayStore(":memory:", crash=NoCrash())
    store.write(RelayStep.ACCEPTED, AddCall(row=_call("a")))
    store.write(RelayStep.DONE, PutCall(row=_call("a", CallState.DONE)))
    store.write(RelayStep.ACCEPTED, AddCall(row=_call("a")))
    assert store.calls_about(keccak256(b"subject")) == (_call("a", CallState.DONE),)
    assert store.call_counts(LANE) == {CallState.DONE: 1}
    store.close()


def test_publication_keeps_what_is_known_and_learns_the_rest() -> None:
    store = SqliteRelayStore(":memory:", crash=NoCrash())

    def row(**fields: object) -> PublicationRow:
        given: dict[str, object] = {"publication": None, "signature": None, "deadline": None, "outcome": None, **fields}
        return PublicationRow(
            id=PublicationId(keccak256(b"p")),
            home=LANE,
            mirrors=(OTHER,),
            accepted=UnixSeconds(5),
            **given,  # pyright: ignore[reportArgumentType]
        )

    store.write(RelayStep.FOLLOWED, AddPublication(row=row()))
    store.write(RelayStep.ACCEPTED, AddPublication(row=row(publication=b"p", signature=b"s", deadline=9)))
    store.write(RelayStep.FOLLOWED, AddPublication(row=row(outcome=State.COMMITTED)))
    store.write(RelayStep.FOLLOWED, AddPublication(row=row(publication=b"x", deadline=1, outcome=None)))
    known = store.publication(PublicationId(keccak256(b"p")))
    assert known == row(publication=b"p", signature=b"s", deadline=9, outcome=State.COMMITTED)
    assert store.undecided(LANE) == ()
    store.close()


def test_dropped_events_move_their_cursors_back() -> None:
    store = SqliteRelayStore(":memory:", crash=NoCrash())
    for source, destination, at in ((LANE, OTHER, 7), (LANE, LANE, 2), (OTHER, LANE, 9)):
        move = MoveCursor(source=source, destination=destination, sequence=Sequence(at))
        store.write(RelayStep.PASSED, move)
    store.write(RelayStep.REWOUND, DropEvents(lane=LANE, first=Sequence(4)))
    assert [store.cursor(LANE, OTHER), store.cursor(LANE, LANE), store.cursor(OTHER, LANE)] == [3, 2, 9]
    store.close()


def test_cursors_are_kept_by_pair() -> None:
    store = SqliteRelayStore(":memory:", crash=NoCrash())
    store.write(RelayStep.PASSED, MoveCursor(source=LANE, destination=OTHER, sequence=Sequence(7)))
    assert (store.cursor(LANE, OTHER), store.cursor(OTHER, LANE)) == (7, 0)
    store.close()


def test_index_is_never_overwritten_but_dropped_as_a_whole() -> None:
    store = SqliteAttestationStore(":memory:", crash=NoCrash())
    event = IndexedEvent(sequence=Sequence(1), leaf=keccak256(b"1"), height=1, block_hash=keccak256(b"b"))
    store.append(ValidatorStep.INDEXED, LIFE, [event])
    with pytest.raises(Exception, match="UNIQUE"):
        store.append(ValidatorStep.INDEXED, LIFE, [event])
    store.attest(
        ValidatorStep.ATTESTED, LIFE, {event.sequence: event.leaf}, AttestedBlock(height=1, block_hash=keccak256(b"b"))
    )
    store.rewind(ValidatorStep.REWOUND, LIFE)
    assert store.tail(LIFE) is None
    assert store.attested_leaves(LIFE, Sequence(1), Sequence(1)) == {1: keccak256(b"1")}
    store.close()


def test_record_of_what_was_signed_never_changes() -> None:
    store = SqliteAttestationStore(":memory:", crash=NoCrash())
    for word in (b"first", b"second"):
        block = AttestedBlock(height=3, block_hash=Bytes32(keccak256(word)))
        store.attest(ValidatorStep.ATTESTED, LIFE, {Sequence(1): keccak256(word)}, block)
        store.halt(ValidatorStep.HALTED, LIFE, word.decode())
    assert store.attested_leaves(LIFE, Sequence(1), Sequence(1)) == {1: keccak256(b"first")}
    assert store.attested_hash(LIFE, 3) == keccak256(b"first")
    assert store.halt_cause(LIFE) == "first"
    other = LaneLife(lane=LANE, generation=Generation(2))
    assert (store.halt_cause(other), store.highest_attested(other)) == (None, None)
    store.close()


# --- workflows


def _moved(key: str, state: CallState, updated: int, *, refusal: str | None = None) -> CallRow:
    return dataclasses.replace(
        _call(key, state), created=UnixSeconds(10), updated=UnixSeconds(updated), refusal=refusal
    )


@pytest.mark.parametrize(
    ("state", "refusal", "progressed"),
    [
        (CallState.QUEUED, None, 20),
        (CallState.QUEUED, "LowBalance", 10),
        (CallState.UNCERTIFIED, "WrongEpoch", 10),
        (CallState.BOUND, "LowBalance", 10),
        (CallState.BOUND, None, 20),
        (CallState.DONE, "LowBalance", 20),
        (CallState.ELSEWHERE, "LowBalance", 20),
    ],
)
def test_a_failed_attempt_is_no_progress(state: CallState, refusal: str | None, progressed: int) -> None:
    store = SqliteRelayStore(":memory:", crash=NoCrash())
    store.write(RelayStep.ACCEPTED, AddCall(row=_moved("a", state, 20, refusal=refusal)))
    found = store.workflow(keccak256(b"subject"))
    assert found is not None
    assert (found.since, found.progressed, found.is_publication) == (10, progressed, False)
    assert store.workflow(keccak256(b"nobody")) is None
    store.close()


@pytest.mark.parametrize("state", list(CallState))
def test_what_live_calls_serve_is_open_and_on_the_way(state: CallState) -> None:
    store = SqliteRelayStore(":memory:", crash=NoCrash())
    store.write(RelayStep.CARRIED, AddCall(row=_moved("carry/a/b/1-2", state, 20)))
    is_live = state in (CallState.QUEUED, CallState.UNCERTIFIED, CallState.BOUND, CallState.ELSEWHERE)
    assert store.open_subjects(LANE, 10) == ((keccak256(b"subject"),) if is_live else ())
    assert store.open_subjects(OTHER, 10) == ()
    assert store.on_the_way(LANE, "carry/a/b/") == ((1, 10) if is_live else (0, None))
    assert store.on_the_way(LANE, "carry/a/c/") == (0, None)
    store.close()


def test_open_subjects_are_bounded_and_undecided_publications_are_among_them() -> None:
    store = SqliteRelayStore(":memory:", crash=NoCrash())
    for number in range(5):
        row = PublicationRow(
            id=PublicationId(keccak256(bytes([number]))),
            publication=None,
            signature=None,
            home=LANE,
            mirrors=(OTHER,),
            deadline=None,
            outcome=State.ABORTED if number == 1 else None,
            accepted=UnixSeconds(number),
        )
        store.write(RelayStep.FOLLOWED, AddPublication(row=row))
    expected = {keccak256(bytes([number])) for number in (0, 2, 3)}
    assert set(store.open_subjects(LANE, 3)) == expected
    found = store.workflow(keccak256(bytes([3])))
    assert found is not None and (found.is_publication, found.since, found.progressed) == (True, 3, 3)
    store.close()


def test_a_file_without_the_indexes_gets_them_and_keeps_what_it_holds(tmp_path: Path) -> None:
    path = str(tmp_path / "store.sqlite")
    store = SqliteRelayStore(path, crash=NoCrash())
    store.write(RelayStep.ACCEPTED, AddCall(row=_call("a")))
    store._database.row("DROP INDEX calls_requests")
    store.close()
    again = SqliteRelayStore(path, crash=NoCrash())
    names = {row[0] for row in again._database.rows("SELECT name FROM sqlite_schema WHERE type = 'index'")}
    assert "calls_requests" in names and again.call("a") == _call("a")
    again.close()
