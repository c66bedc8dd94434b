"""Time and randomness as the services see them, so that a simulator can give them."""

from __future__ import annotations

from typing import Protocol

from caimi.types.primitives import UnixSeconds

__all__ = ["Clock", "Entropy"]


class Clock(Protocol):
    """Wall time and waiting."""

    def now(self) -> UnixSeconds:
        """Seconds since the Unix epoch by this process's clock."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Entropy(Protocol):
    """Randomness fit for keys."""

    def take(self, length: int) -> bytes:
        """`length` fresh bytes."""
        ...
