"""`BoardPort` over a line: posts are lost, doubled or come late, answers are lost."""

from __future__ import annotations

from collections.abc import Callable

from caimi.ports.chain import BoardMessage, BoardPort
from caimi.simulators.lines import Line
from caimi.types.primitives import Bytes32, Epoch
from caimi.types.records import LeaseRequest

__all__ = ["UnreliableBoard"]


class UnreliableBoard:
    """A board behind lines whose error is `ChainUnavailable`."""

    def __init__(self, board: BoardPort, *, reads: Line, posts: Line, heard: Callable[[bytes], None]) -> None:
        """Arguments:
        reads: to the peer that is read.
        posts: to the peers and orderers that take what is posted.
        heard: told of all bytes that are posted.
        """
        self._board = board
        self._reads = reads
        self._posts = posts
        self._heard = heard

    async def lease(self, identifier: Bytes32) -> LeaseRequest | None:
        """See `BoardPort`."""
        return await self._reads.ask(lambda: self._board.lease(identifier))

    async def leases_since(self, height: int) -> tuple[int, tuple[Bytes32, ...]]:
        """See `BoardPort`."""
        return await self._reads.ask(lambda: self._board.leases_since(height))

    async def partials(self, lease: Bytes32) -> tuple[bytes, ...]:
        """See `BoardPort`."""
        return await self._reads.ask(lambda: self._board.partials(lease))

    async def posts(self, epoch: Epoch) -> tuple[BoardMessage, ...]:
        """See `BoardPort`."""
        return await self._reads.ask(lambda: self._board.posts(epoch))

    async def post_partial(self, call: bytes, sealed: bytes) -> None:
        """See `BoardPort`."""
        self._heard(call + sealed)
        await self._posts.ask(lambda: self._board.post_partial(call, sealed))

    async def post(self, call: bytes) -> None:
        """See `BoardPort`."""
        self._heard(call)
        await self._posts.ask(lambda: self._board.post(call))
