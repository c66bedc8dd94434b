"""Identifiers and units (spec 00). Every byte string has one length; every number has one unit."""

from __future__ import annotations

import re
from typing import Final, NewType

from caimi.types.errors import BadLength, OutOfRange

__all__ = [
    "ZERO32",
    "Address",
    "Bytes32",
    "Epoch",
    "Generation",
    "PublicationId",
    "Sequence",
    "SignerIndex",
    "UnixSeconds",
    "address",
    "bytes32",
    "checked_uint",
    "is_publication_name",
]

Bytes32 = NewType("Bytes32", bytes)
"""Exactly 32 bytes."""
Address = NewType("Address", bytes)
"""An account on any ledger: the 20-byte secp256k1 address (spec 00 §2)."""
PublicationId = NewType("PublicationId", Bytes32)
"""EIP-712 digest of a `Publication` (spec 10 §4)."""
UnixSeconds = NewType("UnixSeconds", int)
"""Seconds since the Unix epoch, 0 <= x < 2**64."""
Sequence = NewType("Sequence", int)
"""Number of an event of one registry, gapless, first is 1."""
Epoch = NewType("Epoch", int)
"""Number of a validator set, first is 1."""
Generation = NewType("Generation", int)
"""Number of a lane's life: raised by governance after a finality break, first is 1."""
SignerIndex = NewType("SignerIndex", int)
"""Place of a validator in the present set, 0 <= i < n."""

ZERO32: Final = Bytes32(bytes(32))
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


def bytes32(value: bytes) -> Bytes32:
    """Check that `value` is 32 bytes long.

    Raises:
        BadLength: It is not.
    """
    if len(value) != 32:
        raise BadLength(32, len(value))
    return Bytes32(bytes(value))


def address(value: bytes) -> Address:
    """Check that `value` is a 20-byte account.

    Raises:
        BadLength: It is not.
    """
    if len(value) != 20:
        raise BadLength(20, len(value))
    return Address(bytes(value))


def checked_uint(value: int, bits: int) -> int:
    """Return `value` if 0 <= value < 2**bits.

    Raises:
        OutOfRange: It is not.
    """
    if not 0 <= value < 1 << bits:
        raise OutOfRange(bits, value)
    return value


def is_publication_name(name: str) -> bool:
    """Tell whether `name` is 1 to 64 of a-z 0-9 . _ - and begins and ends with a letter or digit."""
    return _NAME.fullmatch(name) is not None
