"""What every block store does, whatever it is made of. Each store's test class inherits these tests."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from caimi.bundle.cid import DAG_PB, RAW, cid_of
from caimi.bundle.dagpb import FileLink, encode_file_node
from caimi.bundle.errors import DagTooLarge
from caimi.bundle.unixfs import Block, UnixFsBuilder
from caimi.ports.content import BlockMissing, BlockStore
from caimi.storage.transfer import Content

__all__ = ["BlockStoreContract", "StoreFactory"]

StoreFactory = Callable[[], AbstractAsyncContextManager[BlockStore]]


def leaf(content: bytes) -> Block:
    return Block(cid=cid_of(RAW, content), data=content)


def node(*children: Block) -> Block:
    links = [FileLink(cid=c.cid, content_bytes=len(c.data), tree_bytes=len(c.data)) for c in children]
    data = encode_file_node(links)
    return Block(cid=cid_of(DAG_PB, data), data=data)


class BlockStoreContract:
    """Inherit and give a `stores` fixture: a factory of async context managers, each an empty store."""

    def check(self, stores: StoreFactory, body: Callable[[BlockStore], Awaitable[Any]]) -> None:
        async def main() -> None:
            async with stores() as store:
                await body(store)

        asyncio.run(main())

    @pytest.mark.parametrize("content", [b"", b"x", bytes(1 << 20)], ids=["empty", "small", "a full leaf"])
    def test_a_block_comes_back(self, stores: StoreFactory, content: bytes) -> None:
        async def body(store: BlockStore) -> None:
            block = leaf(content)
            assert not await store.has(block.cid)
            await store.put(block)
            assert await store.has(block.cid)
            got = await store.get(block.cid)
            assert (got.cid, bytes(got.data)) == (block.cid, content)

        self.check(stores, body)

    def test_a_node_comes_back(self, stores: StoreFactory) -> None:
        async def body(store: BlockStore) -> None:
            children = leaf(b"first"), leaf(b"second")
            for block in (*children, node(*children)):
                await store.put(block)
            assert bytes((await store.get(node(*children).cid)).data) == node(*children).data

        self.check(stores, body)

    def test_a_view_may_be_put_and_reused(self, stores: StoreFactory) -> None:
        async def body(store: BlockStore) -> None:
            buffer = bytearray(b"leaf")
            cid = cid_of(RAW, buffer)
            await store.put(Block(cid=cid, data=memoryview(buffer)))
            buffer[:] = b"gone"
            assert bytes((await store.get(cid)).data) == b"leaf"

        self.check(stores, body)

    def test_putting_again_and_at_once_changes_nothing(self, stores: StoreFactory) -> None:
        async def body(store: BlockStore) -> None:
            await asyncio.gather(*(store.put(leaf(b"same")) for _ in range(5)))
            await store.put(leaf(b"same"))
            assert bytes((await store.get(leaf(b"same").cid)).data) == b"same"

        self.check(stores, body)

    def test_rejects_a_read_of_a_missing_block_naming_block_and_store(self, stores: StoreFactory) -> None:
        async def body(store: BlockStore) -> None:
            with pytest.raises(BlockMissing) as caught:
                await store.get(leaf(b"nowhere").cid)
            assert (caught.value.cid, caught.value.source) == (leaf(b"nowhere").cid, store.name)

        self.check(stores, body)

    def test_the_missing_ones_are_told(self, stores: StoreFactory) -> None:
        async def body(store: BlockStore) -> None:
            blocks = [leaf(bytes([i])) for i in range(6)]
            for block in blocks[::2]:
                await store.put(block)
            missing = await store.missing([b.cid for b in blocks])
            assert missing == {b.cid for b in blocks[1::2]}
            assert await store.missing([]) == frozenset()

        self.check(stores, body)

    def test_the_codec_is_part_of_the_name(self, stores: StoreFactory) -> None:
        async def body(store: BlockStore) -> None:
            children = leaf(b"a"), leaf(b"b")
            for block in (*children, node(*children)):
                await store.put(block)
            as_leaf = leaf(bytes(node(*children).data))
            if await store.has(as_leaf.cid):  # Kubo names blocks by their hash alone
                assert bytes((await store.get(as_leaf.cid)).data) == as_leaf.data

        self.check(stores, body)

    def test_a_content_is_uploaded_once_and_read_back(self, stores: StoreFactory) -> None:
        async def body(store: BlockStore) -> None:
            content = hashlib.shake_128(b"content").digest(2_500_000)
            service = Content(sources=[store], store=store, window=2)
            sent: list[int] = []
            root = await service.upload([content], progress=lambda p: sent.append(p.sent_blocks))
            assert sent[-1] == root.blocks == 4
            assert (await service.upload([content])).cid == root.cid
            again: list[int] = []
            await service.upload([content], progress=lambda p: again.append(p.sent_blocks))
            assert again[-1] == 0
            stream = await service.open(root.cid, max_content_bytes=len(content))
            assert stream.content_bytes == len(content)
            assert b"".join([bytes(piece) async for piece in stream]) == content
            builder = UnixFsBuilder()
            assert [b.cid for b in builder.blocks([content])][-1] == root.cid

        self.check(stores, body)

    def test_rejects_a_content_over_the_limit(self, stores: StoreFactory) -> None:
        async def body(store: BlockStore) -> None:
            service = Content(sources=[store], store=store)
            root = await service.upload([b"12345"])
            with pytest.raises(DagTooLarge):
                await service.open(root.cid, max_content_bytes=4)

        self.check(stores, body)
