"""Finds the registry's final events by number: remembers in which block each begins, reads the logs again on demand.

Nothing is stored: after a restart the index is built again from the registry's first block. Checkpoints of blocks that
were scanned tell whether the node is still on the branch that the index describes; if not (a reorganisation, or a
development node that lost its last blocks), the index goes back to the newest checkpoint that still holds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from caimi.chains.ethereum.blocks import Block, Tip, block_at, blocks_at, read_tip
from caimi.chains.ethereum.errors import AnswerTooLarge, ChainMoved, EventGap, RpcFailure
from caimi.chains.ethereum.fields import hex_data, hex_quantity
from caimi.chains.ethereum.finality import Finality
from caimi.chains.ethereum.jsonrpc import RpcClient
from caimi.chains.ethereum.logs import RegistryLog, check_contiguous, read_batch_ids, read_logs
from caimi.ports.chain import FinalEvent
from caimi.ports.numbered_events import NumberedEvents
from caimi.types.errors import OutOfRange
from caimi.types.primitives import Address, Bytes32, PublicationId, Sequence
from caimi.types.records import Kind
from caimi.wire.functions import batch_ids_topic, event_topic

__all__ = ["EventIndex", "ScanLimits"]

_CHECKPOINTS: Final = 64
# How nodes say that they do not serve so wide a range.
_TOO_WIDE: Final = ("limit", "range", "too many", "more than", "exceed", "too large")
_TOO_WIDE_CODE: Final = -32005


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanLimits:
    """What one reading may cost."""

    blocks: int = 2_000
    """Blocks per question for logs."""
    kept: int = 512
    """Decoded events kept in memory."""
    answer: int = 1_024
    """Most events given at once, however many are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checkpoint:
    height: int
    hash: Bytes32
    events: int  # numbered up to here in blocks up to this height


