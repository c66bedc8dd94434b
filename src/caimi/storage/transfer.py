"""Whole contents over block stores: resumable uploads, verified reads from several sources (spec 15 §9)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Final

from caimi.bundle.buffers import BytesLike
from caimi.bundle.cid import RAW
from caimi.bundle.errors import BlockRefused, OutOfOrder
from caimi.bundle.unixfs import Block, DagReader, FileRoot, UnixFsBuilder
from caimi.ports.content import (
    AllSourcesFailed,
    BlockMissing,
    BlockSource,
    BlockStore,
    ContentError,
    SourceFailure,
    StoreRefused,
    UploadProgress,
)
from caimi.types.records import Cid

__all__ = ["AHEAD", "WINDOW", "Content", "VerifiedStream"]

WINDOW: Final = 16
"""Blocks that an upload holds in memory at a time (16 MiB)."""
AHEAD: Final = 4
"""Blocks that a read asks for ahead."""


class Content:
    """Uploads to one store and reads from several sources, preferred ones first."""

    def __init__(
        self,
        *,
        sources: Sequence[BlockSource],
        store: BlockStore | None = None,
        window: int = WINDOW,
        ahead: int = AHEAD,
    ) -> None:
        """Arguments:
        sources: Where blocks are asked for, in this order.
        store: Where uploads go; None for a reader.
        """
        self._sources = tuple(sources)
        self._store = store
        self._window = window
        self._ahead = ahead

    async def upload(
        self, chunks: Iterable[BytesLike], *, progress: Callable[[UploadProgress], None] | None = None
    ) -> FileRoot:
        """As `ContentStore.upload`. `chunks` is read in a worker thread, one window at a time."""
        if self._store is None:
            raise StoreRefused("this content store has no store to upload to")
        builder = UnixFsBuilder()
        blocks = builder.blocks(chunks)
        done = UploadProgress(blocks=0, sent_blocks=0, content_bytes=0)
        while window := await asyncio.to_thread(_take, blocks, self._window):
            sent = await _send(self._store, window)
            done = UploadProgress(
                blocks=done.blocks + len(window),
                sent_blocks=done.sent_blocks + sent,
                content_bytes=done.content_bytes + sum(len(b.data) for b in window if b.cid.codec == RAW),
            )
            if progress is not None:
                progress(done)
        return builder.root

    async def open(self, root: Cid, *, max_content_bytes: int) -> VerifiedStream:
        """As `ContentStore.open`."""
        stream = VerifiedStream(root, self._sources, max_content_bytes=max_content_bytes, ahead=self._ahead)
        await stream.start()
        return stream


class VerifiedStream:
    """Implements `ContentStream`. Made by `Content.open`."""

    def __init__(self, root: Cid, sources: Sequence[BlockSource], *, max_content_bytes: int, ahead: int) -> None:
        self.failures: list[SourceFailure] = []
        self._reader = DagReader(root, max_content_bytes=max_content_bytes)
        self._sources = list(sources)
        self._ahead = ahead
        self._first: BytesLike = b""
        self._started = False

    @property
    def content_bytes(self) -> int:
        """Size of the content in bytes."""
        if self._reader.content_bytes is None:
            raise OutOfOrder("the root has not been fetched")
        return self._reader.content_bytes

    async def start(self) -> None:
        """Fetch and check the root."""
        self._first = self._reader.feed(await self._fetch(self._reader.root))

    async def __aiter__(self) -> AsyncIterator[BytesLike]:
        """The leaves in order. Blocks ahead are fetched meanwhile, until the iterator is closed."""
        if self._started:
            raise OutOfOrder("a stream is read once")
        self._started = True
        if len(self._first):
            yield self._first
        running: dict[Cid, asyncio.Task[Block]] = {}
        try:
            while not self._reader.is_done:
                due = self._reader.due(self._ahead)
                for cid in due:
                    if cid not in running:
                        running[cid] = asyncio.create_task(self._fetch(cid))
                content = self._reader.feed(await running.pop(due[0]))
                if len(content):
                    yield content
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)

    async def _fetch(self, cid: Cid) -> Block:
        failures: list[SourceFailure] = []
        for source in tuple(self._sources):
            try:
                return await source.get(cid)
            except (ContentError, BlockRefused) as error:
                failure = SourceFailure(source=source.name, cid=cid, error=error)
                failures.append(failure)
                self.failures.append(failure)
                self._demote(source, error)
        raise AllSourcesFailed(cid, failures)

    def _demote(self, source: BlockSource, error: ContentError | BlockRefused) -> None:
        # A source that gives wrong bytes is not asked again; one that is away is asked last; one that only lacks this
        # block keeps its place.
        if isinstance(error, BlockMissing) or source not in self._sources:
            return
        self._sources.remove(source)
        if not isinstance(error, BlockRefused):
            self._sources.append(source)


async def _send(store: BlockStore, window: Sequence[Block]) -> int:
    # Leaves go side by side, nodes after them and in order: a parent never arrives before its children.
    missing = await store.missing(list({block.cid for block in window}))
    wanted = {block.cid: block for block in window if block.cid in missing}
    leaves = [block for block in wanted.values() if block.cid.codec == RAW]
    results = await asyncio.gather(*(store.put(block) for block in leaves), return_exceptions=True)
    for error in results:
        if error is not None:
            raise error
    for block in wanted.values():
        if block.cid.codec != RAW:
            await store.put(block)
    return len(wanted)


def _take(blocks: Iterator[Block], count: int) -> list[Block]:
    # The builder's views die at its next step, so a window keeps copies.
    return [Block(cid=block.cid, data=bytes(block.data)) for block in itertools.islice(blocks, count)]
