"""vectors/unixfs: CIDs that Kubo gave, trees that a reader refuses, texts that are no CID."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from caimi.bundle.cid import DAG_PB, RAW, cid_of, format_cid
from caimi.bundle.dagpb import FileLink, encode_file_node
from caimi.bundle.unixfs import PROFILE, Profile
from caimi.types.primitives import Bytes32
from caimi.types.records import Cid
from caimi.wire.digests import cid_bytes
from vectorgen.content_recipe import RECIPE

__all__ = ["AddFile", "cid_suite", "files_suite", "trees_suite"]

AddFile = Callable[[str, int, Profile], str]
"""Gives the CID of (seed, size) under a profile: Kubo when vectors are made, our builder when they are compared."""

_MIB = 1 << 20
_SMALL = Profile(chunk_bytes=10, links_per_node=3)
_DEEP = Profile(chunk_bytes=64)
_FILES: tuple[tuple[str, int, Profile], ...] = (
    ("empty", 0, PROFILE),
    ("one byte", 1, PROFILE),
    ("one byte less than a leaf", _MIB - 1, PROFILE),
    ("exactly one leaf", _MIB, PROFILE),
    ("one byte more than a leaf", _MIB + 1, PROFILE),
    ("ten million bytes", 10_000_000, PROFILE),
    ("a hundred million bytes", 100_000_000, PROFILE),
    ("one full node", 174 * _MIB, PROFILE),
    ("a lone leaf beside a full node", 174 * _MIB + 1, PROFILE),
    ("two levels", 194_000_000, PROFILE),
    ("small leaves, two full levels", 64 * 174 * 174, _DEEP),
    ("small leaves, three levels", 64 * 174 * 174 + 1, _DEEP),
    ("narrow nodes, five levels full", 10 * 3**5, _SMALL),
    ("narrow nodes, six levels", 10 * 3**5 + 1, _SMALL),
    ("narrow nodes, ragged edge", 1000, _SMALL),
)


def files_suite(add: AddFile) -> dict[str, Any]:
    """unixfs/files.json."""
    cases: list[dict[str, Any]] = []
    for number, (comment, size, profile) in enumerate(_FILES, 1):
        seed = f"caimi unixfs {number}"
        cases.append(
            {
                "tcId": number,
                "comment": comment,
                "seed": seed,
                "size": size,
                "chunkBytes": profile.chunk_bytes,
                "linksPerNode": profile.links_per_node,
                "cid": add(seed, size, profile),
            }
        )
    return {"recipe": RECIPE, "profile": str(PROFILE), "oracle": "Kubo v0.39.0, POST /api/v0/add", "cases": cases}


def trees_suite() -> dict[str, Any]:
    """unixfs/trees.json: blocks fed in order to a reader of the profile; the last one is refused."""
    refusals = [*_node_refusals(), *_shape_refusals(), *_source_refusals()]
    for number, refusal in enumerate(refusals, 1000):
        refusal["tcId"] = number
    return {"profile": str(PROFILE), "maxContentBytes": 1 << 30, "recipe": RECIPE, "refusals": refusals}


def cid_suite() -> dict[str, Any]:
    """unixfs/cid.json: the text and binary forms."""
    raw, node = cid_of(RAW, b""), cid_of(DAG_PB, b"\x0a\x02\x08\x01")
    digest = raw.digest
    good = format_cid(raw)

    def multibase(prefix: bytes) -> str:
        return "b" + base64.b32encode(prefix + digest).decode().lower().rstrip("=")

    texts = {
        "empty": "",
        "without multibase": good[1:],
        "upper case": good.upper(),
        "padded": good + "=",
        "one character short": good[:-1],
        "one character more": good + "a",
        "trailing newline": good + "\n",
        "spare bits set": good[:-1] + chr(ord(good[-1]) + 1),
        "base16": "f" + cid_bytes(raw).hex(),
        "CIDv0": "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
        "version 2": multibase(b"\x02\x55\x12\x20"),
        "codec dag-cbor": multibase(b"\x01\x71\x12\x20"),
        "hash sha3-256": multibase(b"\x01\x55\x16\x20"),
        "identity hash": multibase(b"\x01\x55\x00\x20"),
        "digest length 31": multibase(b"\x01\x55\x12\x1f"),
    }
    binary = {
        "empty": b"",
        "short": cid_bytes(raw)[:-1],
        "long": cid_bytes(raw) + b"\0",
        "identity CID of 4 bytes": b"\x01\x55\x00\x04caim",
        "CIDv0": b"\x12\x20" + digest,
        "version 0": b"\x00" + cid_bytes(raw)[1:],
        "codec git": b"\x01\x78" + cid_bytes(raw)[2:],
        "hash sha2-512": b"\x01\x55\x13\x20" + digest,
        "non-minimal version": b"\x81\x00" + cid_bytes(raw)[1:-1],
    }
    cases = [
        {"tcId": i, "comment": c, "text": format_cid(cid), "binary": "0x" + cid_bytes(cid).hex()}
        for i, (c, cid) in enumerate((("raw, empty", raw), ("dag-pb", node)), 1)
    ]
    refusals: list[dict[str, Any]] = [{"comment": f"text: {c}", "text": t} for c, t in texts.items()]
    refusals += [{"comment": f"binary: {c}", "binary": "0x" + b.hex()} for c, b in binary.items()]
    for number, refusal in enumerate(refusals, 1000):
        refusal |= {"tcId": number, "error": "CidRefused"}
    return {"cases": cases, "refusals": refusals}


def _leaf_link(size: int, *, tree: int | None = None, codec: int = RAW) -> FileLink:
    cid = Cid(codec=codec, digest=Bytes32(hashlib.sha256(b"leaf %d" % size).digest()))
    return FileLink(cid=cid, content_bytes=size, tree_bytes=size if tree is None else tree)


def _case(comment: str, error: str, root: bytes) -> dict[str, Any]:
    fed = [{"cid": format_cid(cid_of(DAG_PB, root)), "data": "0x" + root.hex()}]
    return {"comment": comment, "error": error, "blocks": fed}


def _node_refusals() -> list[dict[str, Any]]:
    links = [_leaf_link(_MIB), _leaf_link(5)]
    good = encode_file_node(links)
    data = good[good.rindex(b"\x08\x02\x18") :]
    head = good[: -len(data) - 2]  # without the data field's key and length

    def node(payload: bytes, prefix: bytes = head) -> bytes:
        return prefix + b"\x0a" + bytes([len(payload)]) + payload

    def link(hash_: bytes, *, name: bytes = b"\x12\x00", size: bytes = b"\x18\x05") -> bytes:
        body = b"\x0a" + bytes([len(hash_)]) + hash_ + name + size
        return b"\x12" + bytes([len(body)]) + body

    leaf = cid_bytes(links[1].cid)
    one = b"\x08\x02\x18\x05\x20\x05"
    identity = b"\x01\x55\x00\x05hello"
    cid_v0 = b"\x12\x20" + links[1].cid.digest
    bad: list[tuple[str, bytes]] = [
        ("empty block", b""),
        ("the data before the links", b"\x0a" + bytes([len(data)]) + data + head),
        ("a number of two bytes where one does", node(b"\x08\x82\x00" + data[2:])),
        ("an unknown field", good + b"\x1a\x00"),
        ("two data fields", good + b"\x0a" + bytes([len(data)]) + data),
        ("wire type 5", b"\x15\x00\x00\x00\x00" + good),
        ("cut off", good[:-1]),
        ("a number of ten bytes", b"\x12" + b"\xff" * 9 + b"\x01" + good),
        ("a directory", node(b"\x08\x01")),
        ("a symlink", node(b"\x08\x04" + data[2:])),
        ("inline data", node(data[:2] + b"\x12\x01x" + data[2:])),
        ("a file mode", node(data + b"\x38\xa4\x03")),
        ("a modification time", node(data + b"\x42\x02\x08\x01")),
        ("another total than the sum", node(b"\x08\x02\x18\x07" + data[data.index(b"\x20") :])),
        ("more links than sizes", node(b"\x08\x02\x18\x80\x80\x40\x20\x80\x80\x40")),
        ("no links", node(b"\x08\x02\x18\x00", b"")),
        ("a named link", node(one, link(leaf, name=b"\x12\x01a"))),
        ("a link without a size", node(one, link(leaf, size=b""))),
        ("a link without a name field", node(one, link(leaf, name=b""))),
        ("an identity CID as link", node(one, link(identity))),
        ("a CIDv0 as link", node(one, link(cid_v0))),
        ("a dag-cbor link", node(one, link(b"\x01\x71" + leaf[2:]))),
        ("175 links", _wide(175)),
    ]
    return [_case(f"node: {comment}", "MalformedNode", block) for comment, block in bad]


def _wide(count: int) -> bytes:
    return encode_file_node([_leaf_link(_MIB)] * count)


def _shape_refusals() -> list[dict[str, Any]]:
    full = [_leaf_link(_MIB)] * 174
    inner = encode_file_node(full)
    inner_link = FileLink(cid=cid_of(DAG_PB, inner), content_bytes=174 * _MIB, tree_bytes=len(inner) + 174 * _MIB)
    lone = encode_file_node([_leaf_link(1)])
    lone_link = FileLink(cid=cid_of(DAG_PB, lone), content_bytes=1, tree_bytes=len(lone) + 1)

    def root(*links: FileLink) -> bytes:
        return encode_file_node(links)

    def child(comment: str, top: Sequence[FileLink], block: bytes) -> dict[str, Any]:
        case = _case(comment, "WrongProfile", root(*top))
        case["blocks"].append({"cid": format_cid(top[0].cid), "data": "0x" + block.hex()})
        return case

    short = _leaf_link(_MIB)
    tiny = b"ten bytes!"
    tiny_link = FileLink(cid=cid_of(RAW, tiny), content_bytes=_MIB, tree_bytes=_MIB)
    wrong_total = FileLink(cid=inner_link.cid, content_bytes=174 * _MIB, tree_bytes=inner_link.tree_bytes + 1)
    other_node = encode_file_node([_leaf_link(_MIB)] * 173 + [_leaf_link(_MIB - 1)])
    other_link = FileLink(
        cid=cid_of(DAG_PB, other_node), content_bytes=174 * _MIB, tree_bytes=len(other_node) + 174 * _MIB - 1
    )
    return [
        _case("shape: a node over a single leaf", "WrongProfile", lone),
        _case("shape: a node over a single full leaf", "WrongProfile", root(short)),
        _case("shape: leaves of half the size", "WrongProfile", root(*[_leaf_link(_MIB // 2)] * 3)),
        _case("shape: a short leaf that is not the last", "WrongProfile", root(_leaf_link(5), short)),
        _case("shape: an empty leaf at the end", "WrongProfile", root(short, _leaf_link(0))),
        _case("shape: a leaf beside a node", "WrongProfile", root(inner_link, _leaf_link(1))),
        _case("shape: nodes where leaves belong", "WrongProfile", root(_leaf_link(_MIB, codec=DAG_PB), _leaf_link(1))),
        _case("shape: a leaf's tree size is not its size", "WrongProfile", root(short, _leaf_link(1, tree=2))),
        child("shape: a leaf smaller than announced", [tiny_link, _leaf_link(1)], tiny),
        child("shape: a node's tree size differs from its parent's word", [wrong_total, lone_link], inner),
        child("shape: a node's content differs from its parent's word", [other_link, lone_link], other_node),
        _case("size: a terabyte", "DagTooLarge", root(*[_leaf_link(1 << 33, codec=DAG_PB)] * 128)),
    ]


def _source_refusals() -> list[dict[str, Any]]:
    root = encode_file_node([_leaf_link(_MIB), _leaf_link(5)])
    flipped = bytes([root[0] ^ 1]) + root[1:]
    swapped = _case("source: the root's bytes for the first leaf, as in a cycle", "BlockMismatch", root)
    swapped["blocks"].append({"cid": format_cid(_leaf_link(_MIB).cid), "data": "0x" + root.hex()})
    changed = _case("source: one bit changed", "BlockMismatch", root)
    changed["blocks"][0]["data"] = "0x" + flipped.hex()
    unasked = _case("source: the second leaf before the first", "UnaskedBlock", root)
    leaf = b"12345"
    unasked["blocks"].append({"cid": format_cid(cid_of(RAW, leaf)), "data": "0x" + leaf.hex()})
    return [swapped, changed, unasked]
