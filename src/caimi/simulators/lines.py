"""Connections that lose, delay and double what goes over them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from caimi.simulators.processes import ProcessDown
from caimi.types.errors import CaimiError

__all__ = ["Line"]

T = TypeVar("T")


class Line:
    """One way to somebody. `loss` is a probability, `delay` the longest delay in seconds; both are 0 at first."""

    def __init__(self, *, rng: random.Random, unavailable: Callable[[str], CaimiError], patience_s: float) -> None:
        """Arguments:
        unavailable: makes the error that whoever asks gets when no answer comes.
        patience_s: how long the client that stands for waits for an answer that never comes.
        """
        self.loss = 0.0
        self.delay = 0.0
        self._rng = rng
        self._unavailable = unavailable
        self._patience_s = patience_s
        # What arrives after its sender gave up; kept, since the loop keeps no task alive by itself.
        self._late: dict[asyncio.Task[Any], None] = {}

    async def ask(self, work: Callable[[], Awaitable[T]]) -> T:
        """The answer of `work`, unless the line loses the question or the answer; `work` may be done twice, or late.

        Raises:
            CaimiError: The line's own, or of `work`.
        """
        rng = self._rng
        if self.delay > 0:
            await asyncio.sleep(rng.uniform(0.0, self.delay))
        if rng.random() < self.loss:
            await self._lose(work, rng.randrange(4))
        try:
            if rng.random() < self.loss:
                await work()
            return await work()
        except ProcessDown as down:
            raise self._unavailable(f"{down} does not answer") from down

    async def _lose(self, work: Callable[[], Awaitable[Any]], how: int) -> None:
        match how:
            case 0:
                pass
            case 1:
                await asyncio.sleep(self._patience_s)
            case 2:
                await self._silently(work)
            case _:
                task = asyncio.ensure_future(self._later(work, self._rng.uniform(0.5, 20.0)))
                self._late[task] = None
                task.add_done_callback(lambda done: self._late.pop(done, None))
        raise self._unavailable("the line lost it")

    async def _later(self, work: Callable[[], Awaitable[Any]], seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._silently(work)

    @staticmethod
    async def _silently(work: Callable[[], Awaitable[Any]]) -> None:
        with suppress(CaimiError, ProcessDown):
            await work()
