"""A block store behind a line, which lacks some blocks for a while."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from caimi.bundle.unixfs import Block
from caimi.ports.content import BlockMissing, BlockStore
from caimi.simulators.lines import Line
from caimi.types.records import Cid

__all__ = ["UnreliableBlocks"]


class UnreliableBlocks:
    """`BlockStore` over another one; its line's error is `StoreUnavailable`."""

    def __init__(self, store: BlockStore, line: Line, *, rng: random.Random, heard: Callable[[bytes], None]) -> None:
        """Arguments:
        heard: told of all bytes that are stored.
        """
        self.name = store.name
        self.gaps = 0.0
        """Probability that a block which is asked for is not there this time."""
        self._store = store
        self._line = line
        self._rng = rng
        self._heard = heard

    async def get(self, cid: Cid) -> Block:
        """See `BlockStore`."""
        if self._rng.random() < self.gaps:
            raise BlockMissing(cid, self.name)
        return await self._line.ask(lambda: self._store.get(cid))

    async def put(self, block: Block) -> None:
        """See `BlockStore`."""
        # The builder's view may be gone when a late line delivers it.
        data = bytes(block.data)
        kept = Block(cid=block.cid, data=data)
        self._heard(data)
        await self._line.ask(lambda: self._store.put(kept))

    async def missing(self, cids: Sequence[Cid]) -> frozenset[Cid]:
        """See `BlockStore`."""
        return await self._line.ask(lambda: self._store.missing(cids))

    async def has(self, cid: Cid) -> bool:
        """See `BlockStore`."""
        return await self._line.ask(lambda: self._store.has(cid))
