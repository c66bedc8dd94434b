"""Uploads that are interrupted and continued, reads from sources of which some lie or lack blocks."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence

import pytest

from caimi.bundle.cid import RAW, cid_of
from caimi.bundle.dagpb import FileLink, encode_file_node
from caimi.bundle.errors import BlockMismatch, OutOfOrder, WrongProfile
from caimi.bundle.unixfs import PROFILE, Block, UnixFsBuilder, verify_block
from caimi.ports.content import (
    AllSourcesFailed,
    BlockMissing,
    BlockSource,
    ContentStore,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    UploadProgress,
)
from caimi.storage.memory import MemoryBlockStore
from caimi.storage.transfer import Content
from caimi.types.records import Cid

CONTENT = hashlib.shake_128(b"content").digest(5_500_000)  # six leaves and a root
BUILDER = UnixFsBuilder()
BLOCKS = [Block(cid=b.cid, data=bytes(b.data)) for b in BUILDER.blocks([CONTENT])]
ROOT = BUILDER.root.cid
LEAVES = [b.cid for b in BLOCKS[:-1]]


class Recorded(MemoryBlockStore):
    """Remembers what it was asked; fails as told."""

    def __init__(self, name: str = "store", *, blocks: Sequence[Block] = (), room: int | None = None) -> None:
        super().__init__(name)
        self.gets: list[Cid] = []
        self.puts: list[Cid] = []
        self.room = room
        self.lies: set[Cid] = set()
        self.is_away = False
        for block in blocks:
            self._blocks[block.cid] = bytes(block.data)

    async def get(self, cid: Cid) -> Block:
        self.gets.append(cid)
        if self.is_away:
            raise StoreUnavailable(f"{self.name} is away")
        if cid in self.lies:
            return verify_block(cid, b"a lie")
        return await super().get(cid)

    async def put(self, block: Block) -> None:
        if self.room is not None and len(self.puts) >= self.room:
            raise StoreFull("no room")
        self.puts.append(block.cid)
        await super().put(block)


def upload(store: MemoryBlockStore, *, window: int = 2) -> list[UploadProgress]:
    told: list[UploadProgress] = []
    content = Content(sources=[], store=store, window=window)
    assert asyncio.run(content.upload([CONTENT], progress=told.append)).cid == ROOT
    return told


async def read(sources: Sequence[BlockSource], *, ahead: int = 4, root: Cid = ROOT) -> tuple[bytes, list[str]]:
    stream = await Content(sources=sources, ahead=ahead).open(root, max_content_bytes=1 << 30)
    content = b"".join([bytes(piece) async for piece in stream])
    return content, [f"{f.source}: {type(f.error).__name__}" for f in stream.failures]


def test_progress_is_told_by_windows() -> None:
    told = upload(Recorded())
    assert [p.blocks for p in told] == [2, 4, 6, 7]
    assert [p.sent_blocks for p in told] == [2, 4, 6, 7]
    assert told[-1].content_bytes == len(CONTENT)


def test_the_result_says_cid_size_and_profile() -> None:
    root = asyncio.run(Content(sources=[], store=Recorded()).upload([CONTENT]))
    assert (root.cid, root.content_bytes, root.blocks, root.profile) == (ROOT, len(CONTENT), 7, str(PROFILE))


@pytest.mark.parametrize("window", [1, 2, 3, 7, 16])
def test_the_root_comes_last(window: int) -> None:
    store = Recorded()
    upload(store, window=window)
    assert store.puts[-1] == ROOT
    assert set(store.puts[:-1]) == set(LEAVES)


@pytest.mark.parametrize("room", range(7))
def test_an_upload_that_was_interrupted_shows_no_content_and_is_continued(room: int) -> None:
    store = Recorded(room=room)
    with pytest.raises(StoreFull):
        upload(store)
    assert len(store.puts) == room
    assert not asyncio.run(store.has(ROOT))
    done, store.room, store.puts = set(store.puts), None, []
    told = upload(store)
    assert set(store.puts) == {b.cid for b in BLOCKS} - done  # only what was missing
    assert told[-1].sent_blocks == 7 - room
    assert asyncio.run(read([store]))[0] == CONTENT


def test_a_content_that_fails_to_read_leaves_no_root() -> None:
    def broken() -> Iterator[bytes]:
        yield CONTENT[: 3 << 20]
        raise FileNotFoundError("the model was moved")

    store = Recorded()
    with pytest.raises(FileNotFoundError):
        asyncio.run(Content(sources=[], store=store, window=1).upload(broken()))
    assert not asyncio.run(store.has(ROOT))
    assert len(store.puts) == 2  # the third leaf might have been the last


def test_equal_leaves_are_sent_once() -> None:
    store = Recorded()
    asyncio.run(Content(sources=[], store=store, window=16).upload([bytes(5 << 20)]))
    assert len(store.puts) == 2
    root = store.puts[-1]
    assert asyncio.run(read([store], root=root))[0] == bytes(5 << 20)


def test_rejects_an_upload_without_a_store() -> None:
    with pytest.raises(StoreRefused):
        asyncio.run(Content(sources=[Recorded()]).upload([b"x"]))


@pytest.mark.parametrize("ahead", [1, 2, 4, 50])
def test_a_content_is_read_in_order_however_far_ahead(ahead: int) -> None:
    store = Recorded(blocks=BLOCKS)
    assert asyncio.run(read([store], ahead=ahead)) == (CONTENT, [])
    assert sorted(c.digest for c in store.gets) == sorted(b.cid.digest for b in BLOCKS)  # each once


def test_a_single_leaf_and_an_empty_content_are_read() -> None:
    for content in (b"", b"one leaf"):
        block = Block(cid=cid_of(RAW, content), data=content)
        assert asyncio.run(read([Recorded(blocks=[block])], root=block.cid))[0] == content


def test_a_missing_block_comes_from_the_next_source() -> None:
    first = Recorded("first", blocks=[b for b in BLOCKS if b.cid != LEAVES[2]])
    second = Recorded("second", blocks=BLOCKS)
    assert asyncio.run(read([first, second])) == (CONTENT, ["first: BlockMissing"])
    assert second.gets == [LEAVES[2]]
    assert first.gets[-1] == LEAVES[-1]  # it keeps its place


def test_a_lying_source_is_named_and_not_asked_again() -> None:
    liar, honest = Recorded("liar", blocks=BLOCKS), Recorded("honest", blocks=BLOCKS)
    liar.lies = {LEAVES[0]}
    content, failures = asyncio.run(read([liar, honest], ahead=1))
    assert (content, failures) == (CONTENT, ["liar: BlockMismatch"])
    assert liar.gets == [ROOT, LEAVES[0]]


def test_a_source_that_is_away_is_asked_last() -> None:
    away, there = Recorded("away", blocks=BLOCKS), Recorded("there", blocks=BLOCKS)
    away.is_away = True
    content, failures = asyncio.run(read([away, there], ahead=1))
    assert (content, failures) == (CONTENT, ["away: StoreUnavailable"])
    assert away.gets == [ROOT]


def test_rejects_a_read_when_every_source_failed_and_says_what_each_did() -> None:
    liar, lacking, away = Recorded("liar", blocks=BLOCKS), Recorded("lacking"), Recorded("away", blocks=BLOCKS)
    liar.lies, away.is_away = {ROOT}, True
    with pytest.raises(AllSourcesFailed, match="liar: BlockMismatch; lacking: BlockMissing; away: StoreUnav") as caught:
        asyncio.run(read([liar, lacking, away]))
    assert caught.value.cid == ROOT
    assert [type(f.error) for f in caught.value.failures] == [BlockMismatch, BlockMissing, StoreUnavailable]


def test_rejects_a_read_without_sources() -> None:
    with pytest.raises(AllSourcesFailed, match="no source is left"):
        asyncio.run(read([]))


def test_pieces_before_a_failure_are_sound_and_then_it_ends() -> None:
    store = Recorded(blocks=[b for b in BLOCKS if b.cid != LEAVES[3]])

    async def main() -> list[bytes]:
        stream, pieces = await Content(sources=[store]).open(ROOT, max_content_bytes=1 << 30), list[bytes]()
        with pytest.raises(AllSourcesFailed):
            async for piece in stream:
                pieces.append(bytes(piece))
        return pieces

    assert b"".join(asyncio.run(main())) == CONTENT[: 3 << 20]


def test_leaving_a_read_early_leaves_no_task_behind() -> None:
    async def main() -> int:
        store = Recorded(blocks=BLOCKS)
        stream = await Content(sources=[store]).open(ROOT, max_content_bytes=1 << 30)
        pieces = aiter(stream)
        await anext(pieces)
        await pieces.aclose()  # type: ignore[attr-defined]
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1


def test_rejects_a_second_pass_over_a_stream() -> None:
    async def main() -> None:
        stream = await Content(sources=[Recorded(blocks=BLOCKS)]).open(ROOT, max_content_bytes=1 << 30)
        assert stream.content_bytes == len(CONTENT)
        assert [1 async for _ in stream] == [1] * 6
        with pytest.raises(OutOfOrder):
            await anext(aiter(stream))

    asyncio.run(main())


def test_rejects_a_tree_of_another_shape_and_blames_no_source() -> None:
    node = encode_file_node([FileLink(cid=LEAVES[0], content_bytes=10, tree_bytes=10)])
    block = Block(cid=Cid(codec=0x70, digest=cid_of(0x70, node).digest), data=node)
    with pytest.raises(WrongProfile):
        asyncio.run(read([Recorded(blocks=[block])], root=block.cid))


def test_it_is_the_port() -> None:
    content: ContentStore = Content(sources=[], store=Recorded())
    assert content is not None
