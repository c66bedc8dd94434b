"""The steps of a transaction as values, each of which may be stored before the next one is taken."""

from __future__ import annotations

from dataclasses import dataclass

from caimi.chains.fabric.errors import ValidationCode

__all__ = [
    "ChainInfo",
    "Committed",
    "EndorsedTransaction",
    "Invalid",
    "PreparedTransaction",
    "TransactionStatus",
    "Unknown",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedTransaction:
    """A proposal with its transaction id, not yet sent. Store it before sending: the id finds the outcome."""

    tx_id: str
    """64 lower-case hex digits."""
    channel: str
    chaincode: str
    proposal: bytes
    """Encoded Proposal, transient data included; the endorsers accept it only near its timestamp."""
    timestamp_ns: int
    """Time in the proposal, nanoseconds since the Unix epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndorsedTransaction:
    """An endorsed and signed transaction, ready to be ordered."""

    tx_id: str
    channel: str
    envelope: bytes
    """Encoded and signed Envelope. Sending it twice is harmless: a transaction id commits at most once."""
    result: bytes
    """What the chaincode returned in simulation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The transaction is in a block and VALID."""

    tx_id: str
    block_number: int
    result: bytes | None = None
    """What the chaincode returned; None when only the status was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """The transaction is in a block and changed nothing; it never will."""

    tx_id: str
    block_number: int
    code: ValidationCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """The peer has not seen the transaction in a block: it may still come."""

    tx_id: str
    reason: str


TransactionStatus = Committed | Invalid | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainInfo:
    """Head of the channel's ledger at one peer."""

    height: int
    """Number of blocks; the last one has number height - 1."""
    head_hash: bytes
    """32-byte header hash of the last block."""
    previous_hash: bytes
    """32-byte header hash of the block before it; empty at height 1."""
