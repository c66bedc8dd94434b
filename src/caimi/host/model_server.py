"""One model in front of its callers: loads it when somebody asks, and runs what waits in batches (spec 60 §7)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from caimi.bundle.buffers import BytesLike
from caimi.bundle.errors import BundleError
from caimi.bundle.signature import ModelSignature
from caimi.bundle.tensors import Tensor, item_bytes
from caimi.host.call_errors import DeadlineUnmeetable, HostBusy, ModelNotReady
from caimi.host.fair_queue import Entry, FairQueue, Pace, QueueFull, QueueLimits
from caimi.host.loading import is_final
from caimi.host.publications import KnownPublication
from caimi.host.shelf import ModelLease, ModelShelf
from caimi.ports.clock import Clock
from caimi.ports.metrics import HOST_BATCH
from caimi.ports.model_runtime import RuntimeFailed, RuntimeRefused
from caimi.ports.observer import Observer
from caimi.types.errors import CaimiError
from caimi.types.primitives import Address, Bytes32

__all__ = ["Batching", "ModelServer", "Served"]

_LEAST_WAIT_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How calls are run together."""

    rows: int = 32
    """Most rows of a batch of more than one call."""
    wait_s: float = 0.002
    """How long the first call of a batch waits for others."""
    pause_s: float = 2.0
    """After the model could not be loaded, before it is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What came out, and the lease under which it was run."""

    lease: Bytes32
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    request: Bytes32
    inputs: Mapping[str, Tensor]
    done: asyncio.Future[Served]


