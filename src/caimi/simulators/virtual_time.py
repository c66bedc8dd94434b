"""An event loop whose time jumps to the next thing that is due: hours pass in moments, in the same order every time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from caimi.types.primitives import UnixSeconds

__all__ = ["Deadlocked", "VirtualClock", "run_virtual"]

T = TypeVar("T")


class Deadlocked(BaseException):
    """Nothing is due and nothing will ever be: everybody waits for somebody."""


class _Jump(selectors.BaseSelector):
    # Instead of waiting for sockets, which a simulation has none of, time moves to the next timer.

    def __init__(self) -> None:
        self.time = 0.0
        self._inner = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlocked
        self.time += max(0.0, timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.time

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        # A thread would take real time, and end at another moment in every run.
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class VirtualClock:
    """The `Clock` port in virtual time, right or wrong by `skew` seconds."""

    def __init__(self, start: UnixSeconds, *, skew: float = 0.0) -> None:
        self._start = start
        self.skew = skew

    def now(self) -> UnixSeconds:
        """Seconds since the Unix epoch, by this process's clock."""
        return UnixSeconds(int(self._start + self.monotonic() + self.skew))

    def monotonic(self) -> float:
        """Virtual seconds since the simulation began."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time."""
        await asyncio.sleep(seconds)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end in virtual time, beginning at 0.

    Raises:
        Deadlocked: It can never end.
    """
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(main)
