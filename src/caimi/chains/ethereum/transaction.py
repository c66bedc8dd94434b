"""EIP-1559 transactions (type 2): encoding, signing, reading back. No other kind is ever sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

import rlp
from rlp.exceptions import RLPException

from caimi.crypto.ecdsa import SigningKey
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Address, Bytes32
from caimi.wire.keccak import keccak256

__all__ = ["SignedTransaction", "Transaction", "read_transaction", "sign_transaction"]

_TYPE: Final = b"\x02"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """What is signed. Amounts are in wei."""

    chain_id: int
    nonce: int
    """u64."""
    max_priority_fee: int
    """Per gas, to the block's proposer."""
    max_fee: int
    """Per gas, everything together."""
    gas: int
    """Gas limit."""
    to: Address | None
    """None makes a contract."""
    data: bytes
    value: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTransaction:
    """Ready to send."""

    raw: bytes
    hash: Bytes32
    """keccak256 of `raw`: the id on the chain."""


def _fields(transaction: Transaction) -> list[Any]:
    t = transaction
    return [t.chain_id, t.nonce, t.max_priority_fee, t.max_fee, t.gas, t.to or b"", t.value, t.data, []]


def _encode(fields: list[Any]) -> bytes:
    return _TYPE + cast(bytes, cast(Any, rlp).encode(fields))


def sign_transaction(transaction: Transaction, key: SigningKey) -> SignedTransaction:
    """Sign with the sender's key; deterministic, low-s.

    Raises:
        BadEncoding: A number is negative.
    """
    fields = _fields(transaction)
    try:
        signature = key.sign(keccak256(_encode(fields)))
        r, s = int.from_bytes(signature.r, "big"), int.from_bytes(signature.s, "big")
        raw = _encode([*fields, signature.v - 27, r, s])
    except (RLPException, TypeError) as error:
        raise BadEncoding from error
    return SignedTransaction(raw=raw, hash=keccak256(raw))


def read_transaction(raw: bytes) -> Transaction:
    """The fields of a signed transaction that we made; the signature is not checked.

    Raises:
        BadEncoding: The bytes are no type-2 transaction without access list.
    """
    if raw[:1] != _TYPE:
        raise BadEncoding
    try:
        fields: list[Any] = list(cast(Any, rlp).decode(raw[1:], strict=True))
    except (RLPException, TypeError) as error:
        raise BadEncoding from error
    if len(fields) != 12 or fields[8] != [] or any(isinstance(f, list) for f in fields[:8]):
        raise BadEncoding
    if len(fields[5]) not in (0, 20):
        raise BadEncoding
    chain_id, nonce, priority, fee, gas = (int.from_bytes(f, "big") for f in fields[:5])
    return Transaction(
        chain_id=chain_id,
        nonce=nonce,
        max_priority_fee=priority,
        max_fee=fee,
        gas=gas,
        to=Address(fields[5]) if fields[5] else None,
        data=fields[7],
        value=int.from_bytes(fields[6], "big"),
    )
