"""Steps as JSON lines, numbers as Prometheus text: what every process shows of itself."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

__all__ = ["JsonObserver"]

_LONGEST_TEXT: Final = 2_000
Labels = tuple[tuple[str, str], ...]


class JsonObserver:
    """An `Observer` that writes one JSON object per step and keeps the numbers for /metrics."""

    def __init__(self, process: str, output: IO[str]) -> None:
        self._process = process
        self._output = output
        self._lock = threading.Lock()
        self._gauges: dict[tuple[str, Labels], float] = {}
        self._counters: dict[tuple[str, Labels], int] = {}

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

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a number."""
        self._gauges[name, _labels(labels)] = value

    def count(self, name: str, **labels: str) -> None:
        """Add one."""
        key = name, _labels(labels)
        self._counters[key] = self._counters.get(key, 0) + 1

    def metrics(self) -> str:
        """All numbers in Prometheus' text format; names get the prefix `caimi_`, counters the suffix `_total`."""
        lines: list[str] = []
        for kind, suffix, numbers in (("gauge", "", self._gauges), ("counter", "_total", self._counters)):
            for name in sorted({name for name, _ in numbers}):
                full = f"caimi_{name}{suffix}"
                lines.append(f"# TYPE {full} {kind}")
                lines += [f"{full}{_shown(labels)} {value:g}" for (n, labels), value in numbers.items() if n == name]
        return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _shown(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = ((k, v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for k, v in labels)
    return "{" + ",".join(f'{k}="{v}"' for k, v in pairs) + "}"
