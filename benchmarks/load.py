"""Load on an HTTP server: calls at the times of a Poisson process, or by so many callers who wait for each answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["Answered", "HttpPool", "closed_loop", "open_loop", "poisson_times"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What became of one call."""

    status: int
    """0: the connection broke."""
    seconds: float
    """From the moment when it was due, which is not always when it could be sent."""
    body: bytes


class HttpPool:
    """Connections that are kept alive, as many as are needed at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._place = (host, port)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, wire: bytes) -> tuple[int, bytes]:
        """Send a whole HTTP/1.1 request; status and body of the answer; status 0 if the connection broke."""
        writer = None
        try:
            reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection(*self._place)
            writer.write(wire)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            status = int(head[9:12])
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or b"0")
            body = await reader.readexactly(length)
        except (OSError, EOFError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            if writer is not None:
                writer.close()
            return 0, b""
        self._idle.append((reader, writer))
        return status, body

    async def close(self) -> None:
        """Close all of them."""
        for _, writer in self._idle:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        self._idle.clear()


def poisson_times(rate: float, seconds: float, *, rng: random.Random) -> list[float]:
    """Arrival times in seconds from the start: independent, `rate` a second on average."""
    times: list[float] = []
    at = rng.expovariate(rate)
    while at < seconds:
        times.append(at)
        at += rng.expovariate(rate)
    return times


async def open_loop(
    calls: Sequence[bytes], times: Sequence[float], send: Callable[[bytes], Awaitable[tuple[int, bytes]]]
) -> list[Answered]:
    """Send each call when it is due, however many are still under way."""
    start = time.perf_counter()

    async def one(wire: bytes, due: float) -> Answered:
        status, body = await send(wire)
        return Answered(status=status, seconds=time.perf_counter() - start - due, body=body)

    tasks: list[asyncio.Task[Answered]] = []
    for wire, due in zip(calls, times, strict=True):
        wait = due - (time.perf_counter() - start)
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(wire, due)))
    return list(await asyncio.gather(*tasks))


async def closed_loop(
    calls: Sequence[bytes], in_flight: int, send: Callable[[bytes], Awaitable[tuple[int, bytes]]], *, seconds: float
) -> tuple[float, list[Answered]]:
    """Send calls, always so many at a time, until there are no more or the time is over.

    Returns:
        Seconds until the last answer, and what became of each call that was sent.
    """
    waiting = iter(calls)
    answers: list[Answered] = []
    begin = time.perf_counter()

    async def caller() -> None:
        for wire in waiting:
            sent = time.perf_counter()
            if sent - begin > seconds:
                return
            status, body = await send(wire)
            answers.append(Answered(status=status, seconds=time.perf_counter() - sent, body=body))

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return time.perf_counter() - begin, answers
