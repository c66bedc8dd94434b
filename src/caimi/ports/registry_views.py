"""The registry's views: names, ABI and what the answers mean, for every ledger (spec 30 §6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from caimi.ports.chain import BatchView, BrakesView, PublicationView, ValidatorSetView
from caimi.protocol.publication import AbortReason, Role, State
from caimi.protocol.registry_state import GovernedLane
from caimi.types.errors import BadEncoding
from caimi.types.primitives import ZERO32, Bytes32, Epoch, Generation, UnixSeconds
from caimi.types.records import LeaseRequest
from caimi.wire.codec import abi_type, decode_values, encode_values
from caimi.wire.keccak import keccak256

__all__ = [
    "VIEWS",
    "decode_view",
    "encode_view",
    "read_batch",
    "read_brakes",
    "read_bytes32",
    "read_governed",
    "read_lease",
    "read_publication",
    "read_state_in",
    "read_validator_set",
]

VIEWS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "version": ((), ("uint16",)),
    "network": ((), ("bytes32",)),
    "lane": ((), ("Lane",)),
    "validatorSet": ((), ("uint64", "uint8", "uint8", "address[]")),
    "publication": (
        ("bytes32",),
        (
            "uint8",
            "uint8",
            "address",
            "bytes",  # declared as string, which has the same encoding; of a REFUSED publication it may be no UTF-8
            "uint64",
            "Lane",
            "Lane[]",
            "uint128",
            "uint64",
            "uint8",
            "uint8",
        ),
    ),
    "batch": (
        ("Lane", "bytes32"),
        ("uint8", "uint8", "uint16", "uint256", "uint64", "uint64", "uint128", "uint8", "uint8"),
    ),
    "stateIn": (("bytes32", "BatchProof"), ("uint8", "uint8")),
    "isRevoked": (("bytes32",), ("bool",)),
    "balance": (("address",), ("uint128",)),
    "tokens": (("address",), ("uint128",)),
    "receiptOf": (("bytes32",), ("bytes32",)),
    "isMarked": (("Lane", "uint64", "uint64"), ("bool",)),
    "minDeposit": ((), ("uint128",)),
    "clockWindow": ((), ("uint64",)),
    "root": ((), ("Lane",)),
    "governed": (("Lane",), ("uint64", "uint64", "uint64", "bytes32", "bool")),
    "brakes": ((), ("bool", "uint64", "uint64", "uint64", "uint128", "uint128")),
    # Change of the validator set (spec 42)
    "validatorSetOf": (("uint64",), ("uint64", "uint8", "uint8", "address[]")),
    "epochs": ((), ("uint64", "bytes32", "bytes32", "uint64", "bytes32")),
    "acknowledged": (("Lane",), ("uint64",)),
    # Ethereum only
    "eventCount": ((), ("uint64",)),
    # Fabric only
    "leaseCap": ((), ("uint64",)),
    "lease": (("bytes32",), ("LeaseRequest",)),
    "partials": (("bytes32",), ("bytes[]",)),
    "board": (("uint64", "uint8"), ("bytes[]",)),
}
"""Argument types and answer types by name."""


def encode_view(name: str, *arguments: Any) -> bytes:
    """Selector and ABI-encoded arguments of a view.

    Raises:
        BadEncoding: An argument does not fit its type.
    """
    kinds = VIEWS[name][0]
    selector = keccak256(f"{name}({','.join(abi_type(k) for k in kinds)})".encode())[:4]
    return selector + encode_values(kinds, arguments)


def decode_view(name: str, answer: bytes, *, limit: int = 1 << 20) -> tuple[Any, ...]:
    """The values of a view's answer.

    Raises:
        BadEncoding: Longer than `limit` bytes, or not the canonical encoding of the answer's types.
    """
    return decode_values(VIEWS[name][1], answer, limit=limit)


def read_publication(answer: bytes) -> PublicationView | None:
    """The answer of `publication`, None if the registry has no such record.

    Raises:
        BadEncoding: It is malformed, or holds a role, state or reason that no registry has.
    """
    role, state, publisher, name, version, home, mirrors, deposit, deadline, awaited, reason = decode_view(
        "publication", answer
    )
    if state == State.NONE:
        return None
    try:
        return PublicationView(
            role=Role(role),
            state=State(state),
            publisher=publisher,
            name=name.decode("utf-8", "backslashreplace"),
            version=version,
            home=home,
            mirrors=mirrors,
            deposit=deposit,
            deadline=deadline,
            awaited=awaited,
            reason=AbortReason(reason),
        )
    except ValueError as error:
        raise BadEncoding from error


def read_batch(answer: bytes) -> BatchView | None:
    """The answer of `batch`, None if the registry has no such record.

    Raises:
        BadEncoding: It is malformed, or holds a role, state or reason that no registry has.
    """
    role, state, count, taken, earliest, latest, deposits, awaited, reason = decode_view("batch", answer)
    if state == State.NONE:
        return None
    try:
        return BatchView(
            role=Role(role),
            state=State(state),
            count=count,
            taken=taken,
            earliest=earliest,
            latest=latest,
            deposits=deposits,
            awaited=awaited,
            reason=AbortReason(reason),
        )
    except ValueError as error:
        raise BadEncoding from error


def read_state_in(answer: bytes) -> tuple[Role, State]:
    """The answer of `stateIn`.

    Raises:
        BadEncoding: It is malformed, or holds a role or state that no registry has.
    """
    role, state = decode_view("stateIn", answer)
    try:
        return Role(role), State(state)
    except ValueError as error:
        raise BadEncoding from error


def read_validator_set(answer: bytes) -> ValidatorSetView:
    """The answer of `validatorSet`.

    Raises:
        BadEncoding: It is malformed.
    """
    epoch, f, t, validators = decode_view("validatorSet", answer)
    return ValidatorSetView(epoch=Epoch(epoch), f=f, t=t, validators=validators)


def read_brakes(answer: bytes) -> BrakesView:
    """The answer of `brakes`.

    Raises:
        BadEncoding: It is malformed.
    """
    paused, counter, since, delay, cap, withdrawn = decode_view("brakes", answer)
    return BrakesView(
        paused=paused,
        counter=counter,
        since=UnixSeconds(since),
        resume_delay=delay,
        withdrawal_cap=cap,
        withdrawn=withdrawn,
    )


def read_governed(answer: bytes) -> GovernedLane:
    """The answer of `governed`.

    Raises:
        BadEncoding: It is malformed.
    """
    version, generation, height, block_hash, dropped = decode_view("governed", answer)
    return GovernedLane(
        version=version, generation=Generation(generation), height=height, block_hash=block_hash, dropped=dropped
    )


def read_bytes32(name: str, answer: bytes) -> Bytes32 | None:
    """The answer of a view that gives one word, None for zero.

    Raises:
        BadEncoding: It is malformed.
    """
    value = decode_view(name, answer)[0]
    return None if value == ZERO32 else Bytes32(value)


def read_lease(answer: bytes) -> LeaseRequest | None:
    """The answer of `lease`, None if the board has none.

    Raises:
        BadEncoding: It is malformed.
    """
    lease: LeaseRequest = decode_view("lease", answer)[0]
    return None if lease.calls == 0 else lease
