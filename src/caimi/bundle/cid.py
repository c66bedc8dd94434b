"""The text and binary form of the one kind of CID that CAIMI uses (spec 15 §1)."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from caimi.bundle.buffers import BytesLike
from caimi.bundle.errors import CidRefused
from caimi.types.primitives import Bytes32
from caimi.types.records import Cid
from caimi.wire.digests import cid_bytes

__all__ = ["CID_BYTES", "CID_TEXT_CHARS", "DAG_PB", "RAW", "cid_of", "decode_cid", "format_cid", "parse_cid"]

RAW: Final = 0x55
"""Codec of a leaf: the block is the content."""
DAG_PB: Final = 0x70
"""Codec of a node: the block is a dag-pb UnixFS file node."""
CID_BYTES: Final = 36
"""Length of the binary form: 0x01, codec, 0x12 (sha2-256), 0x20 (32 bytes), digest."""
CID_TEXT_CHARS: Final = 59
"""Length of the text form: `b` and 58 characters of lower-case base32 without padding."""

_TEXT: Final = re.compile(r"b[a-z2-7]{58}")


def cid_of(codec: int, block: BytesLike) -> Cid:
    """The CID of a block: `codec` is RAW or DAG_PB."""
    return Cid(codec=codec, digest=Bytes32(hashlib.sha256(block).digest()))


def decode_cid(data: bytes) -> Cid:
    """Decode the 36-byte binary form.

    Raises:
        CidRefused: Another length, version, codec, or hash; identity CIDs and CIDv0 are among them.
    """
    if len(data) != CID_BYTES:
        raise CidRefused(f"a CID has {CID_BYTES} bytes, not {len(data)}")
    if data[0] != 1:
        raise CidRefused(f"CID version {data[0]}, expected 1")
    if data[1] not in (RAW, DAG_PB):
        raise CidRefused(f"codec 0x{data[1]:02x}, expected raw (0x55) or dag-pb (0x70)")
    if data[2:4] != b"\x12\x20":
        raise CidRefused(f"multihash {data[2:4].hex()}, expected sha2-256 with 32 bytes (1220)")
    return Cid(codec=data[1], digest=Bytes32(bytes(data[4:])))


def format_cid(cid: Cid) -> str:
    """The text form: 59 characters, multibase `b`."""
    return "b" + base64.b32encode(cid_bytes(cid)).decode("ascii").lower().rstrip("=")


def parse_cid(text: str) -> Cid:
    """Parse the text form, strictly: one text for one CID.

    Raises:
        CidRefused: Another multibase, upper case, padding, set spare bits, or what `decode_cid` refuses.
    """
    if _TEXT.fullmatch(text) is None:
        raise CidRefused(f"a CID is 'b' and 58 characters a-z 2-7, not {text[:80]!r}")
    cid = decode_cid(base64.b32decode(text[1:].upper() + "======"))
    if format_cid(cid) != text:  # 58 characters hold 290 bits, 2 more than the 36 bytes
        raise CidRefused(f"{text!r} has bits set after the last byte")
    return cid
