"""ABI shapes of the records: one table gives ABI encoding, strict decoding and EIP-712 hashing (spec 10 §2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, TypeVar, cast

from caimi.types import records as r
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Bytes32
from caimi.wire.abi import LIST_LIMIT, Codec, ListCodec, StructCodec, TupleCodec, basic_codec, encode_text
from caimi.wire.keccak import keccak256

__all__ = [
    "LIST_LIMIT",
    "SHAPES",
    "abi_type",
    "decode",
    "decode_values",
    "encode",
    "encode_type",
    "encode_values",
    "struct_hash",
]

T = TypeVar("T")
Record = Any


SHAPES: Final[Mapping[type[Record], tuple[tuple[str, str], ...]]] = {
    r.Lane: (("chain", "bytes32"), ("registry", "bytes32")),
    r.Cid: (("codec", "uint8"), ("digest", "bytes32")),
    r.Terms: (("currency", "bytes32"), ("unit", "uint8"), ("price", "uint128")),
    r.Publication: (
        ("format", "uint16"),
        ("kind", "uint8"),
        ("publisher", "address"),
        ("name", "string"),
        ("version", "uint64"),
        ("ciphertext", "Cid"),
        ("capsuleHash", "bytes32"),
        ("manifestCommitment", "bytes32"),
        ("policyHash", "bytes32"),
        ("home", "Lane"),
        ("mirrors", "Lane[]"),
        ("terms", "Terms"),
        ("deposit", "uint128"),
        ("nonce", "bytes32"),
        ("deadline", "uint64"),
        ("extensionHash", "bytes32"),
    ),
    r.Withdrawal: (
        ("at", "Lane"),
        ("account", "address"),
        ("recipient", "address"),
        ("amount", "uint128"),
        ("nonce", "bytes32"),
        ("deadline", "uint64"),
    ),
    r.Revocation: (
        ("at", "Lane"),
        ("publication", "bytes32"),
        ("publisher", "address"),
        ("reason", "uint16"),
        ("nonce", "bytes32"),
        ("deadline", "uint64"),
    ),
    r.Pause: (("at", "Lane"), ("epoch", "uint64"), ("counter", "uint64")),
    r.Resume: (("at", "Lane"), ("epoch", "uint64"), ("counter", "uint64")),
    r.Governance: (
        ("at", "Lane"),
        ("epoch", "uint64"),
        ("action", "uint8"),
        ("lane", "Lane"),
        ("version", "uint64"),
        ("generation", "uint64"),
        ("height", "uint64"),
        ("blockHash", "bytes32"),
    ),
    r.EpochSet: (
        ("epoch", "uint64"),
        ("validators", "address[]"),
        ("f", "uint8"),
        ("t", "uint8"),
        ("transcript", "bytes32"),
    ),
    r.SetChange: (("at", "Lane"), ("epoch", "uint64"), ("next", "EpochSet"), ("lanes", "Lane[]")),
    r.SetProposal: (("at", "Lane"), ("epoch", "uint64"), ("next", "EpochSet")),
    r.Funding: (
        ("at", "Lane"),
        ("account", "address"),
        ("amount", "uint128"),
        ("nonce", "bytes32"),
        ("deadline", "uint64"),
    ),
    r.Mint: (
        ("at", "Lane"),
        ("account", "address"),
        ("amount", "uint128"),
        ("nonce", "bytes32"),
        ("deadline", "uint64"),
    ),
    r.InferenceRequest: (
        ("at", "Lane"),
        ("publication", "bytes32"),
        ("consumer", "address"),
        ("input", "Cid"),
        ("inputCommitment", "bytes32"),
        ("clientKey", "bytes32"),
        ("nonce", "bytes32"),
        ("deadline", "uint64"),
    ),
    r.DirectRequest: (
        ("publication", "bytes32"),
        ("consumer", "address"),
        ("host", "address"),
        ("session", "bytes32"),
        ("inputCommitment", "bytes32"),
        ("nonce", "bytes32"),
        ("deadline", "uint64"),
    ),
    r.HostKey: (("sealingKey", "bytes32"), ("signingKey", "address"), ("epoch", "uint64"), ("until", "uint64")),
    r.Answer: (
        ("at", "Lane"),
        ("request", "bytes32"),
        ("publication", "bytes32"),
        ("lease", "bytes32"),
        ("output", "Cid"),
        ("inputCommitment", "bytes32"),
        ("outputCommitment", "bytes32"),
        ("receiptHash", "bytes32"),
        ("answeredAt", "uint64"),
    ),
    r.Receipt: (
        ("request", "bytes32"),
        ("publication", "bytes32"),
        ("grant", "bytes32"),
        ("lease", "bytes32"),
        ("quote", "bytes32"),
        ("modelCommitment", "bytes32"),
        ("inputCommitment", "bytes32"),
        ("outputCommitment", "bytes32"),
        ("price", "uint128"),
        ("heartbeat", "bytes32"),
        ("time", "uint64"),
    ),
    r.LeaseRequest: (
        ("at", "Lane"),
        ("publication", "bytes32"),
        ("sealingKey", "bytes32"),
        ("signingKey", "address"),
        ("epoch", "uint64"),
        ("purpose", "uint8"),
        ("opening", "bytes32"),
        ("end", "uint64"),
        ("calls", "uint32"),
        ("nonce", "bytes32"),
        ("deadline", "uint64"),
    ),
    r.PartialPost: (("at", "Lane"), ("lease", "bytes32"), ("index", "uint8"), ("sealedHash", "bytes32")),
    r.BoardPost: (
        ("at", "Lane"),
        ("epoch", "uint64"),
        ("phase", "uint8"),
        ("index", "uint8"),
        ("bodyHash", "bytes32"),
    ),
    r.Event: (
        ("schema", "uint16"),
        ("kind", "uint16"),
        ("destinations", "Lane[]"),
        ("subject", "bytes32"),
        ("body", "bytes"),
    ),
    r.Item: (("sequence", "uint64"), ("event", "Event")),
    r.Checkpoint: (
        ("source", "Lane"),
        ("generation", "uint64"),
        ("epoch", "uint64"),
        ("firstSequence", "uint64"),
        ("lastSequence", "uint64"),
        ("root", "bytes32"),
        ("height", "uint64"),
        ("blockHash", "bytes32"),
    ),
    r.Signature: (("signer", "uint8"), ("v", "uint8"), ("r", "bytes32"), ("s", "bytes32")),
    r.Certificate: (("checkpoint", "Checkpoint"), ("signatures", "Signature[]")),
    r.BatchProof: (("home", "Lane"), ("root", "bytes32"), ("index", "uint16"), ("siblings", "bytes32[]")),
    r.Genesis: (
        ("rootGenesis", "bytes32"),
        ("validators", "address[]"),
        ("f", "uint8"),
        ("t", "uint8"),
        ("operators", "address[]"),
        ("attestation", "uint8"),
        ("nonce", "bytes32"),
    ),
}
"""Wire name and Solidity type of each field, in order; the Python field is the wire name in snake_case."""

_BY_NAME: Final = {cls.__name__: cls for cls in SHAPES}


def _split(kind: str) -> tuple[str, bool]:
    return (kind[:-2], True) if kind.endswith("[]") else (kind, False)


@cache
def abi_type(kind: str) -> str:
    """Expand a struct name (or Solidity type) to the ABI's tuple notation."""
    base, is_list = _split(kind)
    if base in _BY_NAME:
        base = "(" + ",".join(abi_type(k) for _, k in SHAPES[_BY_NAME[base]]) + ")"
    return base + ("[]" if is_list else "")


