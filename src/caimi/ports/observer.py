"""One port carries what happens: ids, lane and step (JSON lines and Prometheus now)."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Observer"]


class Observer(Protocol):
    """Receives steps and numbers. Never secrets."""

    def step(self, name: str, **fields: str | int | float | None) -> None:
        """A named step with its ids, e.g. step("call.included", lane="ethereum", key="0x…", height=7)."""
        ...

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """A number as it is now."""
        ...

    def count(self, name: str, **labels: str) -> None:
        """One more of something."""
        ...
