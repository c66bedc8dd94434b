"""Blocks: hashes against a real ledger, links, and every way in which a block may be wrong."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from caimi.chains.fabric import proto
from caimi.chains.fabric.blocks import (
    BlockLimits,
    FabricBlock,
    genesis_block_hash,
    header_hash,
    parse_block,
    verify_link,
)
from caimi.chains.fabric.errors import BrokenBlockChain, MalformedBlock, ValidationCode

_LIMITS = BlockLimits(transactions=5, event_bytes=10)
_TX = "ab" * 32


def envelope(
    *,
    tx_id: str = _TX,
    chaincode: str = "caimi",
    event: tuple[str, str, bytes] | None = ("caimi", "Locked", b"payload"),
    event_tx_id: str | None = None,
    actions: int = 1,
    kind: int = 3,
) -> bytes:
    """An endorser transaction; `event` is (chaincode, name, payload)."""
    raw_event = b""
    if event is not None:
        raw_event = proto.chaincode_event_pb2.ChaincodeEvent(
            chaincode_id=event[0], event_name=event[1], payload=event[2], tx_id=event_tx_id or tx_id
        ).SerializeToString()
    action: Any = proto.proposal_pb2.ChaincodeAction(events=raw_event)
    action.chaincode_id.name = chaincode
    response = proto.proposal_response_pb2.ProposalResponsePayload(extension=action.SerializeToString())
    payload: Any = proto.transaction_pb2.ChaincodeActionPayload()
    payload.action.proposal_response_payload = response.SerializeToString()
    transaction: Any = proto.transaction_pb2.Transaction()
    for _ in range(actions):
        transaction.actions.add(payload=payload.SerializeToString())
    header: Any = proto.common_pb2.ChannelHeader(type=kind, tx_id=tx_id)
    header.timestamp.FromNanoseconds(1_800_000_000_123_456_789)
    whole: Any = proto.common_pb2.Payload(data=transaction.SerializeToString())
    whole.header.channel_header = header.SerializeToString()
    return proto.common_pb2.Envelope(payload=whole.SerializeToString()).SerializeToString()


def block(
    *envelopes: bytes,
    codes: bytes | None = None,
    number: int = 7,
    previous: bytes = b"\x01" * 32,
    data_hash: bytes = b"",
) -> Any:
    made: Any = proto.common_pb2.Block()
    made.header.number = number
    made.header.previous_hash = previous
    made.header.data_hash = data_hash or hashlib.sha256(b"".join(envelopes)).digest()
    made.data.data.extend(envelopes)
    made.metadata.metadata.extend([b"", b"", bytes(len(envelopes)) if codes is None else codes])
    return made


@pytest.mark.parametrize(
    ("number", "previous", "data", "expected"),
    [  # headers of a Fabric 3.1.1 channel; block 4's hash is what the peer's qscc answered
        (
            0,
            "",
            "5d16931cead15343f3680d0fd545e293c553c08286ccf4f13ebcf53b133c59af",
            "50d37a7e0cb67c39e8900b7039967255a002dbaf6e21781af42a7a86623b002e",
        ),
        (
            4,
            "532b0c19d849912827ae3074b5b7ef0c069ea5030f01b10a85bb5f33f2a5772e",
            "86128ac5233765d3b090fe9aa701979748af7bbe1e7453b6e16bbb450446335d",
            "0a741df638308e98cf64c155f76c4e72af6d330815b304ad1ac192f7efc85aef",
        ),
    ],
)
def test_the_header_hash_is_that_of_a_real_ledger(number: int, previous: str, data: str, expected: str) -> None:
    assert header_hash(number, bytes.fromhex(previous), bytes.fromhex(data)).hex() == expected


@pytest.mark.parametrize(
    ("number", "integer"),
    [
        (0, "020100"),
        (127, "02017f"),
        (128, "02020080"),
        (255, "020200ff"),
        (256, "02020100"),
        (2**64 - 1, "020900" + "ff" * 8),
    ],
)
def test_the_number_is_a_der_integer_of_least_length(number: int, integer: str) -> None:
    body = bytes.fromhex(integer) + b"\x04\x20" + b"\x01" * 32 + b"\x04\x20" + b"\x02" * 32
    expected = hashlib.sha256(b"\x30" + bytes((len(body),)) + body).digest()
    assert header_hash(number, b"\x01" * 32, b"\x02" * 32) == expected


def test_a_valid_transaction_is_read_in_full() -> None:
    read = parse_block(block(envelope()), _LIMITS)
    assert read.number == 7
    assert read.hash == header_hash(7, b"\x01" * 32, read.data_hash)
    (transaction,) = read.transactions
    assert (transaction.index, transaction.tx_id, transaction.kind) == (0, _TX, 3)
    assert transaction.timestamp_ns == 1_800_000_000_123_456_789
    assert transaction.chaincode == "caimi"
    assert transaction.event is not None
    assert (transaction.event.name, transaction.event.payload) == ("Locked", b"payload")
    assert transaction.is_valid


def test_an_invalid_transaction_has_no_event_and_names_no_chaincode() -> None:
    read = parse_block(block(envelope(), codes=bytes((11,))), _LIMITS).transactions[0]
    assert (read.code, read.event, read.chaincode) == (ValidationCode.MVCC_READ_CONFLICT, None, "")
    assert not read.is_valid


def test_garbage_that_was_found_invalid_does_not_stop_the_reader() -> None:
    read = parse_block(block(b"\xff\xff", envelope(), codes=bytes((2, 0))), _LIMITS).transactions
    assert (read[0].kind, read[0].tx_id, read[0].event) == (-1, "", None)
    assert read[1].is_valid


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (block(envelope(), data_hash=b"\x09" * 32), "another hash"),
        (block(envelope(), codes=b""), "validation codes"),
        (block(envelope(), codes=bytes(2)), "validation codes"),
        (block(envelope(), codes=bytes((77,))), "77 is not a valid"),
        (block(envelope(), previous=bytes(33)), "33 bytes"),
        (block(*[envelope()] * 6), "at most 5"),
        (block(b"\xff\xff"), "transaction 0"),
        (block(envelope(actions=0)), "0 actions"),
        (block(envelope(actions=2)), "2 actions"),
        (block(envelope(event=("other", "Locked", b""))), "an event of other"),
        (block(envelope(event_tx_id="cd" * 32)), "an event of caimi"),
        (block(envelope(event=("caimi", "Locked", bytes(11)))), "at most 10"),
    ],
)
def test_a_block_that_no_honest_peer_delivers_is_refused(bad: Any, message: str) -> None:
    with pytest.raises(MalformedBlock, match=message):
        parse_block(bad, _LIMITS)


def test_a_block_without_metadata_is_refused() -> None:
    bad = block(envelope())
    del bad.metadata.metadata[:]
    with pytest.raises(MalformedBlock, match="0 validation codes"):
        parse_block(bad, _LIMITS)


def _parsed(number: int, previous: bytes) -> FabricBlock:
    return parse_block(block(number=number, previous=previous), _LIMITS)


def test_a_chain_of_blocks_links() -> None:
    first = _parsed(0, b"")
    second = _parsed(1, first.hash)
    verify_link(first, number=0, previous_hash=None)
    verify_link(second, number=1, previous_hash=first.hash)
    verify_link(second, number=1, previous_hash=None)


@pytest.mark.parametrize(
    ("made", "number", "previous"),
    [
        (_parsed(2, b"\x01" * 32), 1, None),  # one left out
        (_parsed(1, b"\x01" * 32), 2, None),  # one again
        (_parsed(1, b"\x01" * 32), 1, b"\x02" * 32),  # another history
        (_parsed(1, b""), 1, b"\x02" * 32),
        (_parsed(0, b"\x01" * 32), 0, None),  # a beginning with a past
    ],
)
def test_a_block_that_does_not_follow_is_refused(made: FabricBlock, number: int, previous: bytes | None) -> None:
    with pytest.raises(BrokenBlockChain):
        verify_link(made, number=number, previous_hash=previous)


def test_the_genesis_hash_is_that_of_block_zero_only() -> None:
    genesis = block(envelope(kind=1), number=0, previous=b"")
    assert genesis_block_hash(genesis.SerializeToString()) == header_hash(0, b"", bytes(genesis.header.data_hash))
    with pytest.raises(MalformedBlock, match="number 7"):
        genesis_block_hash(block().SerializeToString())
    with pytest.raises(MalformedBlock, match="not a block"):
        genesis_block_hash(b"\xff")
    genesis.data.data.append(b"more")
    with pytest.raises(MalformedBlock, match="another hash"):
        genesis_block_hash(genesis.SerializeToString())