@cache
def _codec(kind: str) -> Codec:
    base, is_list = _split(kind)
    if is_list:
        return ListCodec(_codec(base))
    cls = _BY_NAME.get(base)
    if cls is None:
        return basic_codec(base)
    members = _members_of(cls)
    return StructCodec(cls, [name for name, _ in members], [_codec(kind) for _, kind in members])


@cache
def _arguments(kinds: tuple[str, ...]) -> TupleCodec:
    return TupleCodec([_codec(kind) for kind in kinds])


def encode_values(kinds: tuple[str, ...], values: tuple[Any, ...]) -> bytes:
    """ABI-encode function arguments whose types are struct names or Solidity types.

    Raises:
        BadEncoding: A value does not fit its type, or there are more or fewer than types.
    """
    return _arguments(kinds).encode(values)


def decode_values(kinds: tuple[str, ...], data: bytes, *, limit: int = 1 << 20) -> tuple[Any, ...]:
    """Decode function arguments; only the canonical encoding is accepted.

    Raises:
        BadEncoding: Longer than `limit` bytes, a list of more than `LIST_LIMIT`, or not what `encode_values` gives.
    """
    if len(data) > limit:
        raise BadEncoding
    values, end = _arguments(kinds).decode(bytes(data), 0)
    if end != len(data):
        raise BadEncoding
    return tuple(values)


def encode(record: Record) -> bytes:
    """ABI-encode one record as a single argument."""
    return encode_values((type(record).__name__,), (record,))


def decode(cls: type[T], data: bytes, *, limit: int = 1 << 20) -> T:
    """Inverse of `encode`.

    Raises:
        BadEncoding: See `decode_values`.
    """
    return cast(T, decode_values((cls.__name__,), data, limit=limit)[0])


def _members(name: str, seen: set[str]) -> None:
    for _, kind in SHAPES[_BY_NAME[name]]:
        base, _ = _split(kind)
        if base in _BY_NAME and base not in seen:
            seen.add(base)
            _members(base, seen)


@cache
def encode_type(name: str) -> str:
    """EIP-712 encodeType: the struct, then its members' structs in alphabetical order."""
    seen: set[str] = set()
    _members(name, seen)
    names = [name, *sorted(seen - {name})]
    return "".join(f"{n}({','.join(f'{k} {f}' for f, k in SHAPES[_BY_NAME[n]])})" for n in names)


@cache
def _type_hash(name: str) -> bytes:
    return keccak256(encode_type(name).encode("ascii"))


def _word(kind: str, value: Any) -> bytes:
    # One member in EIP-712's encodeData: what has no fixed length, and structs, by their hashes.
    base, is_list = _split(kind)
    if is_list:
        return keccak256(b"".join([_word(base, v) for v in value]))
    if base in _BY_NAME:
        return struct_hash(value)
    encoded = _codec(base).encode(value)
    if base == "string":
        return keccak256(encode_text(value))
    return keccak256(value) if base == "bytes" else encoded


@cache
def _members_of(cls: type[Any]) -> tuple[tuple[str, str], ...]:
    # Python field and wire type of each member.
    names = [field.name for field in dataclasses.fields(cls)]
    return tuple((name, kind) for name, (_, kind) in zip(names, SHAPES[cls], strict=True))


def struct_hash(record: Record) -> Bytes32:
    """EIP-712 hashStruct.

    Raises:
        BadEncoding: A value does not fit its type.
    """
    cls = cast("type[Any]", record.__class__)
    words = [_word(kind, getattr(record, name)) for name, kind in _members_of(cls)]
    return keccak256(_type_hash(cls.__name__) + b"".join(words))
