"""The host's store: requests once, what is settled stays, answers decide by their hash."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from caimi.ports.crash import NoCrash
from caimi.ports.host_store import HostStep, RequestRow, RequestState, SignedAnswer
from caimi.storage.sqlite_database import StoreInUse
from caimi.storage.sqlite_host import SqliteHostStore
from caimi.types.primitives import Address, Bytes32, Sequence, UnixSeconds
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
    host: SqliteHostStore, *rows: RequestRow, upto: int = 1, answered: dict[Bytes32, Bytes32] | None = None
) -> None:
    host.follow(HostStep.FOLLOWED, LANE, Sequence(upto), requests=rows, answered=answered or {})


def test_everything_comes_back_after_a_restart(tmp_path: Path) -> None:
    first = store(tmp_path / "host")
    follow(first, row("a"), row("b"), upto=7)
    signed = dataclasses.replace(row("a"), state=RequestState.SENT, signed=SIGNED, sent=UnixSeconds(5))
    first.put(HostStep.SIGNED, signed)
    with pytest.raises(StoreInUse):
        store(tmp_path / "host")
    first.close()
    second = store(tmp_path / "host")
    assert (second.cursor(LANE), second.cursor(OTHER)) == (7, 0)
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
