"""The block store contract over memory, folder, HTTP and a real Kubo node."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Final

import httpx2
import pytest
from vectorgen.kubo_node import KuboNode, kubo_program

from caimi.ports.content import BlockStore
from caimi.storage.content import FolderBlockStore
from caimi.storage.content_client import HttpBlockStore
from caimi.storage.content_server import create_app
from caimi.storage.kubo import GatewayBlockSource, KuboBlockStore
from caimi.storage.memory import MemoryBlockStore
from tests.conformance.block_store_contract import BlockStoreContract, StoreFactory, leaf
from tests.unit.relay.world import Recorder

TOKEN: Final = "a token of the tests"


class TestMemory(BlockStoreContract):
    @pytest.fixture
    def stores(self) -> StoreFactory:
        @contextlib.asynccontextmanager
        async def make() -> AsyncGenerator[BlockStore, None]:
            yield MemoryBlockStore()

        return make


class TestFolder(BlockStoreContract):
    @pytest.fixture
    def stores(self, tmp_path: Path) -> StoreFactory:
        @contextlib.asynccontextmanager
        async def make() -> AsyncGenerator[BlockStore, None]:
            yield FolderBlockStore(tmp_path)

        return make


class TestHttp(BlockStoreContract):
    @pytest.fixture
    def stores(self, tmp_path: Path) -> StoreFactory:
        @contextlib.asynccontextmanager
        async def make() -> AsyncGenerator[BlockStore, None]:
            app = create_app(FolderBlockStore(tmp_path), token=TOKEN, observer=Recorder())
            transport = httpx2.ASGITransport(app)
            async with HttpBlockStore("http://content.test", token=TOKEN, transport=transport) as store:
                yield store

        return make


@pytest.fixture(scope="module")
def node() -> Generator[KuboNode, None, None]:
    program = kubo_program()
    if program is None:
        pytest.skip("the toolchain has not built Kubo: python3 tools/bootstrap.py test-long builds it")
    with KuboNode(program) as running:
        yield running


@pytest.mark.slow
class TestKubo(BlockStoreContract):
    """Against one real node, emptied before each test."""

    @pytest.fixture
    def stores(self, node: KuboNode) -> StoreFactory:
        @contextlib.asynccontextmanager
        async def make() -> AsyncGenerator[BlockStore, None]:
            node.forget_everything()
            store = KuboBlockStore(node.rpc_url)
            try:
                yield store
            finally:
                await store.close()

        return make

    def test_its_gateway_gives_raw_blocks(self, stores: StoreFactory, node: KuboNode) -> None:
        async def body(store: BlockStore) -> None:
            await store.put(leaf(b"by the gateway"))
            gateway = GatewayBlockSource(node.gateway_url)
            try:
                assert bytes((await gateway.get(leaf(b"by the gateway").cid)).data) == b"by the gateway"
            finally:
                await gateway.close()

        self.check(stores, body)

    def test_a_pinned_tree_survives_its_garbage_collection(self, stores: StoreFactory, node: KuboNode) -> None:
        async def body(store: BlockStore) -> None:
            assert isinstance(store, KuboBlockStore)
            await store.put(leaf(b"kept"))
            await store.pin(leaf(b"kept").cid)
            await store.put(leaf(b"lost"))
            node.collect_garbage()
            assert await store.has(leaf(b"kept").cid)
            assert not await store.has(leaf(b"lost").cid)

        self.check(stores, body)
