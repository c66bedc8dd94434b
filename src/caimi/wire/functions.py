"""The registry's functions and event bodies: one list for every ledger (spec 30 §3, spec 10 §5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from caimi.types.errors import BadBody, BadEncoding, UnknownFunction
from caimi.types.primitives import Bytes32
from caimi.types.records import Kind
from caimi.wire.codec import abi_type, decode_values, encode_values
from caimi.wire.keccak import keccak256

__all__ = [
    "BODIES",
    "FUNCTIONS",
    "batch_ids_topic",
    "decode_body",
    "decode_call",
    "encode_body",
    "encode_call",
    "event_topic",
    "selector",
]

FUNCTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "lockModel": ("Publication", "bytes"),
    "applyRun": ("Certificate", "Item[]", "bytes32[]"),
    "abort": ("bytes32",),
    "abortUnlocked": ("Publication", "bytes"),
    "lockBatch": ("Publication[]", "bytes[]"),
    "answerBatch": ("Lane", "bytes32"),
    "abortBatch": ("bytes32",),
    "takeOut": ("Publication", "bytes", "BatchProof"),
    "revoke": ("Revocation", "bytes"),
    "pause": ("Pause", "Signature[]"),
    "resume": ("Resume", "Signature[]"),
    "govern": ("Governance", "Signature[]"),
    "withdraw": ("Withdrawal", "bytes"),
    "requestInference": ("InferenceRequest", "bytes"),
    "answerInference": ("Answer", "bytes", "HostKey", "bytes"),
    "multicall": ("bytes[]",),
    # Change of the validator set (spec 42)
    "changeSet": ("SetChange", "Signature[]", "Signature[]"),
    "enterSet": ("EpochSet",),
    "retireSet": (),
    # Ethereum only
    "fundWithPermit": ("address", "uint128", "uint256", "uint8", "bytes32", "bytes32"),
    # Fabric only
    "fund": ("Funding", "bytes"),
    "mint": ("Mint", "bytes"),
    "openLease": ("LeaseRequest", "bytes", "HostKey", "bytes"),
    "postPartial": ("PartialPost", "bytes"),
    "postBoard": ("BoardPost", "bytes", "bytes"),
    "proposeSet": ("SetProposal", "Signature[]"),
}
"""Name and argument types. A call is the 4-byte selector and the arguments, on every ledger."""

BODIES: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.LOCKED: ("uint8", "Lane"),
    Kind.REFUSED: ("uint16", "Lane"),
    Kind.OUTCOME: ("uint8", "uint16"),
    Kind.SUPERSEDED: ("uint64",),
    Kind.REQUESTED: ("bytes32", "address", "Cid", "bytes32", "bytes32", "uint64"),
    Kind.ANSWERED: ("bytes32", "bytes32", "Cid"),
    Kind.REVOKED: ("uint16", "Lane"),
    Kind.SET_CHANGE: ("uint64", "uint64"),
    Kind.SET_RETIRED: ("uint64",),
    Kind.GOVERNANCE: ("uint8", "Lane", "uint64", "uint64", "uint64", "bytes32"),
    Kind.BATCH_LOCKED: ("uint16",),
    Kind.BATCH_ANSWERED: ("uint16", "Lane"),
    Kind.BATCH_OUTCOME: ("uint8", "uint16", "uint16", "uint256"),
    Kind.SET_ENTERED: ("uint64",),
}
"""LOCKED (role, home) · REFUSED (code, home) · OUTCOME (state, reason) · SUPERSEDED (by version) ·
REQUESTED (request, consumer, input, input commitment, client key, deadline) ·
ANSWERED (request, receipt hash, output) · REVOKED (reason, registry that took the publisher's signature) ·
GOVERNANCE (action, lane, version, generation, height and hash of the last block kept) · BATCH_LOCKED (count) ·
BATCH_ANSWERED (version of the mirror's rules, home) · BATCH_OUTCOME (state, reason, count, ids taken out) ·
SET_CHANGE (epoch that ends, epoch that begins) · SET_RETIRED (epoch) · SET_ENTERED (epoch); their subject is a set
hash (spec 42)."""


def selector(name: str) -> bytes:
    """First 4 bytes of keccak256 of the canonical signature.

    Raises:
        UnknownFunction: No registry has it.
    """
    kinds = FUNCTIONS.get(name)
    if kinds is None:
        raise UnknownFunction
    return keccak256(f"{name}({','.join(abi_type(k) for k in kinds)})".encode())[:4]


def event_topic() -> Bytes32:
    """Topic of the EVM log `Emitted` that carries a sequenced event (spec 30 §6)."""
    return keccak256(b"Emitted(uint64,uint16,uint16,(bytes32,bytes32)[],bytes32,bytes)")


def batch_ids_topic() -> Bytes32:
    """Topic of the EVM log `BatchIds` that lists the ids of a batch beside its event (spec 37 §6)."""
    return keccak256(b"BatchIds(bytes32,bytes32[])")


_BY_SELECTOR: Final = {selector(name): name for name in FUNCTIONS}


def encode_call(name: str, *arguments: Any) -> bytes:
    """Selector and ABI-encoded arguments."""
    return selector(name) + encode_values(FUNCTIONS[name], arguments)


def decode_call(data: bytes, *, limit: int = 1 << 23) -> tuple[str, tuple[Any, ...]]:
    """Inverse of `encode_call`.

    Raises:
        UnknownFunction: The selector is none of ours.
        BadEncoding: The arguments are not canonical.
    """
    name = _BY_SELECTOR.get(data[:4])
    if name is None:
        raise UnknownFunction
    return name, decode_values(FUNCTIONS[name], data[4:], limit=limit)


def encode_body(kind: Kind, *values: Any) -> bytes:
    """ABI-encode an event body."""
    return encode_values(BODIES[kind], values)


def decode_body(kind: Kind, body: bytes) -> tuple[Any, ...]:
    """Inverse of `encode_body`.

    Raises:
        BadBody: The bytes are not a canonical body of this kind.
    """
    try:
        return decode_values(BODIES[kind], body, limit=1024)
    except (BadEncoding, KeyError) as error:
        raise BadBody from error
