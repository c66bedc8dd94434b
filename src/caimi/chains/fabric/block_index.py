"""Follows the channel's blocks and derives what the registry did: events by number, leases by height, ids by batch,
messages of key ceremonies in their order.

One stream brings the blocks as they come. It cannot tell a quiet channel from a peer that stands still, so the peer is
asked for its tip too: at first, after every break of the stream, and now and then. Asking is a transaction proposal,
which costs the peer a hundred times what a block on an open stream does.
Nothing is stored: after a restart the channel is read again from block 0, whose hash is the channel's identity. In
memory stay 40 bytes of each block, 16 of each with events, the root of each batch, leases, messages of ceremonies, and
the newest events and lists of ids: older ones are read again from their blocks, which must be those that were read
before.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from caimi.chains.fabric.block_events import Post, read_block
from caimi.chains.fabric.blocks import FabricBlock
from caimi.chains.fabric.errors import BrokenBlockChain, FabricError
from caimi.chains.fabric.port_errors import BrokenLedger, port_error
from caimi.chains.fabric.transaction import ChainInfo
from caimi.ports.chain import BoardMessage, ChainUnavailable, FinalEvent
from caimi.ports.numbered_events import NumberedEvents
from caimi.protocol.batches import batch_root
from caimi.types.errors import WrongChain
from caimi.types.primitives import Bytes32, Epoch, PublicationId, Sequence, UnixSeconds, bytes32
from caimi.wire.chain_ids import chain_hash, fabric_chain_id

__all__ = ["BlockIndex", "Blocks", "Peer"]

_HASH_BYTES: Final = 32
_LISTED: Final = 64  # batches, of at most 256 ids each
_FIRST: Final = asyncio.FIRST_COMPLETED


class Peer(Protocol):
    """Whom the index asks for the tip; `FabricGateway` is one."""

    async def chain_info(self) -> ChainInfo:
        """Height and head of the channel. Raises `FabricError`."""
        ...


class Blocks(Protocol):
    """Where the index takes blocks from; `BlockStream` is one."""

    def blocks(self, start: int, *, previous_hash: bytes | None = None) -> AsyncGenerator[FabricBlock, None]:
        """Blocks from `start` on, linked and without end. Raises `FabricError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leases:
    height: int
    identifiers: tuple[Bytes32, ...]


class BlockIndex:
    """The registry's part of one channel, as one peer shows it."""

    def __init__(
        self,
        peer: Peer,
        stream: Blocks,
        *,
        chaincode: str,
        chain: Bytes32,
        block_seconds: float = 5.0,
        tip_seconds: float = 2.0,
        kept: int = 512,
        answer: int = 1_024,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with nothing known.

        Arguments:
            chaincode: name of the registry's chaincode.
            chain: keccak256 of the channel's CAIP-2 id, which block 0 has to confirm.
            block_seconds: how long the peer may take to deliver a block that it says it has.
            tip_seconds: how long an open stream is relied on before the peer is asked for its tip again.
            kept: events kept in memory.
            answer: most events given at once, however many are asked for.
        """
        self._peer = peer
        self._chaincode = chaincode
        self._chain = chain
        self._seconds = block_seconds
        self._tip_seconds = tip_seconds
        self._monotonic = monotonic
        self._stream = stream
        self._follower: asyncio.Task[None] | None = None
        self._grown = asyncio.Event()
        self._asked: float | None = None
        self._breaks = 0
        self._answer = answer
        self._hashes = bytearray()
        self._events = NumberedEvents(kept=kept)
        self._leases: list[_Leases] = []
        # In which block each batch was locked.
        self._batches: dict[Bytes32, int] = {}
        # The ids of the newest ones: validators ask for those of a batch as soon as they see it.
        self._listed: dict[Bytes32, tuple[PublicationId, ...]] = {}
        self._posts: list[Post] = []
        # Of each block: the latest timestamp up to it.
        self._times = array("Q")
        # Something was forgotten and nothing read since.
        self._is_doubted = False

    @property
    def height(self) -> int:
        """Number of the newest block read, -1 before the first."""
        return len(self._hashes) // _HASH_BYTES - 1

    @property
    def time(self) -> UnixSeconds:
        """Latest timestamp of a valid transaction: the channel's clock."""
        return UnixSeconds(self._times[-1] if self._times else 0)

    def hash_at(self, height: int) -> Bytes32 | None:
        """Header hash of a block that was read."""
        if not 0 <= height <= self.height:
            return None
        return bytes32(bytes(self._hashes[height * _HASH_BYTES : (height + 1) * _HASH_BYTES]))

    async def events(self, first: int, limit: int) -> tuple[FinalEvent, ...]:
        """Events of blocks that were read, numbered from `first` (at least 1) on, at most `limit`.

        Raises:
            ChainUnavailable: The peer does not deliver an older block, or what it showed was forgotten meanwhile.
            BrokenLedger: It delivers another one than before.
        """
        last = min(first + min(limit, self._answer) - 1, self._events.count)
        if last < first:
            return ()
        held = self._events.held(first, last)
        if held is not None:
            return held
        start, end = self._events.height_of(Sequence(first)), self._events.height_of(Sequence(last))
        number = self._events.count_below(start)
        found: list[FinalEvent] = []
        async with aclosing(self._again(start, end)) as blocks:
            async for block in blocks:
                told = read_block(block, self._chaincode, known=number)
                number += len(told.events)
                found += [event for event in told.events if first <= event.item.sequence <= last]
        # A block's hash does not cover which of its transactions are valid.
        if number != self._events.count_below(end + 1):
            raise BrokenLedger(f"blocks {start} to {end} have other events than the peer showed before")
        for event in found:
            self._events.keep(event)
        return tuple(found)

    def leases_above(self, height: int) -> tuple[Bytes32, ...]:
        """Leases opened in blocks above `height`."""
        start = bisect_right(self._leases, height, key=lambda leases: leases.height)
        return tuple(identifier for leases in self._leases[start:] for identifier in leases.identifiers)

    def posts(self, epoch: Epoch) -> tuple[BoardMessage, ...]:
        """Messages of the epoch's key ceremonies in the blocks that were read, in their order."""
        return tuple(post.message for post in self._posts if post.epoch == epoch)

    async def batch_ids(self, root: Bytes32) -> tuple[PublicationId, ...] | None:
        """The ids of a batch that was locked in a block that was read, by index.

        Raises:
            BrokenLedger: The ledger lists other ids than those of this root.
            ChainUnavailable: As `events`.
        """
        height = self._batches.get(root)
        if height is None:
            return None
        listed = self._listed.get(root)
        if listed is None:
            async with aclosing(self._again(height, height)) as blocks:
                async for block in blocks:
                    batches = read_block(block, self._chaincode).batches
                    listed = next((batch.identifiers for batch in batches if batch.root == root), None)
        if listed is None or batch_root(listed) != root:
            raise BrokenLedger(f"block {height} lists other ids than those of the batch 0x{root.hex()}")
        return listed

    async def verify_chain(self) -> None:
        """Check once that the peer is of this channel.

        Raises:
            WrongChain: Its block 0 is another one; the note names its CAIP-2 id.
            ChainUnavailable, BrokenLedger: Of the peer.
        """
        if not self._hashes:
            # The stream waits for a peer that is down; a question does not.
            await self._ask()
            await self.reach(0)

    async def advance(self) -> None:
        """Have what the stream brought, and everything up to the peer's tip if it has to be asked.

        Raises:
            ChainUnavailable: It does not answer, or not in time; what was read is kept.
            BrokenLedger: Its blocks or events are not what they must be, or not those that it showed before.
            WrongChain: It is of another channel.
        """
        if self._is_followed():
            return
        info = await self._ask()
        asked, breaks, tip = self._monotonic(), self._breaks, info.height - 1
        self._running()
        await self.reach(tip)
        # A peer that lags behind what it (or the peer before it at this address) has shown is waited for.
        if self.hash_at(tip) != info.head_hash:
            raise BrokenLedger(f"block {tip} is not the one that the peer showed before")
        if breaks == self._breaks:
            self._asked = asked

    async def reach(self, height: int) -> None:
        """Wait until block `height`, which the peer has, was read. Raises as `advance`."""
        while self.height < height:
            follower, grown = self._running(), self._grown
            waiting = asyncio.ensure_future(grown.wait())
            try:
                done, _ = await asyncio.wait({follower, waiting}, timeout=self._seconds, return_when=_FIRST)
            finally:
                waiting.cancel()
            if not done:
                await self.close()
                raise ChainUnavailable(f"no block {self.height + 1} within {self._seconds} s")

    def distrust(self) -> None:
        """The stream broke: what it brings may be late until the peer was asked again."""
        self._asked = None
        self._breaks += 1

    async def forget(self, first: int) -> None:
        """Keep nothing of the events numbered `first` (at least 1) and on: their blocks are read again."""
        await self.close()
        while self._follower is not None:
            await self.close()  # another reading began meanwhile
        if first <= self._events.count:
            self._cut(self._events.height_of(Sequence(first)))
            self._is_doubted = True

    async def close(self) -> None:
        """End the stream."""
        self._asked = None
        if self._follower is not None:
            follower, self._follower = self._follower, None
            follower.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await follower

    def _is_followed(self) -> bool:
        if self._follower is None or self._follower.done() or self._asked is None:
            return False
        return self._monotonic() - self._asked < self._tip_seconds

    async def _ask(self) -> ChainInfo:
        try:
            return await self._peer.chain_info()
        except FabricError as error:
            self._asked = None
            raise port_error(error) from error

    def _running(self) -> asyncio.Task[None]:
        # What ended the last stream is told once; the next call begins a new one at the block that was not taken.
        if self._follower is not None and self._follower.done():
            ended, self._follower, self._asked = self._follower, None, None
            if ended.cancelled():
                raise ChainUnavailable("the stream of blocks was closed")
            error = ended.exception()
            if isinstance(error, BrokenBlockChain) and self._is_doubted:
                # What was wrong began before the events in which it showed: nothing of it can be kept.
                self._cut(0)
            if isinstance(error, FabricError):
                raise port_error(error) from error
            if error is not None:
                raise error
        if self._follower is None:
            self._follower = asyncio.ensure_future(self._follow())
            self._follower.add_done_callback(_noticed)
        return self._follower

    async def _follow(self) -> None:
        before = self.hash_at(self.height)
        async with aclosing(self._stream.blocks(self.height + 1, previous_hash=before)) as blocks:
            async for block in blocks:
                self._take(block)
                grown, self._grown = self._grown, asyncio.Event()
                grown.set()

    async def _again(self, start: int, end: int) -> AsyncGenerator[FabricBlock, None]:
        # Blocks that were read before, which the peer has to deliver as they were then.
        async with aclosing(self._stream.blocks(start, previous_hash=self.hash_at(start - 1))) as blocks:
            while start <= end:
                try:
                    block = await asyncio.wait_for(anext(blocks), self._seconds)
                except TimeoutError:
                    raise ChainUnavailable(f"no block {start} within {self._seconds} s") from None
                except FabricError as error:
                    raise port_error(error) from error
                known = self.hash_at(start)
                if known is None:
                    raise ChainUnavailable(f"block {start} was forgotten while it was read again")
                if block.hash != known:
                    raise BrokenLedger(f"block {start} is not the one that the peer showed before")
                yield block
                start += 1

    def _take(self, block: FabricBlock) -> None:
        if block.number == 0:
            self._check_channel(block)
        # All or nothing: a block that cannot be read leaves no half of it behind.
        told = read_block(block, self._chaincode, known=self._events.count, time=self.time)
        self._hashes += block.hash
        self._times.append(told.time)
        self._posts += told.posts
        for event in told.events:
            self._events.append(event)
        if told.leases:
            self._leases.append(_Leases(height=block.number, identifiers=tuple(told.leases)))
        for batch in told.batches:
            self._batches.setdefault(batch.root, block.number)
            # A second list for one root can only be the same: both have to make it.
            self._listed.setdefault(batch.root, batch.identifiers)
            if len(self._listed) > _LISTED:
                del self._listed[next(iter(self._listed))]
        self._is_doubted = False

    def _cut(self, height: int) -> None:
        # As if blocks from `height` on were never read.
        del self._hashes[height * _HASH_BYTES :], self._times[height:]
        self._events.forget_above(self._events.count_below(height))
        del self._leases[bisect_left(self._leases, height, key=lambda leases: leases.height) :]
        del self._posts[bisect_left(self._posts, height, key=lambda post: post.height) :]
        self._batches = {root: locked for root, locked in self._batches.items() if locked < height}
        self._listed.clear()

    def _check_channel(self, block: FabricBlock) -> None:
        caip2 = fabric_chain_id(bytes32(block.hash))
        actual = chain_hash(caip2)
        if actual != self._chain:
            error = WrongChain(self._chain, actual)
            error.add_note(f"the peer is of {caip2}")
            raise error


def _noticed(follower: asyncio.Task[None]) -> None:
    # The next reading raises it; until then nobody has to look at the task.
    if not follower.cancelled():
        follower.exception()