class ModelServer:
    """The calls of one publication."""

    def __init__(
        self,
        publication: KnownPublication,
        limits: QueueLimits,
        batching: Batching,
        *,
        shelf: ModelShelf,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self.publication = publication
        self._batching = batching
        self._shelf = shelf
        self._clock = clock
        self._observer = observer
        self._queue: FairQueue[_Work] = FairQueue(limits)
        self._pace = Pace()
        self._signature: ModelSignature | None = None
        self._most_rows = 0
        self._loading: asyncio.Task[None] | None = None
        self._trouble: tuple[ModelNotReady, float] | None = None
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._running = 0
        self._is_stopped = False
        self.batches = 0
        """Batches that were run."""

    @property
    def waiting(self) -> int:
        """Calls that wait or are being run."""
        return len(self._queue) + self._running

    async def signature(self, opening: Bytes32) -> ModelSignature:
        """What the model takes and gives; loads it if this is not known yet.

        Arguments:
            opening: the request for which it is.
        Raises:
            ModelNotReady: No lease, no key or no model at present.
            CaimiError: It never will be: of `ModelShelf.use`.
        """
        if self._signature is None:
            if self._trouble is not None and self._clock.monotonic() < self._trouble[1]:
                raise self._trouble[0]
            if self._loading is None or self._loading.done():
                self._loading = asyncio.create_task(self._load(opening))
                # When all who wait have given up, nobody is left to take its error.
                self._loading.add_done_callback(_take_error)
            # Whoever gives up does not stop it for the others.
            await asyncio.shield(self._loading)
        if self._signature is None:
            raise RuntimeError("a model that is loaded has a signature")
        return self._signature

    def check_room(self, until: float, *, rows: int = 1) -> None:
        """Refuse a call that would be late.

        Arguments:
            until: monotonic seconds.
        Raises:
            DeadlineUnmeetable: At the measured rate it would.
        """
        expected = self._pace.seconds_for(self._queue.rows + self._running + rows)
        if self._clock.monotonic() + expected > until:
            raise DeadlineUnmeetable(f"{expected:.1f} s are expected", max(expected, _LEAST_WAIT_S))

    async def run(self, request: Bytes32, consumer: Address, inputs: Mapping[str, Tensor], *, until: float) -> Served:
        """Run checked inputs, after those whose turn is before.

        Raises:
            HostBusy: No room; the call of somebody who has less in the queue took its place.
            DeadlineUnmeetable: It would be late.
            TimeoutError: It is late: nothing was run for it, or what was run is dropped.
            ModelNotReady, RuntimeFailed, RuntimeRefused, CaimiError: Of `ModelShelf.use` and the runtime.
        """
        rows = _rows_of(inputs) if self._most_rows else 1
        self.check_room(until, rows=rows)
        now = self._clock.monotonic()
        entry = Entry(
            consumer=consumer,
            group=tuple(tensor.shape[1:] for _, tensor in sorted(inputs.items())) if self._most_rows else None,
            rows=rows,
            size=sum(len(tensor.data) for tensor in inputs.values()),
            queued=now,
            until=until,
            item=_Work(request=request, inputs=inputs, done=asyncio.get_running_loop().create_future()),
        )
        self._enqueue(entry)
        try:
            async with asyncio.timeout(until - now):
                return await entry.item.done
        finally:
            # Its client went away, or it is late: its place is free.
            self._queue.remove(entry)

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for anything of it."""
        return not self.waiting and (self._loading is None or self._loading.done())

    def stop(self) -> None:
        """End its work for good. Calls that wait are cancelled; those that come too late are told to come again."""
        self._is_stopped = True
        for task in (self._worker, self._loading):
            if task is not None:
                task.cancel()
        while (entry := self._queue.head()) is not None:
            self._queue.remove(entry)
            entry.item.done.cancel()

    # --- loading

    async def _load(self, opening: Bytes32) -> None:
        try:
            async with self._shelf.use(self.publication, opening=opening, calls=0) as leased:
                self._most_rows = self._batching.rows if leased.model.keeps_rows_apart else 0
                self._signature = leased.manifest.signature
        except CaimiError as error:
            raise self._told(error) from error

    def _told(self, error: CaimiError) -> CaimiError:
        if is_final(error):
            return error
        pause = self._batching.pause_s
        trouble = ModelNotReady(error, pause)
        self._trouble = trouble, self._clock.monotonic() + pause
        return trouble

    # --- running

    def _enqueue(self, entry: Entry[_Work]) -> None:
        if self._is_stopped:
            # A call that was on its way here; nobody would ever end a worker that it started.
            raise HostBusy("its model has just made room", _LEAST_WAIT_S)
        try:
            pushed = self._queue.add(entry)
        except QueueFull as error:
            raise self._busy() from error
        if pushed is not None and not pushed.item.done.done():
            pushed.item.done.set_exception(self._busy())
        if self._queue.rows >= self._most_rows:
            self._full.set()
        self._arrived.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())

    def _busy(self) -> HostBusy:
        seconds = self._pace.seconds_for(self._queue.rows + self._running)
        return HostBusy(f"{len(self._queue)} calls wait", max(seconds, _LEAST_WAIT_S))

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            await self._gather()
            batch, late = self._queue.take(most_rows=self._most_rows, now=self._clock.monotonic())
            for entry in late:
                _fail(entry, TimeoutError())
            if batch:
                await self._run_batch(batch)
            elif not len(self._queue):
                self._arrived.clear()

    async def _gather(self) -> None:
        # A batch that is not full waits a little for more, unless its first call has waited that long already.
        head = self._queue.head()
        if head is None or self._queue.rows >= self._most_rows:
            return
        left = head.queued + self._batching.wait_s - self._clock.monotonic()
        if left <= 0:
            return
        self._full.clear()
        waits = {asyncio.ensure_future(self._full.wait()), asyncio.ensure_future(self._clock.sleep(left))}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _run_batch(self, batch: Sequence[Entry[_Work]]) -> None:
        self._running = sum(entry.rows for entry in batch)
        try:
            await self._try_batch(batch)
        finally:
            self._running = 0

    async def _try_batch(self, batch: Sequence[Entry[_Work]]) -> None:
        try:
            async with self._shelf.use(self.publication, opening=batch[0].item.request, calls=len(batch)) as leased:
                started = self._clock.monotonic()
                outputs = await _run(leased, batch)
                self._pace.observe(sum(entry.rows for entry in batch), self._clock.monotonic() - started)
        except (RuntimeFailed, RuntimeRefused, BundleError) as error:
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            # One of them may be to blame; the others must not pay for it.
            for entry in batch:
                if not entry.item.done.done():
                    await self._try_batch([entry])
            return
        except CaimiError as error:
            told = self._told(error)
            for entry in batch:
                _fail(entry, told)
            return
        self.batches += 1
        self._observer.observe(HOST_BATCH, len(batch))
        for entry, found in zip(batch, outputs, strict=True):
            if not entry.item.done.done():
                entry.item.done.set_result(Served(lease=leased.lease, outputs=found))


def _take_error(done: asyncio.Task[None]) -> None:
    if not done.cancelled():
        done.exception()


def _fail(entry: Entry[_Work], error: BaseException) -> None:
    if not entry.item.done.done():
        entry.item.done.set_exception(error)


def _rows_of(inputs: Mapping[str, Tensor]) -> int:
    return next(iter(inputs.values())).shape[0]


async def _run(leased: ModelLease, batch: Sequence[Entry[_Work]]) -> list[dict[str, Tensor]]:
    if len(batch) == 1:
        return [await leased.model.run(batch[0].item.inputs)]
    joined = {name: _join([entry.item.inputs[name] for entry in batch]) for name in batch[0].item.inputs}
    outputs = await leased.model.run(joined)
    rows = [entry.rows for entry in batch]
    cut = {name: _cut(tensor, rows) for name, tensor in outputs.items()}
    return [{name: parts[i] for name, parts in cut.items()} for i in range(len(batch))]


def _join(parts: Sequence[Tensor]) -> Tensor:
    first = parts[0]
    rows = sum(part.shape[0] for part in parts)
    data = b"".join(part.data for part in parts)
    return Tensor(dtype=first.dtype, shape=(rows, *first.shape[1:]), data=data)


def _cut(tensor: Tensor, rows: Sequence[int]) -> list[Tensor]:
    # The inspection showed that rows stay apart; what comes out of the runner has to be so many of them.
    if not tensor.shape or tensor.shape[0] != sum(rows):
        raise RuntimeFailed("the outputs have another number of rows than the inputs")
    width = len(tensor.data) // sum(rows) if sum(rows) else 0
    view, at, parts = memoryview(_plain(tensor)), 0, list[Tensor]()
    for count in rows:
        data = view[at : at + count * width]
        parts.append(Tensor(dtype=tensor.dtype, shape=(count, *tensor.shape[1:]), data=data))
        at += count * width
    return parts


def _plain(tensor: Tensor) -> BytesLike:
    if len(tensor.data) % item_bytes(tensor.dtype):
        raise RuntimeFailed("the outputs end inside an element")
    return tensor.data
