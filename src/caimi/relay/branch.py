"""Whether a lane is still on the branch that a relay followed: a chain may take back what was final (spec 35 §3)."""

from __future__ import annotations

from caimi.ports.chain import FinalEvent, Head
from caimi.ports.relay_store import RelayStore
from caimi.relay.lanes import RelayLane
from caimi.types.primitives import Bytes32, Sequence

__all__ = ["Branch"]


class Branch:
    """Compares one lane with what was seen of it: the highest final block, and the stored events.

    Only blocks are compared. That a node tells otherwise of the same block is for a quorum to judge, when its events
    are carried.
    """

    def __init__(self, lane: RelayLane, *, store: RelayStore) -> None:
        self._lane = lane
        self._store = store
        self._seen: Head | None = None

    async def kept(self, head: Head, last: FinalEvent | None, page: tuple[FinalEvent, ...]) -> int | None:
        """Height of the last stored event that is still there, -1 for none; None if no final block is gone.

        A chain that is merely lower than it was says nothing: its node may lag.

        Arguments:
            last: the last stored event.
            page: what the lane gives from there on.
        Raises:
            ChainError: Ask again later.
        """
        seen = self._seen
        is_other = seen is not None and await self._is_gone(head, seen.final_height, seen.final_hash)
        if last is None:
            return -1 if is_other else None
        if page:
            is_there = page[0].block_hash == last.block_hash
        else:
            is_there = not await self._is_gone(head, last.height, last.block_hash)
        if is_there:
            return last.height if is_other else None
        return await self._last_common(last)

    def note(self, head: Head) -> None:
        """What follows from this tip is durable: later ones are compared with it, but for one of a node that lags."""
        if self._seen is None or head.final_height >= self._seen.final_height:
            self._seen = head

    async def _is_gone(self, head: Head, height: int, block_hash: Bytes32) -> bool:
        if height >= head.final_height:
            return height == head.final_height and head.final_hash != block_hash
        there = await self._lane.port.block_hash(height)
        # A node that has no block there, though it told of a higher final one, is several nodes: one of them lags.
        return there not in (None, block_hash)

    async def _last_common(self, gone: FinalEvent) -> int:
        # Blocks hold their predecessors' hashes: all stored events below one that is there are there too.
        there, height, not_there = 0, -1, int(gone.item.sequence)
        while not_there - there > 1:
            middle = (there + not_there) // 2
            stored = self._store.followed(self._lane.lane, Sequence(middle), 1)
            if stored and await self._lane.port.block_hash(stored[0].height) == stored[0].block_hash:
                there, height = middle, stored[0].height
            else:
                not_there = middle
        # Whatever the node says of single blocks, the one that is gone is not kept.
        return min(height, gone.height - 1)
