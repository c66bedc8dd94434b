"""The machine's clock, randomness and end: what the services get of it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from caimi.types.primitives import UnixSeconds

__all__ = ["KillAt", "SystemClock", "SystemEntropy"]


class SystemClock:
    """`Clock` of this machine, or one that is so many seconds ahead of it (behind, if negative)."""

    def __init__(self, ahead_seconds: int = 0) -> None:
        self._ahead_ns = ahead_seconds * 1_000_000_000

    def now(self) -> UnixSeconds:
        """Seconds since the Unix epoch."""
        return UnixSeconds(self.now_ns() // 1_000_000_000)

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return time.time_ns() + self._ahead_ns

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class SystemEntropy:
    """`Entropy` of the operating system."""

    def take(self, length: int) -> bytes:
        """`length` fresh bytes."""
        return os.urandom(length)


class KillAt:
    """`CrashPoints` of a devnet: kills this process when a step has been persisted for the n-th time."""

    def __init__(self, step: str, count: int, record: Path | None = None) -> None:
        """Arguments:
        record: A file to make at the end; once it is there nothing is killed any more.
        """
        self._step = step
        self._left = count
        self._record = record

    def reached(self, step: str) -> None:
        """Never returns at the n-th time: nothing of this process runs after the step became durable."""
        if step != self._step or (self._record is not None and self._record.exists()):
            return
        self._left -= 1
        if self._left == 0:
            if self._record is not None:
                self._record.touch()
            os.kill(os.getpid(), signal.SIGKILL)
