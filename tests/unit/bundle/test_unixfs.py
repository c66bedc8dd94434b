"""Trees of blocks: builder and verifying reader. The vectors hold Kubo's CIDs and the named refusals."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caimi.bundle.cid import DAG_PB, RAW, cid_of
from caimi.bundle.dagpb import decode_file_node
from caimi.bundle.errors import (
    BlockMismatch,
    BlockTooLarge,
    DagTooLarge,
    OutOfOrder,
    UnaskedBlock,
    WrongProfile,
)
from caimi.bundle.unixfs import (
    MAX_BLOCK_BYTES,
    PROFILE,
    Block,
    DagReader,
    FileRoot,
    Profile,
    UnixFsBuilder,
    verify_block,
)
from caimi.types.failure import Blame
from caimi.types.records import Cid

SMALL = Profile(chunk_bytes=10, links_per_node=3)


def build(content: bytes, profile: Profile = SMALL) -> tuple[FileRoot, list[Block]]:
    builder = UnixFsBuilder(profile)
    blocks = [Block(cid=b.cid, data=bytes(b.data)) for b in builder.blocks([content])]
    return builder.root, blocks


def read(root: Cid, blocks: dict[Cid, Block], *, limit: int = 1 << 30, profile: Profile = SMALL) -> bytes:
    reader, out = DagReader(root, max_content_bytes=limit, profile=profile), b""
    while not reader.is_done:
        out += bytes(reader.feed(blocks[reader.due()[0]]))
    return out


@given(st.integers(0, 900), st.integers(2, 5), st.integers(1, 11), st.booleans())
def test_what_was_built_is_read(size: int, links: int, chunk: int, is_repetitive: bool) -> None:
    profile = Profile(chunk_bytes=chunk, links_per_node=links)
    content = bytes(size) if is_repetitive else bytes(i * 7 % 251 for i in range(size))
    root, blocks = build(content, profile)
    assert root.content_bytes == size
    assert root.blocks == len(blocks)
    assert read(root.cid, {b.cid: b for b in blocks}, profile=profile) == content


@given(st.lists(st.binary(max_size=30), max_size=9))
def test_the_cut_of_the_stream_does_not_matter(chunks: list[bytes]) -> None:
    builder = UnixFsBuilder(SMALL)
    for _ in builder.blocks(chunks):
        pass
    assert builder.root == build(b"".join(chunks))[0]


@given(st.integers(0, 300))
def test_children_come_before_parents_and_the_root_last(size: int) -> None:
    root, blocks = build(bytes(i % 251 for i in range(size)))
    assert blocks[-1].cid == root.cid
    seen: set[Cid] = set()
    for block in blocks:
        if block.cid.codec == DAG_PB:
            assert {link.cid for link in decode_file_node(bytes(block.data))} <= seen
        seen.add(block.cid)


def test_the_profile_is_recorded_with_the_root() -> None:
    root, _ = build(b"x", PROFILE)
    assert root.profile == str(PROFILE)
    assert "chunker=size-1048576 max-file-links=174" in root.profile


def test_memory_of_the_builder_does_not_grow_with_the_content() -> None:
    def chunks() -> Iterator[bytes]:
        piece = bytes(1 << 20)
        for _ in range(64):
            yield piece

    builder = UnixFsBuilder()
    tracemalloc.start()
    try:
        for _ in builder.blocks(chunks()):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20  # of 64 MiB


def test_rejects_a_second_use_of_a_builder_and_an_early_root() -> None:
    builder = UnixFsBuilder(SMALL)
    with pytest.raises(OutOfOrder, match="not finished"):
        _ = builder.root
    for _ in builder.blocks([b"x"]):
        pass
    with pytest.raises(OutOfOrder, match="one tree"):
        next(builder.blocks([b"x"]))


def test_the_next_blocks_are_told_in_order() -> None:
    root, blocks = build(bytes(range(60)))  # 6 leaves below 2 nodes
    by_cid = {b.cid: b for b in blocks}
    reader = DagReader(root.cid, max_content_bytes=60, profile=SMALL)
    assert reader.due(9) == (root.cid,)
    assert reader.content_bytes is None
    reader.feed(by_cid[root.cid])
    assert reader.content_bytes == 60
    first, second = reader.due(9)
    reader.feed(by_cid[first])
    assert reader.due(9)[3] == second
    assert [bytes(by_cid[c].data)[0] for c in reader.due(3)] == [0, 10, 20]
    assert reader.due(2) == reader.due(9)[:2]


def test_rejects_an_unasked_block_and_goes_on_with_the_right_one() -> None:
    root, blocks = build(bytes(range(30)))
    by_cid = {b.cid: b for b in blocks}
    reader = DagReader(root.cid, max_content_bytes=30, profile=SMALL)
    reader.feed(by_cid[root.cid])
    first, second, _ = reader.due(3)
    with pytest.raises(UnaskedBlock) as caught:
        reader.feed(by_cid[second])
    assert caught.value.blame is Blame.NODE
    assert bytes(reader.feed(by_cid[first])) == bytes(range(10))


def test_rejects_a_block_after_the_end() -> None:
    root, blocks = build(b"abc")
    reader = DagReader(root.cid, max_content_bytes=3, profile=SMALL)
    reader.feed(blocks[0])
    assert reader.is_done
    assert reader.due() == ()
    with pytest.raises(UnaskedBlock):
        reader.feed(blocks[0])


@pytest.mark.parametrize("size", [10, 11, 100])
def test_rejects_content_over_the_limit_before_asking_for_more(size: int) -> None:
    root, blocks = build(bytes(range(size)))
    assert read(root.cid, {b.cid: b for b in blocks}, limit=size) == bytes(range(size))
    reader = DagReader(root.cid, max_content_bytes=size - 1, profile=SMALL)
    with pytest.raises(DagTooLarge, match=f"content of {size} bytes, the limit is {size - 1}") as caught:
        reader.feed({b.cid: b for b in blocks}[root.cid])
    assert caught.value.blame is Blame.PUBLISHER
    assert reader.content_bytes is None


def test_rejects_a_raw_root_larger_than_a_leaf() -> None:
    block = Block(cid=cid_of(RAW, bytes(11)), data=bytes(11))
    with pytest.raises(WrongProfile, match="a leaf of 11 bytes, the profile's is 10"):
        DagReader(block.cid, max_content_bytes=99, profile=SMALL).feed(block)


def test_rejects_a_tree_of_another_profile() -> None:
    root, blocks = build(bytes(range(100)), Profile(chunk_bytes=10, links_per_node=4))
    with pytest.raises(WrongProfile):
        read(root.cid, {b.cid: b for b in blocks})


def test_rejects_wrong_and_oversize_bytes_for_a_cid() -> None:
    cid = cid_of(RAW, b"right")
    assert verify_block(cid, b"right").cid == cid
    with pytest.raises(BlockMismatch) as caught:
        verify_block(cid, b"wrong")
    assert caught.value.blame is Blame.NODE
    big = bytes(MAX_BLOCK_BYTES + 1)
    with pytest.raises(BlockTooLarge):
        verify_block(cid_of(RAW, big), big)
    assert verify_block(cid_of(RAW, big[1:]), big[1:]).data == big[1:]
