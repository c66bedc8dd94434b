"""Messages of key ceremonies out of transactions: order, signatures, and transactions that do not hold them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from caimi.chains.fabric import proto
from caimi.chains.fabric.block_index import BlockIndex
from caimi.chains.fabric.blocks import ChaincodeEvent, FabricBlock, FabricTransaction
from caimi.chains.fabric.board_posts import posts_of
from caimi.chains.fabric.errors import ValidationCode
from caimi.chains.fabric.notes import LoggedPost
from caimi.chains.fabric.port_errors import BrokenLedger
from caimi.chains.fabric.transaction import ChainInfo
from caimi.ports.chain import BoardMessage
from caimi.types.primitives import Epoch
from caimi.types.records import BoardPost
from caimi.wire.chain_ids import chain_hash, fabric_chain_id
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.unit.fabric.event_json import LANE, hash_of, payload_of


def signature_of(index: int, text: bytes = b"") -> bytes:
    return bytes((index,)) * 64 + (text or b"\x1b")[:1]


def call_of(phase: int, index: int, body: bytes, *, epoch: int = 1, signature: bytes = b"") -> bytes:
    post = BoardPost(at=LANE, epoch=Epoch(epoch), phase=phase, index=index, body_hash=keccak256(body))
    return encode_call("postBoard", post, signature or signature_of(index), body)


def transaction(arguments: Sequence[bytes], *posts: tuple[int, int], epoch: int = 1) -> FabricTransaction:
    """A transaction that tells of posts (phase, index) and was called with these arguments."""
    told = [{"epoch": epoch, "phase": phase, "index": index} for phase, index in posts]
    content = proto.ProposalContent(
        channel="caimi",
        chaincode="caimi",
        arguments=tuple(arguments),
        transient={},
        creator=b"c",
        nonce=b"n",
        timestamp_ns=1,
    )
    _, proposal = proto.encode_proposal(content)
    return FabricTransaction(
        index=0,
        tx_id="transaction",
        code=ValidationCode.VALID,
        kind=3,
        timestamp_ns=1,
        chaincode="caimi",
        event=ChaincodeEvent(chaincode="caimi", name="caimi", payload=payload_of(posts=told)),
        proposal=proto.proposal_pb2.Proposal.FromString(proposal).payload,
    )


def message(phase: int, index: int, body: bytes) -> BoardMessage:
    return BoardMessage(phase=phase, index=index, body=body, signature=signature_of(index))


def logged(phase: int, index: int, epoch: int = 1) -> LoggedPost:
    return LoggedPost(epoch=Epoch(epoch), phase=phase, index=index)


def test_a_message_comes_with_its_signature() -> None:
    found = posts_of(transaction([b"call", call_of(1, 2, b"body")]), (logged(1, 2),))
    assert found == (message(1, 2, b"body"),)


def test_a_multicall_holds_several_in_their_order() -> None:
    calls = [call_of(1, 2, b"two"), call_of(1, 1, b"one"), call_of(1, 2, b"again", signature=signature_of(9))]
    found = posts_of(transaction([b"call", encode_call("multicall", calls)]), (logged(1, 2), logged(1, 1)))
    assert found == (message(1, 2, b"two"), message(1, 1, b"one"))


def test_a_transaction_without_messages_is_not_looked_into() -> None:
    assert posts_of(transaction([b"something else"]), ()) == ()


_NOT_HELD = {
    "no call": transaction([b"call"]),
    "more arguments": transaction([b"call", call_of(1, 2, b"body"), b""]),
    "garbage": transaction([b"call", b"garbage"]),
    "another function": transaction([b"call", encode_call("multicall", [])]),
    "another index": transaction([b"call", call_of(1, 3, b"body")]),
    "another phase": transaction([b"call", call_of(2, 2, b"body")]),
    "another epoch": transaction([b"call", call_of(1, 2, b"body", epoch=2)]),
    "cut": transaction([b"call", call_of(1, 2, b"body")[:-32]]),
}


@pytest.mark.parametrize("told", _NOT_HELD.values(), ids=_NOT_HELD)
def test_rejects_a_transaction_that_does_not_hold_what_it_tells(told: FabricTransaction) -> None:
    with pytest.raises(BrokenLedger):
        posts_of(told, (logged(1, 2),))


def test_rejects_a_body_of_another_hash() -> None:
    post = BoardPost(at=LANE, epoch=Epoch(1), phase=1, index=2, body_hash=keccak256(b"body"))
    call = encode_call("postBoard", post, signature_of(2), b"other")
    with pytest.raises(BrokenLedger):
        posts_of(transaction([b"call", call]), (logged(1, 2),))


class _Peer:
    def __init__(self, *blocks: FabricBlock) -> None:
        self._blocks = blocks

    async def chain_info(self) -> ChainInfo:
        newest = self._blocks[-1]
        return ChainInfo(height=newest.number + 1, head_hash=newest.hash, previous_hash=newest.previous_hash)

    async def blocks(self, start: int, *, previous_hash: bytes | None = None) -> AsyncGenerator[FabricBlock, None]:
        for block in self._blocks[start:]:
            yield block
        await asyncio.Event().wait()


def _block(number: int, *transactions: FabricTransaction) -> FabricBlock:
    previous = hash_of(number - 1) if number else b""
    return FabricBlock(
        number=number, previous_hash=previous, data_hash=bytes(32), hash=hash_of(number), transactions=transactions
    )


def test_messages_of_an_epoch_are_read_in_the_channels_order() -> None:
    peer = _Peer(
        _block(0),
        _block(
            1,
            transaction([b"call", call_of(1, 3, b"three")], (1, 3)),
            transaction([b"call", call_of(1, 1, b"one")], (1, 1)),
        ),
        _block(2, transaction([b"call", call_of(1, 4, b"next", epoch=2)], (1, 4), epoch=2)),
        _block(3, transaction([b"call", call_of(9, 1, b"")], (9, 1))),
    )

    async def scene() -> None:
        chain = chain_hash(fabric_chain_id(hash_of(0)))
        index = BlockIndex(peer, peer, chaincode="caimi", chain=chain, block_seconds=1.0)
        await index.advance()
        assert index.posts(Epoch(1)) == (message(1, 3, b"three"), message(1, 1, b"one"), message(9, 1, b""))
        assert index.posts(Epoch(2)) == (message(1, 4, b"next"),)
        assert index.posts(Epoch(3)) == ()
        await index.close()

    asyncio.run(scene())
