"""The numbers of one process, and their text for Prometheus (exposition format 0.0.4)."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from caimi.ports.metrics import METRICS, REFUSED_SERIES, Counter, Gauge, Histogram, Metric, Series

__all__ = ["MEDIA_TYPE", "MetricBook"]

MEDIA_TYPE: Final = "text/plain; version=0.0.4"
"""What `MetricBook.text` is."""
_EXACT: Final = float(1 << 53)


@dataclass(slots=True)
class _Distribution:
    # How many observations fell into each bucket, the last one without a bound; and their sum.
    counts: list[int]
    total: float = 0.0


@dataclass(slots=True)
class _Kept:
    numbers: dict[Series, float] = field(default_factory=dict[Series, float])
    distributions: dict[Series, _Distribution] = field(default_factory=dict[Series, _Distribution])


class MetricBook:
    """Keeps the declared metrics. Any thread may write."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[Metric, _Kept] = {}

    def set(self, metric: Gauge, value: float, labels: Mapping[str, str]) -> None:
        """Replace a number.

        Raises:
            MetricMisused: The labels are not the declared ones.
        """
        with self._lock:
            kept = self._place(metric, labels)
            if kept is not None:
                kept.numbers[metric.series(labels)] = value

    def add(self, metric: Counter, amount: int, labels: Mapping[str, str]) -> None:
        """Add to a number. Raises as `set`."""
        with self._lock:
            self._add(metric, amount, labels)

    def observe(self, metric: Histogram, value: float, labels: Mapping[str, str]) -> None:
        """Count an observation in its bucket. Raises as `set`."""
        with self._lock:
            kept = self._place(metric, labels)
            if kept is None:
                return
            empty = _Distribution([0] * (len(metric.buckets) + 1))
            found = kept.distributions.setdefault(metric.series(labels), empty)
            found.counts[bisect_left(metric.buckets, value)] += 1
            found.total += value

    def text(self) -> str:
        """All of it, in the order of the declarations."""
        with self._lock:
            lines = [line for metric in METRICS if metric in self._kept for line in _lines(metric, self._kept[metric])]
        return "".join(f"{line}\n" for line in lines)

    def _add(self, metric: Counter, amount: int, labels: Mapping[str, str]) -> None:
        kept = self._place(metric, labels)
        if kept is not None:
            series = metric.series(labels)
            kept.numbers[series] = kept.numbers.get(series, 0) + amount

    def _place(self, metric: Metric, labels: Mapping[str, str]) -> _Kept | None:
        # None: there are too many series, which would let whoever chooses a label's value fill the memory.
        series, kept = metric.series(labels), self._kept.setdefault(metric, _Kept())
        known = kept.distributions if isinstance(metric, Histogram) else kept.numbers
        if series in known or len(known) < metric.most_series:
            return kept
        self._add(REFUSED_SERIES, 1, {"metric": metric.full_name})
        return None


def _lines(metric: Metric, kept: _Kept) -> Iterator[str]:
    name = metric.full_name
    kind = "counter" if isinstance(metric, Counter) else "histogram" if isinstance(metric, Histogram) else "gauge"
    yield f"# HELP {name} {_escaped(metric.help)}"
    yield f"# TYPE {name} {kind}"
    for series, value in sorted(kept.numbers.items()):
        yield f"{name}{_labels(metric, series)} {_number(value)}"
    if isinstance(metric, Histogram):
        for series, distribution in sorted(kept.distributions.items(), key=lambda item: item[0]):
            yield from _histogram(metric, series, distribution)


def _histogram(metric: Histogram, series: Series, distribution: _Distribution) -> Iterator[str]:
    name, count = metric.full_name, 0
    for bound, more in zip((*metric.buckets, math.inf), distribution.counts, strict=True):
        count += more
        yield f"{name}_bucket{_labels(metric, series, le=_number(bound))} {count}"
    yield f"{name}_sum{_labels(metric, series)} {_number(distribution.total)}"
    yield f"{name}_count{_labels(metric, series)} {count}"


def _labels(metric: Metric, series: Series, **more: str) -> str:
    pairs = [*zip(metric.labels, series, strict=True), *more.items()]
    if not pairs:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value, quoted=True)}"' for name, value in pairs) + "}"


def _escaped(text: str, *, quoted: bool = False) -> str:
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    return escaped.replace('"', r"\"") if quoted else escaped


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    # Heights and amounts whole, everything else with all its digits.
    return str(int(value)) if abs(value) <= _EXACT and value == int(value) else repr(float(value))
