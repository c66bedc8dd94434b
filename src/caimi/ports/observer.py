"""One port carries what happens: ids, lane and step (JSON lines and Prometheus now)."""

from __future__ import annotations

from typing import Protocol

from caimi.ports.metrics import Counter, Gauge, Histogram

__all__ = ["Observer"]


class Observer(Protocol):
    """Receives steps and numbers. Never secrets. Labels are those that the metric declares."""

    def step(self, name: str, **fields: str | int | float | None) -> None:
        """A named step with its ids, e.g. step("call.included", lane="ethereum", key="0x…", height=7)."""
        ...

    def gauge(self, metric: Gauge, value: float, /, **labels: str) -> None:
        """A number as it is now."""
        ...

    def count(self, metric: Counter, amount: int = 1, /, **labels: str) -> None:
        """`amount` more of something."""
        ...

    def observe(self, metric: Histogram, value: float, /, **labels: str) -> None:
        """One observation, e.g. how long something took."""
        ...
