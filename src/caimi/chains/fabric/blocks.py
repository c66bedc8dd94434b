"""Blocks of the channel: parsing and the checks that make a chain of them.

Blocks come from one peer, which may lie or be broken: everything is checked that can be checked without
the orderers' signatures (data hash, header hash, links, numbers, sizes), and a block that fails is an error.
Transactions that the validators found invalid may hold any bytes, so their contents are never trusted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import DecodeError

from caimi.chains.fabric.errors import BrokenBlockChain, MalformedBlock, ValidationCode
from caimi.chains.fabric.proto import (
    chaincode_event_pb2,
    common_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)

__all__ = [
    "BlockLimits",
    "ChaincodeEvent",
    "FabricBlock",
    "FabricTransaction",
    "genesis_block_hash",
    "header_hash",
    "parse_block",
    "verify_link",
]

_ENDORSER_TRANSACTION: Final = 3
_VALIDATION_METADATA: Final = 2  # index of TRANSACTIONS_FILTER in the block's metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLimits:
    """What a block may hold at most; more is refused as malformed."""

    transactions: int = 100_000
    event_bytes: int = 32 * 1024 * 1024
    """Payload of one chaincode event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaincodeEvent:
    """The single event that a transaction may set."""

    chaincode: str
    name: str
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricTransaction:
    """One transaction in its place of the block."""

    index: int
    """Place in the block, first is 0."""
    tx_id: str
    """64 hex digits; empty for configuration and for invalid bytes without a readable header."""
    code: ValidationCode
    kind: int
    """Header type: 1 configuration, 3 endorser transaction; -1 if an invalid transaction has no readable header."""
    timestamp_ns: int
    """Channel header's time, nanoseconds since the Unix epoch: set by the client, checked by the endorsers."""
    chaincode: str
    """Name of the chaincode called; empty unless a valid endorser transaction."""
    event: ChaincodeEvent | None
    """Present only in a valid endorser transaction that set one."""
    proposal: bytes = field(default=b"", repr=False)
    """With an event: the proposal's payload, which the endorsers' signatures cover (`proto.call_arguments`)."""

    @property
    def is_valid(self) -> bool:
        """Whether the transaction changed the ledger."""
        return self.code is ValidationCode.VALID


@dataclass(frozen=True, slots=True, kw_only=True)
class FabricBlock:
    """A block whose data hash has been checked."""

    number: int
    previous_hash: bytes
    """32-byte header hash of the block before; empty in block 0."""
    data_hash: bytes
    """SHA-256 of the concatenated transactions, 32 bytes."""
    hash: bytes
    """32-byte header hash of this block."""
    transactions: tuple[FabricTransaction, ...]


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def header_hash(number: int, previous_hash: bytes, data_hash: bytes) -> bytes:
    """Return SHA-256 over the DER encoding of SEQUENCE {number INTEGER, previous, data OCTET STRING}, 32 bytes."""
    # One octet more than the magnitude needs, so that the sign bit of a DER integer stays clear.
    integer = _der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))
    sequence = _der(0x30, integer + _der(0x04, previous_hash) + _der(0x04, data_hash))
    return hashlib.sha256(sequence).digest()


def genesis_block_hash(block: bytes) -> bytes:
    """Return the header hash of an encoded block 0: the identity of a channel, 32 bytes.

    Raises:
        MalformedBlock: The bytes are no block, its data hash is wrong, or its number is not 0.
    """
    try:
        decoded = common_pb2.Block.FromString(block)
    except DecodeError as error:
        raise MalformedBlock("the genesis block is not a block") from error
    header = _checked_header(decoded)
    if header.number != 0:
        raise MalformedBlock(f"the genesis block has number {header.number}")
    return header_hash(0, header.previous_hash, header.data_hash)


def parse_block(block: Any, limits: BlockLimits) -> FabricBlock:
    """Check and read a decoded `common.Block`.

    Raises:
        MalformedBlock: Hash of the data, validation codes or a valid transaction are not what they must be.
    """
    header = _checked_header(block)
    data = block.data.data
    if len(data) > limits.transactions:
        raise MalformedBlock(f"block {header.number} has {len(data)} transactions, at most {limits.transactions}")
    codes = _validation_codes(block)
    transactions = tuple(
        _parse_transaction(header.number, index, envelope, codes[index], limits) for index, envelope in enumerate(data)
    )
    return FabricBlock(
        number=header.number,
        previous_hash=bytes(header.previous_hash),
        data_hash=bytes(header.data_hash),
        hash=header_hash(header.number, header.previous_hash, header.data_hash),
        transactions=transactions,
    )


