"""dag-pb nodes: canonical or refused, whatever the bytes are. The vectors hold the named refusals."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caimi.bundle.cid import DAG_PB, RAW, cid_of
from caimi.bundle.dagpb import MAX_LINKS, FileLink, decode_file_node, encode_file_node
from caimi.bundle.errors import MalformedNode

_SIZES = st.integers(0, 2**55)
_CIDS = st.builds(cid_of, st.sampled_from([RAW, DAG_PB]), st.binary(max_size=4))
_LINKS = st.builds(FileLink, cid=_CIDS, content_bytes=_SIZES, tree_bytes=_SIZES)


@given(st.lists(_LINKS, min_size=1, max_size=8))
def test_nodes_come_back(links: list[FileLink]) -> None:
    assert list(decode_file_node(encode_file_node(links))) == links


@given(st.binary(max_size=200))
def test_any_bytes_are_canonical_or_refused(block: bytes) -> None:
    with contextlib.suppress(MalformedNode):
        assert encode_file_node(decode_file_node(block)) == block


@given(st.data())
def test_a_changed_byte_is_refused_or_gives_another_node(data: st.DataObject) -> None:
    links = data.draw(st.lists(_LINKS, min_size=1, max_size=3))
    block = bytearray(encode_file_node(links))
    block[data.draw(st.integers(0, len(block) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(MalformedNode):
        assert list(decode_file_node(bytes(block))) != links


def test_accepts_a_full_node_and_rejects_one_link_more() -> None:
    link = FileLink(cid=cid_of(RAW, b""), content_bytes=1, tree_bytes=1)
    assert len(decode_file_node(encode_file_node([link] * MAX_LINKS))) == MAX_LINKS
    with pytest.raises(MalformedNode, match="more than 174 links"):
        decode_file_node(encode_file_node([link] * (MAX_LINKS + 1)))


def test_rejects_many_block_sizes_before_storing_them() -> None:
    data = b"\x08\x02" + b"\x20\x01" * 1_000_000
    block = b"\x0a" + bytes([0x82, 0x89, 0x7A]) + data
    with pytest.raises(MalformedNode, match="more than 174 block sizes"):
        decode_file_node(block)


def test_rejects_sizes_whose_sum_does_not_fit() -> None:
    link = FileLink(cid=cid_of(RAW, b""), content_bytes=2**62, tree_bytes=1)
    with pytest.raises(MalformedNode):
        decode_file_node(encode_file_node([link] * 3))


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"\x12", "ends inside a number"),
        (b"\x12\x80", "ends inside a number"),
        (b"\x12\x05ab", "longer than its block"),
        (b"\x12\x04\x08\x01\x18\x01", "needs a CID and a size"),  # the hash is a number
        (b"\x12\x02\x18\x01", "needs a CID and a size"),  # no hash
        (b"\x12\x05\x0a\x00\x1a\x01x", "needs a CID and a size"),  # the size is a text
        (b"\x0a\x02\x08\x01", "not a UnixFS file"),
        (b"\x0a\x03\x0a\x01\x02", "not a UnixFS file"),  # the type is a text
        (b"\x08\x01", "unexpected field 1"),  # the data is a number
        (b"\x10\x01", "unexpected field 2"),  # a link is a number
        (b"\x0b", "the block ends inside a number"),
        (b"\x0d\x00", "wire type 5"),
    ],
)
def test_rejects_with_the_reason(block: bytes, reason: str) -> None:
    with pytest.raises(MalformedNode, match=reason):
        decode_file_node(block)
