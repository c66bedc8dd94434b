"""The host's store: requests once, what is settled stays, answers decide by their hash."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence as Several
from pathlib import Path

import pytest

from caimi.ports.crash import NoCrash
from caimi.ports.host_store import AcceptedAnswer, HostStep, Mark, RequestRow, RequestState, SignedAnswer
from caimi.protocol.registry_state import GovernedLane
from caimi.storage.sqlite_database import StoreInUse
from caimi.storage.sqlite_host import SqliteHostStore
from caimi.types.primitives import Address, Bytes32, Generation, Sequence, UnixSeconds
from caimi.types.records import Cid, Lane
from caimi.wire.keccak import keccak256

LANE = Lane(chain=keccak256(b"chain"), registry=keccak256(b"registry"))
OTHER = Lane(chain=keccak256(b"chain"), registry=keccak256(b"other"))


def row(name: str) -> RequestRow:
    return RequestRow(
        id=keccak256(name.encode()),
        lane=LANE,
        publication=keccak256(b"publication"),
        consumer=Address(b"\1" * 20),
        input=Cid(codec=0x70, digest=keccak256(b"input")),
        input_commitment=keccak256(b"commitment"),
        client_key=keccak256(b"client"),
        deadline=UnixSeconds(100),
        seen=UnixSeconds(1),
        height=1,
        state=RequestState.SEEN,
    )


SIGNED = SignedAnswer(
    answer=b"answer",
    answer_signature=b"1",
    receipt=b"receipt",
    receipt_signature=b"2",
    receipt_hash=keccak256(b"receipt"),
    host_key=b"key",
    operator_signature=b"3",
    output=Cid(codec=0x55, digest=keccak256(b"output")),
)


def store(path: Path | None = None) -> SqliteHostStore:
    return SqliteHostStore(":memory:" if path is None else str(path), crash=NoCrash())


def follow(
    host: SqliteHostStore,
    *rows: RequestRow,
    upto: int = 1,
    height: int = 1,
    answered: dict[Bytes32, Bytes32] | None = None,
    decisions: Several[tuple[Lane, GovernedLane]] = (),
) -> None:
    accepted = [
        AcceptedAnswer(request=request, receipt_hash=told, height=height) for request, told in (answered or {}).items()
    ]
    last = mark(upto, height)
    host.follow(HostStep.FOLLOWED, LANE, last, requests=rows, answered=accepted, decisions=decisions)


def mark(sequence: int, height: int) -> Mark:
    return Mark(sequence=Sequence(sequence), height=height, block_hash=keccak256(bytes([height])))


def cursor(host: SqliteHostStore, lane: Lane = LANE) -> int:
    return next((found.sequence for found in host.marks(lane, 1)), 0)


def test_everything_comes_back_after_a_restart(tmp_path: Path) -> None:
    first = store(tmp_path / "host")
    follow(first, row("a"), row("b"), upto=7)
    signed = dataclasses.replace(row("a"), state=RequestState.SENT, signed=SIGNED, sent=UnixSeconds(5))
    first.put(HostStep.SIGNED, signed)
    with pytest.raises(StoreInUse):
        store(tmp_path / "host")
    first.close()
    second = store(tmp_path / "host")
    assert (cursor(second, LANE), cursor(second, OTHER)) == (7, 0)
    assert (second.request(row("a").id), second.request(row("b").id)) == (signed, row("b"))
    assert second.request(keccak256(b"unknown")) is None
    assert second.counts() == {RequestState.SENT: 1, RequestState.SEEN: 1}
    second.close()


def test_requests_come_oldest_first_and_once() -> None:
    host = store()
    follow(host, row("b"), row("a"))
    follow(host, dataclasses.replace(row("b"), seen=UnixSeconds(9)), row("c"), upto=2)
    assert host.requests(RequestState.SEEN, 9) == (row("b"), row("a"), row("c"))
    assert host.requests(RequestState.SEEN, 1) == (row("b"),)
    host.close()


def test_an_accepted_answer_is_ours_by_its_hash() -> None:
    host = store()
    follow(host, row("ours"), row("theirs"), row("open"))
    for name in ("ours", "theirs"):
        host.put(HostStep.SIGNED, dataclasses.replace(row(name), state=RequestState.SIGNED, signed=SIGNED))
    answered = {row("ours").id: SIGNED.receipt_hash, row("theirs").id: keccak256(b"x"), row("open").id: keccak256(b"y")}
    follow(host, upto=2, answered=answered)
    states = {name: host.request(row(name).id) for name in ("ours", "theirs", "open")}
    assert {name: found.state.value for name, found in states.items() if found} == {
        "ours": "answered",
        "theirs": "elsewhere",
        "open": "elsewhere",
    }
    host.close()


@pytest.mark.parametrize("state", [state for state in RequestState if state.is_settled])
def test_what_is_settled_stays(state: RequestState) -> None:
    host = store()
    follow(host, row("a"))
    settled = dataclasses.replace(row("a"), state=state, reason="Reason", text="text")
    host.put(HostStep.REFUSED, settled)
    host.put(HostStep.SENT, dataclasses.replace(row("a"), state=RequestState.SENT))
    follow(host, upto=2, answered={row("a").id: keccak256(b"late")})
    assert host.request(row("a").id) == settled
    host.close()


def test_a_deadline_of_64_bits_is_kept_as_the_latest_there_is() -> None:
    host = store()
    follow(host, dataclasses.replace(row("a"), deadline=UnixSeconds(2**64 - 1)))
    found = host.request(row("a").id)
    assert found is not None
    assert found.deadline == 2**63 - 1
    host.close()


# --- a lane that is resumed


def resumed(height: int, *, version: int = 1, lane: Lane = LANE) -> tuple[Lane, GovernedLane]:
    decided = GovernedLane(
        version=version, generation=Generation(version + 1), height=height, block_hash=keccak256(bytes([height]))
    )
    return lane, decided


def at(name: str, height: int, **changes: object) -> RequestRow:
    return dataclasses.replace(row(name), height=height, **changes)  # type: ignore[arg-type]


def states(host: SqliteHostStore, *names: str) -> list[str | None]:
    found = [host.request(row(name).id) for name in names]
    return [None if one is None else one.state.value for one in found]


def test_a_resumed_lane_is_followed_again_from_the_last_block_kept() -> None:
    host = store()
    for height in range(1, 9):
        follow(host, upto=10 * height, height=height)
    follow(host, upto=85, height=8, decisions=[resumed(5)])
    assert cursor(host, LANE) == 50
    assert host.governed(LANE) == resumed(5)[1]
    assert (cursor(host, OTHER), host.governed(OTHER)) == (0, GovernedLane())
    follow(host, upto=51, height=6, decisions=[resumed(0, version=2)])
    assert cursor(host, LANE) == 0
    host.close()


def test_a_lane_whose_kept_block_is_older_than_the_marks_is_followed_from_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("caimi.storage.sqlite_host._MARKS", 3)
    host = store()
    for height in range(1, 9):
        follow(host, upto=height, height=height)
    follow(host, upto=9, height=9, decisions=[resumed(7)])
    assert cursor(host, LANE) == 7
    follow(host, upto=8, height=8, decisions=[resumed(3, version=2)])
    assert cursor(host, LANE) == 0
    host.close()


def test_marks_are_the_ends_of_pages_newest_first() -> None:
    host = store()
    for height in range(1, 4):
        follow(host, upto=10 * height, height=height)
    assert host.marks(LANE, 9) == (mark(30, 3), mark(20, 2), mark(10, 1))
    assert host.marks(LANE, 2) == (mark(30, 3), mark(20, 2))
    assert host.marks(OTHER, 9) == ()
    host.close()


@pytest.mark.parametrize(("kept", "expected"), [(2, 20), (0, 0), (-1, 0), (9, 30)])
def test_what_a_lane_took_back_is_followed_again(kept: int, expected: int) -> None:
    host = store()
    for height in range(1, 4):
        follow(host, at(f"of {height}", height), upto=10 * height, height=height)
    host.rewind(HostStep.REWOUND, OTHER, -1)
    host.rewind(HostStep.REWOUND, LANE, kept)
    assert cursor(host) == expected
    known = [state is not None for state in states(host, "of 1", "of 2", "of 3")]
    assert known == [height <= kept for height in (1, 2, 3)]
    host.close()


def test_unsigned_requests_above_the_block_kept_are_forgotten_and_signed_ones_are_not() -> None:
    host = store()
    follow(host, at("below", 5), height=5)
    follow(host, at("seen", 6), at("signed", 6), at("elsewhere", 6), at("expired", 6), upto=2, height=6)
    host.put(HostStep.SIGNED, at("signed", 6, state=RequestState.SIGNED, signed=SIGNED))
    host.put(HostStep.EXPIRED, at("expired", 6, state=RequestState.EXPIRED))
    follow(host, upto=3, height=7, answered={row("elsewhere").id: keccak256(b"theirs")})
    follow(host, upto=4, height=8, decisions=[resumed(5)])
    assert states(host, "below", "seen", "signed", "elsewhere", "expired") == ["seen", None, "signed", None, "expired"]
    # The other branch has them elsewhere, and one of them still later.
    follow(host, at("seen", 7), at("signed", 9), upto=2, height=9)
    assert states(host, "seen", "signed") == ["seen", "signed"]
    follow(host, upto=3, height=10, decisions=[resumed(8, version=2)])
    assert states(host, "seen", "signed") == ["seen", "signed"]
    host.close()


def test_what_was_settled_above_the_block_kept_is_open_again() -> None:
    host = store()
    follow(host, at("early", 1), at("ours", 1), at("theirs", 1), at("both", 1))
    for name in ("early", "ours", "both"):
        host.put(HostStep.SIGNED, at(name, 1, state=RequestState.SENT, signed=SIGNED, sent=UnixSeconds(2)))
    follow(host, upto=2, height=2, answered={row("early").id: SIGNED.receipt_hash})
    answered = {row("ours").id: SIGNED.receipt_hash, row("theirs").id: keccak256(b"x"), row("both").id: keccak256(b"y")}
    follow(host, upto=3, height=3, answered=answered)
    names = ("early", "ours", "theirs", "both")
    assert states(host, *names) == ["answered", "answered", "elsewhere", "elsewhere"]
    follow(host, upto=4, height=4, decisions=[resumed(2)])
    assert states(host, *names) == ["answered", "signed", "seen", "signed"]
    follow(host, upto=4, height=4, answered={row("ours").id: SIGNED.receipt_hash})
    assert states(host, "ours") == ["answered"]
    host.close()


def test_rejects_an_older_decision_and_the_same_one_again() -> None:
    host = store()
    for height in range(1, 9):
        follow(host, upto=height, height=height)
    follow(host, upto=9, height=9, decisions=[resumed(7, version=3)])
    follow(host, upto=8, height=8)
    for late in (resumed(1, version=2), resumed(1, version=3)):
        follow(host, upto=9, height=9, decisions=[late])
        assert host.governed(LANE) == resumed(7, version=3)[1]
        assert cursor(host, LANE) == 9
    host.close()


def test_a_dropped_lane_keeps_what_was_followed() -> None:
    host = store()
    follow(host, at("a", 3), upto=3, height=3)
    dropped = dataclasses.replace(resumed(0)[1], dropped=True)
    follow(host, upto=4, height=4, decisions=[(LANE, dropped)])
    assert (host.governed(LANE).dropped, cursor(host, LANE), states(host, "a")) == (True, 4, ["seen"])
    host.close()
