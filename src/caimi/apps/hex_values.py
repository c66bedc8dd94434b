"""Byte strings in JSON and queries: 0x and hex digits."""

from __future__ import annotations

from caimi.types.errors import BadEncoding
from caimi.types.primitives import Bytes32, bytes32
from caimi.types.records import Lane

__all__ = ["hex_of", "read_bytes32", "read_hex", "read_lane"]


def hex_of(value: bytes) -> str:
    """0x and lower-case hex digits."""
    return "0x" + value.hex()


def read_hex(text: str) -> bytes:
    """Inverse of `hex_of`.

    Raises:
        BadEncoding: No 0x, or no hex digits after it.
    """
    try:
        if not text.startswith("0x") or not text.isascii() or " " in text:
            raise BadEncoding
        return bytes.fromhex(text[2:])
    except ValueError as error:
        raise BadEncoding from error


def read_bytes32(text: str) -> Bytes32:
    """32 bytes.

    Raises:
        BadEncoding, BadLength: They are not.
    """
    return bytes32(read_hex(text))


def read_lane(chain: str, registry: str) -> Lane:
    """A lane from its two identifiers.

    Raises:
        BadEncoding, BadLength: They are not 32 bytes each.
    """
    return Lane(chain=read_bytes32(chain), registry=read_bytes32(registry))
