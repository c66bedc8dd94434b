"""A TCP proxy on the loopback that passes every byte on later: an emulated line, with no right to change networks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

__all__ = ["DelayedLine"]

_CHUNK = 1 << 16


@dataclass(slots=True, kw_only=True)
class DelayedLine:
    """One place behind a line. Use `DelayedLine.open`."""

    host: str
    port: int
    """Where the line leads to."""
    round_trip_s: float
    """May be changed at any time; counts for what is read after that."""
    local_port: int = 0
    """Where it begins."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set["asyncio.Task[None]"])

    @classmethod
    @asynccontextmanager
    async def open(cls, host: str, port: int, *, round_trip_s: float) -> AsyncGenerator[DelayedLine]:
        """A line to a place; on leaving, its connections are cut."""
        line = cls(host=host, port=port, round_trip_s=round_trip_s)
        server = await asyncio.start_server(line._accept, "127.0.0.1", 0)
        line.local_port = server.sockets[0].getsockname()[1]
        try:
            yield line
        finally:
            server.close()
            for task in tuple(line._tasks):
                task.cancel()
            await asyncio.gather(*line._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.close()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, far_writer))
                group.create_task(self._pass(far_reader, writer))
        finally:
            for one in (writer, far_writer):
                one.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Bytes are on the way side by side: a delay is no limit to the rate.
        loop = asyncio.get_running_loop()
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arriving = asyncio.create_task(_arrive(on_the_way, writer))
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                on_the_way.put_nowait((loop.time() + self.round_trip_s / 2, data))
        on_the_way.put_nowait((loop.time() + self.round_trip_s / 2, b""))
        await arriving


async def _arrive(on_the_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while True:
            due, data = await on_the_way.get()
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
