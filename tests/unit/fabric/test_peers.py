"""Several peers as one port: which is asked after one did not answer, and what a refusal does not change."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from caimi.chains.fabric.peers import FabricPeers, PeerPort
from caimi.ports.call_errors import CallRejected
from caimi.ports.chain import ChainUnavailable, NotIncluded, PreparedCall, StatusUnknown
from caimi.types.errors import CaimiError
from caimi.types.primitives import Bytes32, PublicationId, Sequence

_ID = PublicationId(Bytes32(b"\1" * 32))
_CALL = PreparedCall(transaction="t", raw=b"raw", slot=None)


class _Peer:
    """Answers every question with its own number, or fails."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.failure: CaimiError | None = None
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def answer(*_: object, **__: object) -> object:
            self.asked.append(name)
            await asyncio.sleep(0)  # others ask meanwhile
            if self.failure is not None:
                if name == "status":
                    return StatusUnknown(because=str(self.failure))
                raise self.failure
            return NotIncluded() if name == "status" else self.number

        return answer


@pytest.fixture
def peers() -> list[_Peer]:
    return [_Peer(number) for number in range(3)]


def _port(peers: list[_Peer]) -> FabricPeers:
    return FabricPeers([cast(PeerPort, peer) for peer in peers])


def _balance(port: FabricPeers) -> object:
    return asyncio.run(port.receipt_of(_ID))


def test_first_peer_is_asked_while_it_answers(peers: list[_Peer]) -> None:
    port = _port(peers)
    assert [_balance(port) for _ in range(3)] == [0, 0, 0]
    assert peers[1].asked == peers[2].asked == []


@pytest.mark.parametrize("question", ["head", "next_slot", "validator_set", "verify_site"])
def test_question_that_fails_is_an_error_and_the_next_one_goes_to_another(peers: list[_Peer], question: str) -> None:
    port = _port(peers)
    peers[0].failure = ChainUnavailable("away")
    with pytest.raises(ChainUnavailable, match="away"):
        asyncio.run(getattr(port, question)())
    assert asyncio.run(getattr(port, question)()) == 1
    # It stays there though the first is back.
    peers[0].failure = None
    assert asyncio.run(getattr(port, question)()) == 1


def test_after_the_last_peer_comes_the_first(peers: list[_Peer]) -> None:
    port = _port(peers)
    for peer in peers:
        peer.failure = ChainUnavailable(str(peer.number))
    for number in (0, 1, 2, 0):
        with pytest.raises(ChainUnavailable, match=str(number)):
            asyncio.run(port.head())


def test_questions_that_fail_together_leave_the_peer_once(peers: list[_Peer]) -> None:
    port = _port(peers)
    peers[0].failure = ChainUnavailable("away")

    async def together() -> list[object]:
        return await asyncio.gather(*(port.head() for _ in range(5)), return_exceptions=True)

    assert all(isinstance(answer, ChainUnavailable) for answer in asyncio.run(together()))
    assert _balance(port) == 1


def test_refusal_is_an_answer(peers: list[_Peer]) -> None:
    port = _port(peers)
    peers[0].failure = CallRejected("no")
    with pytest.raises(CallRejected):
        asyncio.run(port.prepare(b"call", slot=None))
    peers[0].failure = None
    assert _balance(port) == 0


def test_unknown_status_is_asked_of_another_peer(peers: list[_Peer]) -> None:
    port = _port(peers)
    peers[0].failure = ChainUnavailable("away")
    assert isinstance(asyncio.run(port.status(_CALL)), StatusUnknown)
    assert isinstance(asyncio.run(port.status(_CALL)), NotIncluded)
    assert peers[1].asked == ["status"]


def test_what_was_contradicted_is_forgotten_by_all(peers: list[_Peer]) -> None:
    asyncio.run(_port(peers).forget(Sequence(3)))
    assert [peer.asked for peer in peers] == [["forget"]] * 3
