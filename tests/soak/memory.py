"""How the memory of processes changes over time: robust slopes over each of their lives."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["Growth", "MemoryLog", "slope"]

_PAGE_BYTES: Final = 4096
_MIB: Final = 1 << 20
_MOST_POINTS: Final = 120

Point = tuple[float, float]
"""Seconds and MiB."""


def slope(points: Sequence[Point]) -> float:
    """The median of the slopes between all pairs of points (Theil and Sen): a few jumps do not change it."""
    step = max(1, len(points) // _MOST_POINTS)
    chosen = points[::step]
    slopes = [(y2 - y1) / (x2 - x1) for i, (x1, y1) in enumerate(chosen) for x2, y2 in chosen[i + 1 :] if x2 > x1]
    return statistics.median(slopes) if slopes else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Of one life of a process, after its warm-up."""

    name: str
    minutes: float
    mib: float
    """Median."""
    mib_per_hour: float


@dataclass(slots=True, kw_only=True)
class MemoryLog:
    """Resident memory of all supervised processes."""

    home: Path
    points: dict[tuple[str, int], list[Point]] = field(default_factory=lambda: defaultdict(list))

    def sample(self, at: float) -> None:
        """Look once; a process that has just gone is left out."""
        processes = json.loads((self.home / "supervisor.json").read_text())["processes"]
        for name, process in processes.items():
            if process["pid"] is None:
                continue
            try:
                pages = int(Path(f"/proc/{process['pid']}/statm").read_text().split()[1])
            except (OSError, IndexError):
                continue
            self.points[name, process["pid"]].append((at, pages * _PAGE_BYTES / _MIB))

    def growth(self, *, warm_up_s: float, shortest_s: float) -> tuple[Growth, ...]:
        """Of every life that lasted `shortest_s` after `warm_up_s`."""
        found: list[Growth] = []
        for (name, _), points in sorted(self.points.items()):
            kept = [point for point in points if point[0] >= points[0][0] + warm_up_s]
            if kept and kept[-1][0] - kept[0][0] >= shortest_s:
                found.append(
                    Growth(
                        name=name,
                        minutes=(kept[-1][0] - kept[0][0]) / 60,
                        mib=statistics.median(mib for _, mib in kept),
                        mib_per_hour=slope(kept) * 3600,
                    )
                )
        return tuple(found)
