"""Steps as JSON lines, numbers as Prometheus text: what every process shows of itself."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import IO, Final

from caimi.apps.metric_book import MetricBook
from caimi.ports.metrics import BUILD, STARTED, Counter, Gauge, Histogram

__all__ = ["JsonObserver"]

_LONGEST_TEXT: Final = 2_000


class JsonObserver:
    """An `Observer` that writes one JSON object per step and keeps the numbers for /metrics."""

    def __init__(self, process: str, output: IO[str]) -> None:
        self._process = process
        self._output = output
        self._lock = threading.Lock()
        self._book = MetricBook()
        self._collectors: list[Callable[[], None]] = []
        self.gauge(BUILD, 1, version=metadata.version("caimi"))
        self.gauge(STARTED, time.time())

    @staticmethod
    def open(process: str, path: Path) -> JsonObserver:
        """Append to the file at `path`, made with mode 0600."""
        path.touch(mode=0o600, exist_ok=True)
        return JsonObserver(process, path.open("a", encoding="utf-8", buffering=1))

    def step(self, name: str, **fields: str | int | float | None) -> None:
        """Write one line: time, process, step and its fields."""
        shown = {k: v[:_LONGEST_TEXT] if isinstance(v, str) else v for k, v in fields.items() if v is not None}
        line = json.dumps({"time": round(time.time(), 3), "process": self._process, "step": name, **shown})
        with self._lock:
            self._output.write(line + "\n")
            self._output.flush()

    def gauge(self, metric: Gauge, value: float, /, **labels: str) -> None:
        """Set a number."""
        self._book.set(metric, value, labels)

    def count(self, metric: Counter, amount: int = 1, /, **labels: str) -> None:
        """Add to a number."""
        self._book.add(metric, amount, labels)

    def observe(self, metric: Histogram, value: float, /, **labels: str) -> None:
        """Count one observation."""
        self._book.observe(metric, value, labels)

    def collect(self, collector: Callable[[], None]) -> None:
        """Have `collector` called before each answer of /metrics: it sets what changes by itself, such as ages."""
        self._collectors.append(collector)

    def metrics(self) -> str:
        """All numbers in Prometheus' text format."""
        for collector in self._collectors:
            collector()
        return self._book.text()
