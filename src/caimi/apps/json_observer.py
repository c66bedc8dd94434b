"""Steps as JSON lines, numbers as Prometheus text: what every process shows of itself."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import IO, Any, Final

from caimi.apps.metric_book import MetricBook
from caimi.ports.metrics import BUILD, STARTED, Counter, Gauge, Histogram
from caimi.ports.tracing import MOST_IDS, current_trace, trace_of
from caimi.types.primitives import Bytes32

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

    def step(self, name: str, *, about: Sequence[Bytes32] = (), **fields: str | int | float | None) -> None:
        """Write one line: time, process, step, its fields, and the trace and id of what it is about.

        Of several workflows at once `traces` and `ids` are lists, and of very many there are several lines.
        """
        shown = {k: v[:_LONGEST_TEXT] if isinstance(v, str) else v for k, v in fields.items() if v is not None}
        line = {"time": round(time.time(), 3), "process": self._process, "step": name, **shown}
        lines = "".join(f"{json.dumps(line | subjects)}\n" for subjects in _subjects(about))
        # Nobody stops working because the disk of the log is full: lines are lost then.
        with self._lock, contextlib.suppress(OSError):
            self._output.write(lines)
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


def _subjects(about: Sequence[Bytes32]) -> Iterator[dict[str, Any]]:
    context = current_trace()
    ids = about or (context.ids if context else ())
    if not ids:
        yield {} if context is None else {"trace": context.trace}
        return
    # Somebody who asked with a trace of his own finds what became of it.
    is_ours = context is None or context.trace in {trace_of(one) for one in ids}
    caller = {} if is_ours or context is None else {"caller_trace": context.trace}
    for first in range(0, len(ids), MOST_IDS):
        yield _named(ids[first : first + MOST_IDS]) | caller


def _named(ids: Sequence[Bytes32]) -> dict[str, Any]:
    if len(ids) == 1:
        return {"trace": trace_of(ids[0]), "id": "0x" + ids[0].hex()}
    return {"traces": [trace_of(one) for one in ids], "ids": ["0x" + one.hex() for one in ids]}