class EventIndex:
    """Events of one registry by one node."""

    def __init__(
        self,
        rpc: RpcClient,
        contract: Address,
        *,
        first_block: int,
        finality: Finality,
        limits: ScanLimits | None = None,
    ) -> None:
        """Begin with nothing known.

        Arguments:
            first_block: a block at or below the one in which the registry was made.
        """
        self._rpc = rpc
        self._contract = contract
        self._first_block = first_block
        self._finality = finality
        self._limits = limits or ScanLimits()
        self._lock = asyncio.Lock()
        self._tip: Tip | None = None
        self._checkpoints: list[_Checkpoint] = []
        self._events = NumberedEvents(kept=self._limits.kept)
        # Of each batch locked here: the number of its event, and its height.
        self._batches: dict[Bytes32, tuple[int, int]] = {}

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        """Final events numbered from `first` on, at most `limit`; see `ChainReader.events`.

        Raises:
            OutOfRange: `first` is below 1.
            EventGap: The node's events have a hole.
            ChainMoved: The branch changed meanwhile: ask again.
            ChainUnavailable, MalformedAnswer, RpcFailure, WrongChain: Of the node.
        """
        if first < 1:
            raise OutOfRange(64, first)
        async with self._lock:
            await self._advance((await self.tip()).final)
            last = min(first + min(limit, self._limits.answer) - 1, self._known)
            if last < first:
                return ()
            return self._events.held(first, last) or await self._read_again(first, last)

    async def batch_ids(self, root: Bytes32) -> tuple[PublicationId, ...] | None:
        """The ids of a batch that was locked in a final block; see `ChainReader.batch_ids`.

        Raises:
            EventGap: The node has the batch's event, and no list of its ids.
            MalformedAnswer: The ids are not those of this root.
            ChainMoved, ChainUnavailable, RpcFailure, WrongChain: Of the node.
        """
        async with self._lock:
            await self._advance((await self.tip()).final)
            if root not in self._batches:
                return None
            _, height = self._batches[root]
            question = self._question([batch_ids_topic(), root], **_range(height, height))
            return read_batch_ids(await self._rpc.call("eth_getLogs", question), self._contract, root)

    async def tip(self) -> Tip:
        """The latest and the final block; raises as `read_tip`."""
        self._tip = await read_tip(self._rpc, self._finality, self._tip)
        return self._tip

    async def forget(self, first: Sequence) -> None:
        """Scan again for the events numbered `first` and on."""
        async with self._lock:
            while self._known >= first:
                self._checkpoints.pop()
            self._forget_above(self._known)

    @property
    def _known(self) -> int:
        return self._checkpoints[-1].events if self._checkpoints else 0

    async def _advance(self, final: Block) -> None:
        await self._return_to_branch(final)
        start = self._checkpoints[-1].height + 1 if self._checkpoints else self._first_block
        while start <= final.number:
            if start == final.number:
                self._append(await self._read_block(final), final)
                return
            end = min(start + self._limits.blocks - 1, final.number)
            events, blocks = await self._read(start, end)
            last = blocks[end]
            if end == final.number and last.hash != final.hash:
                raise ChainMoved(f"final block {end} of {self._rpc.node} changed")
            self._append(events, last)
            start = end + 1

    async def _return_to_branch(self, final: Block) -> None:
        while self._checkpoints:
            newest = self._checkpoints[-1]
            if newest.height == final.number:
                there = final
            elif newest.height + 1 == final.number and newest.hash == final.parent:
                return
            elif newest.height < final.number:
                there = await block_at(self._rpc, newest.height)
            else:
                there = None
            if there is not None and there.hash == newest.hash:
                return
            self._checkpoints.pop()
            self._forget_above(self._known)

    def _forget_above(self, known: int) -> None:
        self._events.forget_above(known)
        self._batches = {root: place for root, place in self._batches.items() if place[0] <= known}

    def _append(self, events: list[FinalEvent], end: Block) -> None:
        known = self._known
        if events and events[0].item.sequence != known + 1:
            raise EventGap(f"event {events[0].item.sequence} where event {known + 1} was due")
        for event in events:
            self._events.append(event)
            if event.item.event.kind == Kind.BATCH_LOCKED:
                self._batches.setdefault(event.item.event.subject, (event.item.sequence, event.height))
        self._checkpoints.append(_Checkpoint(height=end.number, hash=end.hash, events=known + len(events)))
        del self._checkpoints[:-_CHECKPOINTS]

    async def _read_again(self, first: int, last: int) -> tuple[FinalEvent, ...]:
        found: list[FinalEvent] = []
        for start, end in self._events.ranges(first, last, blocks=self._limits.blocks):
            events, _ = await self._read(start, end)
            found += [event for event in events if first <= event.item.sequence <= last]
        if [event.item.sequence for event in found] != list(range(first, last + 1)):
            # They were there when the index was built on this very branch.
            raise EventGap(f"events {first} to {last} of {self._known} are not all there any more")
        for event in found:
            self._events.keep(event)
        return tuple(found)

    async def _read(self, start: int, end: int) -> tuple[list[FinalEvent], dict[int, Block]]:
        logs = await self._logs(start, end)
        blocks: dict[int, Block] = {}
        for number, block in (await blocks_at(self._rpc, {end, *(log.height for log in logs)})).items():
            if block is None:
                raise ChainMoved(f"block {number} of {self._rpc.node} is gone")
            blocks[number] = block
        return self._events_in(logs, blocks), blocks

    async def _read_block(self, block: Block) -> list[FinalEvent]:
        # By its hash: nothing has to be asked to know of which branch the logs are.
        question = self._question([event_topic()], blockHash=hex_data(block.hash))
        answer = await self._rpc.call("eth_getLogs", question)
        logs = read_logs(answer, self._contract, first_block=block.number, last_block=block.number)
        return self._events_in(logs, {block.number: block})

    def _events_in(self, logs: list[RegistryLog], blocks: dict[int, Block]) -> list[FinalEvent]:
        for log in logs:
            if log.block_hash != blocks[log.height].hash:
                raise ChainMoved(f"event {log.item.sequence} of {self._rpc.node} is of another block {log.height}")
        return [
            FinalEvent(
                item=log.item,
                height=log.height,
                block_hash=log.block_hash,
                transaction=hex_data(log.transaction),
                time=blocks[log.height].time,
            )
            for log in logs
        ]

    async def _logs(self, start: int, end: int) -> list[RegistryLog]:
        question = self._question([event_topic()], **_range(start, end))
        try:
            answer = await self._rpc.call("eth_getLogs", question)
            return read_logs(answer, self._contract, first_block=start, last_block=end)
        except (RpcFailure, AnswerTooLarge) as error:
            if start == end or not _is_too_wide(error):
                raise
        middle = (start + end) // 2
        logs = [*await self._logs(start, middle), *await self._logs(middle + 1, end)]
        if logs:
            check_contiguous(logs, logs[0].item.sequence)
        return logs

    def _question(self, topics: list[Bytes32], **blocks: str) -> dict[str, object]:
        return {"address": hex_data(self._contract), "topics": [hex_data(topic) for topic in topics], **blocks}


def _range(start: int, end: int) -> dict[str, str]:
    return {"fromBlock": hex_quantity(start), "toBlock": hex_quantity(end)}


def _is_too_wide(error: RpcFailure | AnswerTooLarge) -> bool:
    if isinstance(error, AnswerTooLarge) or error.code == _TOO_WIDE_CODE:
        return True
    if "BlockOutOfRange" in error.message:
        raise ChainMoved(error.message) from error
    return any(words in error.message.lower() for words in _TOO_WIDE)
