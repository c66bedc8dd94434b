"""A process in a simulation: killed at a persisted step or in between, with all calls to it, and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar, cast

from caimi.simulators.actors import Crashed, KillSwitch, Trace
from caimi.types.errors import CaimiError

__all__ = ["Process", "ProcessDown"]

T = TypeVar("T")
_AFTER_CRASH: Final = 2.0


class ProcessDown(Exception):
    """The process that was asked does not run, or was killed while it answered: nobody knows what it did."""


class Process:
    """One process under a supervisor, which starts it again from its store whatever ended it."""

    def __init__(
        self, name: str, start: Callable[[], Coroutine[Any, Any, None]], switch: KillSwitch, trace: Trace
    ) -> None:
        self.name = name
        self.bugs: list[str] = []
        """What ended it, or a call to it, though nobody killed it."""
        self.switch = switch
        self._start = start
        self._trace = trace
        self._task: asyncio.Task[None] | None = None
        # Ordered, so that a kill ends them in the same order every time.
        self._calls: dict[asyncio.Task[Any], None] = {}
        self._pause = 1.0

    @property
    def is_up(self) -> bool:
        """Whether it runs now."""
        return self._task is not None and not self._task.done() and not self._task.cancelling()

    async def run(self) -> None:
        """Keep it running for ever."""
        while True:
            self._task = asyncio.ensure_future(self._start())
            (ended,) = await asyncio.gather(self._task, return_exceptions=True)
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise asyncio.CancelledError
            self._end_calls()
            how, is_bug = _how(ended)
            self._trace.note(f"{self.name} ended: {how}")
            if is_bug:
                self.bugs.append(f"ended: {how}")
            await asyncio.sleep(self._pause)

    def kill(self, *, pause: float) -> None:
        """Kill it now; start it again after `pause` seconds."""
        self._pause = pause
        if self._task is not None:
            self._task.cancel()
            self._end_calls()

    def kill_at_step(self, steps: int, *, pause: float) -> None:
        """Kill it at the `steps`-th persisted step from now; start it again after `pause` seconds."""
        self._pause = pause
        self.switch.arm(steps)

    def spare(self) -> None:
        """Do not kill it at a step after all."""
        self.switch.arm(0)

    async def answer(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Have the process do something for somebody outside, who may go away meanwhile without stopping it.

        Raises:
            ProcessDown: It does not run, or was killed meanwhile.
            CaimiError: Of `work`.
        """
        if not self.is_up:
            raise ProcessDown(self.name)
        task = asyncio.ensure_future(work())
        self._calls[task] = None
        task.add_done_callback(self._answered)
        await asyncio.wait([task])
        if task.cancelled() or isinstance(task.exception(), Crashed):
            raise ProcessDown(self.name)
        return task.result()

    def _answered(self, task: asyncio.Task[Any]) -> None:
        self._calls.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Crashed):
            self._trace.note(f"{self.name} answers no more: killed at {error}")
            self.kill(pause=_AFTER_CRASH)
        elif error is not None and not isinstance(error, CaimiError):
            self.bugs.append(f"in a call: {error!r}")

    def _end_calls(self) -> None:
        for task in self._calls:
            task.cancel()


def _how(ended: BaseException | None) -> tuple[str, bool]:
    # How it ended, and whether that was nobody's doing. A task group puts what ended it into a group.
    if ended is None:
        return "by itself", True
    if isinstance(ended, BaseExceptionGroup):
        several = [_how(one) for one in cast("BaseExceptionGroup[BaseException]", ended).exceptions]
        return "; ".join(dict.fromkeys(how for how, _ in several)), any(is_bug for _, is_bug in several)
    if isinstance(ended, Crashed):
        return f"killed at {ended}", False
    if isinstance(ended, asyncio.CancelledError):
        return "killed", False
    return repr(ended), True
