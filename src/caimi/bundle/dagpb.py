"""Canonical dag-pb nodes of UnixFS files (spec 15 §2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from caimi.bundle.cid import decode_cid
from caimi.bundle.errors import CidRefused, MalformedNode
from caimi.types.records import Cid
from caimi.wire.digests import cid_bytes

__all__ = ["MAX_LINKS", "FileLink", "decode_file_node", "encode_file_node"]

MAX_LINKS: Final = 174
"""Most links that one node holds."""

_LENGTH_DELIMITED: Final = 2
_VARINT: Final = 0
_FILE: Final = 2  # UnixFS data type "File"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLink:
    """One child of a file node."""

    cid: Cid
    content_bytes: int
    """Bytes of the file below this child, 0 <= x < 2**63."""
    tree_bytes: int
    """Bytes of all blocks below and including this child (Tsize), 0 <= x < 2**63."""


def encode_file_node(links: Sequence[FileLink]) -> bytes:
    """Encode a node with 1 to 174 links."""
    out = bytearray()
    for link in links:
        cid = cid_bytes(link.cid)
        body = b"\x0a" + _varint(len(cid)) + cid + b"\x12\x00\x18" + _varint(link.tree_bytes)
        out += b"\x12" + _varint(len(body)) + body
    total = sum(link.content_bytes for link in links)
    data = b"\x08\x02\x18" + _varint(total) + b"".join(b"\x20" + _varint(link.content_bytes) for link in links)
    return bytes(out + b"\x0a" + _varint(len(data)) + data)


def decode_file_node(block: bytes) -> tuple[FileLink, ...]:
    """Decode a node, strictly: the only bytes accepted are those that `encode_file_node` gives.

    Raises:
        MalformedNode: Anything else, among it directories, names, inline data, modes, times and more than 174 links.
    """
    hashes: list[Cid] = []
    trees: list[int] = []
    sizes: list[int] = []
    for field, value in _fields(block):
        if field == 2 and isinstance(value, bytes):
            if len(hashes) == MAX_LINKS:
                raise MalformedNode(f"more than {MAX_LINKS} links")
            cid, tree_bytes = _link(value)
            hashes.append(cid)
            trees.append(tree_bytes)
        elif field == 1 and isinstance(value, bytes) and not sizes:
            sizes = _block_sizes(value)
        else:
            raise MalformedNode(f"unexpected field {field} in a node")
    if not hashes or len(hashes) != len(sizes):
        raise MalformedNode(f"{len(hashes)} links and {len(sizes)} block sizes")
    rows = zip(hashes, sizes, trees, strict=True)
    links = tuple(FileLink(cid=c, content_bytes=s, tree_bytes=t) for c, s, t in rows)
    # Field order, the announced total, empty names and minimal numbers are all checked by encoding again.
    if encode_file_node(links) != block:
        raise MalformedNode("the node is not in canonical form")
    return links


def _link(data: bytes) -> tuple[Cid, int]:
    fields = dict(_fields(data))
    raw, tree_bytes = fields.get(1), fields.get(3)
    if not isinstance(raw, bytes) or not isinstance(tree_bytes, int):
        raise MalformedNode("a link needs a CID and a size")
    try:
        return decode_cid(raw), tree_bytes
    except CidRefused as error:
        raise MalformedNode(f"a link's CID is refused: {error}") from error


def _block_sizes(data: bytes) -> list[int]:
    sizes: list[int] = []
    kind: int | bytes | None = None
    for field, value in _fields(data):
        if field == 1:
            kind = value
        if field == 4 and isinstance(value, int):
            sizes.append(value)
            if len(sizes) > MAX_LINKS:
                raise MalformedNode(f"more than {MAX_LINKS} block sizes")
    if kind != _FILE:
        raise MalformedNode("not a UnixFS file")
    return sizes


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    # Protocol-buffer fields of wire types 0 and 2, the only ones that dag-pb and UnixFS use.
    position = 0
    while position < len(data):
        key, position = _read_varint(data, position)
        value, position = _read_varint(data, position)
        if key & 7 == _VARINT:
            yield key >> 3, value
        elif key & 7 == _LENGTH_DELIMITED:
            if value > len(data) - position:
                raise MalformedNode("a field is longer than its block")
            yield key >> 3, data[position : position + value]
            position += value
        else:
            raise MalformedNode(f"wire type {key & 7}")


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):  # at most 9 bytes, so below 2**63
        if position >= len(data):
            raise MalformedNode("the block ends inside a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise MalformedNode("a number is longer than 9 bytes")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
