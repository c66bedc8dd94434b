"""Strict readers of JSON-RPC values: quantities, data and objects."""

from __future__ import annotations

import re
from typing import Any, Final, TypeGuard, cast

from caimi.chains.ethereum.errors import MalformedAnswer
from caimi.types.primitives import Address, Bytes32

__all__ = ["as_address", "as_data", "as_hash", "as_list", "as_object", "as_quantity", "hex_data", "hex_quantity"]

_QUANTITY: Final = re.compile(r"0x(?:0|[1-9a-f][0-9a-f]{0,63})")
_DATA: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*")


def as_object(value: object, what: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        MalformedAnswer: It is anything else.
    """
    if not isinstance(value, dict):
        raise MalformedAnswer(f"{what} is no object")
    return cast("dict[str, Any]", value)


def as_list(value: object, what: str, *, limit: int) -> list[Any]:
    """A JSON array of at most `limit` elements.

    Raises:
        MalformedAnswer: It is anything else.
    """
    if not isinstance(value, list) or len(cast("list[Any]", value)) > limit:
        raise MalformedAnswer(f"{what} is no list of at most {limit}")
    return cast("list[Any]", value)


def as_quantity(value: object, what: str, *, bits: int = 64) -> int:
    """A number in the canonical hexadecimal form, below 2**bits.

    Raises:
        MalformedAnswer: It is anything else.
    """
    if not _is_match(value, _QUANTITY):
        raise MalformedAnswer(f"{what} is no quantity")
    number = int(value, 16)
    if number >> bits:
        raise MalformedAnswer(f"{what} has more than {bits} bits")
    return number


def as_data(value: object, what: str, *, limit: int) -> bytes:
    """Bytes in hexadecimal, at most `limit` of them.

    Raises:
        MalformedAnswer: It is anything else.
    """
    if not _is_match(value, _DATA) or len(value) > 2 * limit + 2:
        raise MalformedAnswer(f"{what} is no data of at most {limit} bytes")
    return bytes.fromhex(value[2:])


def as_hash(value: object, what: str) -> Bytes32:
    """32 bytes in hexadecimal.

    Raises:
        MalformedAnswer: It is anything else.
    """
    data = as_data(value, what, limit=32)
    if len(data) != 32:
        raise MalformedAnswer(f"{what} is no hash")
    return Bytes32(data)


def as_address(value: object, what: str) -> Address:
    """20 bytes in hexadecimal; the case of the digits does not matter.

    Raises:
        MalformedAnswer: It is anything else.
    """
    data = as_data(value, what, limit=20)
    if len(data) != 20:
        raise MalformedAnswer(f"{what} is no address")
    return Address(data)


def hex_quantity(number: int) -> str:
    """A number as JSON-RPC wants it."""
    return hex(number)


def hex_data(data: bytes) -> str:
    """Bytes as JSON-RPC wants them."""
    return "0x" + data.hex()


def _is_match(value: object, pattern: re.Pattern[str]) -> TypeGuard[str]:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