def verify_link(block: FabricBlock, *, number: int, previous_hash: bytes | None) -> None:
    """Check that a block is the one expected.

    Args:
        number: Number it must have.
        previous_hash: Header hash of the block before; None if that block is not known.

    Raises:
        BrokenBlockChain: It has another number or another predecessor.
    """
    if block.number != number:
        raise BrokenBlockChain(f"block {block.number} came where {number} was due")
    if number == 0 and block.previous_hash:
        raise BrokenBlockChain("block 0 names a predecessor")
    if previous_hash is not None and block.previous_hash != previous_hash:
        raise BrokenBlockChain(
            f"block {number} follows {block.previous_hash.hex()}, but block {number - 1} is {previous_hash.hex()}"
        )


def _checked_header(block: Any) -> Any:
    header = block.header
    if not 0 <= len(header.previous_hash) <= 32:
        raise MalformedBlock(f"block {header.number} has a previous hash of {len(header.previous_hash)} bytes")
    if hashlib.sha256(b"".join(block.data.data)).digest() != header.data_hash:
        raise MalformedBlock(f"the data of block {header.number} has another hash than its header says")
    return header


def _validation_codes(block: Any) -> list[ValidationCode]:
    number, count = block.header.number, len(block.data.data)
    metadata = block.metadata.metadata
    raw = bytes(metadata[_VALIDATION_METADATA]) if len(metadata) > _VALIDATION_METADATA else b""
    if len(raw) != count:
        raise MalformedBlock(f"block {number} has {count} transactions and {len(raw)} validation codes")
    try:
        return [ValidationCode(code) for code in raw]
    except ValueError as error:
        raise MalformedBlock(f"block {number}: {error}") from error


def _parse_transaction(
    number: int, index: int, envelope: bytes, code: ValidationCode, limits: BlockLimits
) -> FabricTransaction:
    is_valid = code is ValidationCode.VALID
    try:
        payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(envelope).payload)
        header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
        timestamp_ns = header.timestamp.seconds * 1_000_000_000 + header.timestamp.nanos
        kind, tx_id = int(header.type), str(header.tx_id)
        chaincode, event, proposal = "", None, b""
        if is_valid and kind == _ENDORSER_TRANSACTION:
            chaincode, event, proposal = _parse_action(payload.data, tx_id, limits)
    except (DecodeError, ValueError) as error:
        if is_valid:
            raise MalformedBlock(f"transaction {index} of block {number}: {error}") from error
        # Anybody may order garbage; it was found invalid and means nothing.
        kind, tx_id, timestamp_ns, chaincode, event, proposal = -1, "", 0, "", None, b""
    return FabricTransaction(
        index=index,
        tx_id=tx_id,
        code=code,
        kind=kind,
        timestamp_ns=timestamp_ns,
        chaincode=chaincode,
        event=event,
        proposal=proposal,
    )


def _parse_action(data: bytes, tx_id: str, limits: BlockLimits) -> tuple[str, ChaincodeEvent | None, bytes]:
    actions = transaction_pb2.Transaction.FromString(data).actions
    if len(actions) != 1:
        raise ValueError(f"{len(actions)} actions, exactly 1 is valid")
    called = transaction_pb2.ChaincodeActionPayload.FromString(actions[0].payload)
    response = proposal_response_pb2.ProposalResponsePayload.FromString(called.action.proposal_response_payload)
    action = proposal_pb2.ChaincodeAction.FromString(response.extension)
    chaincode = str(action.chaincode_id.name)
    if not action.events:
        return chaincode, None, b""
    event = chaincode_event_pb2.ChaincodeEvent.FromString(action.events)
    if event.chaincode_id != chaincode or event.tx_id != tx_id:
        raise ValueError(f"an event of {event.chaincode_id} and transaction {event.tx_id}")
    if len(event.payload) > limits.event_bytes:
        raise ValueError(f"an event of {len(event.payload)} bytes, at most {limits.event_bytes}")
    told = ChaincodeEvent(chaincode=chaincode, name=event.event_name, payload=bytes(event.payload))
    return chaincode, told, bytes(called.chaincode_proposal_payload)
