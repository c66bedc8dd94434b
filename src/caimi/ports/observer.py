"""One port carries what happens: ids, lane and step (JSON lines and Prometheus now)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from caimi.ports.metrics import Counter, Gauge, Histogram
from caimi.types.primitives import Bytes32

__all__ = ["Observer"]


class Observer(Protocol):
    """Receives steps and numbers. Never secrets. Labels are those that the metric declares."""

    def step(self, name: str, *, about: Sequence[Bytes32] = (), **fields: str | int | float | None) -> None:
        """A named step, e.g. step("call.included", about=(publication,), lane="ethereum", height=7).

        Arguments:
            about: publications and requests that it concerns; by default those that the present task works on
                (`caimi.ports.tracing`).
        """
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
