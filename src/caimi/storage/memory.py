"""A block store in memory: for tests and simulations."""

from __future__ import annotations

from collections.abc import Sequence

from caimi.bundle.unixfs import Block, verify_block
from caimi.ports.content import BlockMissing
from caimi.types.records import Cid

__all__ = ["MemoryBlockStore"]


class MemoryBlockStore:
    """Keeps blocks until it is dropped."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self._blocks: dict[Cid, bytes] = {}

    async def get(self, cid: Cid) -> Block:
        """As `BlockStore.get`."""
        data = self._blocks.get(cid)
        if data is None:
            raise BlockMissing(cid, self.name)
        return verify_block(cid, data)

    async def put(self, block: Block) -> None:
        """As `BlockStore.put`."""
        self._blocks.setdefault(block.cid, bytes(block.data))

    async def missing(self, cids: Sequence[Cid]) -> frozenset[Cid]:
        """As `BlockStore.missing`."""
        return frozenset(cids) - self._blocks.keys()

    async def has(self, cid: Cid) -> bool:
        """As `BlockStore.has`."""
        return cid in self._blocks
