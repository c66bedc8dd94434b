"""A block store that answers for what it is being given at the moment, so that nobody sends a block a second time."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from caimi.bundle.unixfs import Block
from caimi.ports.content import BlockStore
from caimi.types.records import Cid

__all__ = ["SettledStore"]


_PATIENCE_S: Final = 5.0


class SettledStore:
    """Asked for a block that is being kept, it waits for the end of that: what a killed uploader had sent is there when
    he comes back (spec 15 §9). Keeping goes on when whoever waits for it is gone."""

    def __init__(self, store: BlockStore, *, patience_s: float = _PATIENCE_S) -> None:
        """In front of all that reaches `store`.

        Arguments:
            patience_s: how long to wait for a block that arrives: its sender may have stopped in the middle.
        """
        self._store = store
        self._patience_s = patience_s
        self._arriving: dict[Cid, set[asyncio.Future[None]]] = {}
        self._keeping: dict[Cid, asyncio.Task[None]] = {}

    @property
    def name(self) -> str:
        """As `BlockStore.name`."""
        return self._store.name

    @contextmanager
    def arriving(self, cid: Cid) -> Generator[None]:
        """While the bytes of a block come in, which is put right after them."""
        arrived = asyncio.get_running_loop().create_future()
        self._arriving.setdefault(cid, set()).add(arrived)
        try:
            yield
        finally:
            arrived.set_result(None)
            self._arriving[cid].discard(arrived)
            if not self._arriving[cid]:
                del self._arriving[cid]

    async def get(self, cid: Cid) -> Block:
        """As `BlockStore.get`."""
        await self._settle([cid])
        return await self._store.get(cid)

    async def put(self, block: Block) -> None:
        """As `BlockStore.put`; of a block that is being kept already, nothing is done twice."""
        task = self._keeping.get(block.cid)
        if task is None:
            task = self._keeping[block.cid] = asyncio.create_task(self._store.put(block))
            task.add_done_callback(lambda done: self._kept(block.cid, done))
        await asyncio.shield(task)

    async def missing(self, cids: Sequence[Cid]) -> frozenset[Cid]:
        """As `BlockStore.missing`."""
        await self._settle(cids)
        return await self._store.missing(cids)

    async def has(self, cid: Cid) -> bool:
        """As `BlockStore.has`."""
        await self._settle([cid])
        return await self._store.has(cid)

    async def _settle(self, cids: Sequence[Cid]) -> None:
        arriving = [arrived for cid in cids for arrived in self._arriving.get(cid, ())]
        if arriving:
            await asyncio.wait(arriving, timeout=self._patience_s)
        # Whether it works out is told to whoever put it; here it is over.
        tasks = [self._keeping[cid] for cid in cids if cid in self._keeping]
        if tasks:
            await asyncio.wait(tasks)

    def _kept(self, cid: Cid, task: asyncio.Task[None]) -> None:
        del self._keeping[cid]
        if not task.cancelled():
            # Somebody may have gone before he could be told.
            task.exception()
