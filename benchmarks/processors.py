"""How much of the processors each part of a devnet has used, where the system has /proc."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

__all__ = ["busy_seconds", "per_publication"]

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_DRIVER: Final = "this benchmark"


def busy_seconds(home: Path) -> Mapping[str, float]:
    """Seconds of a processor by kind of process since it started; empty where the system does not tell."""
    state = cast("dict[str, Any]", json.loads((home / "supervisor.json").read_text(encoding="utf-8")))
    kinds = {child["pid"]: _kind(name) for name, child in state["processes"].items()}
    kinds[os.getpid()] = _DRIVER
    busy: defaultdict[str, float] = defaultdict(float)
    for folder in _PROC.glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            # The group is the third field after the name: a peer's chaincode is in the peer's.
            kind = kinds.get(int(fields[2])) or kinds.get(int(folder.name))
            if kind is not None:
                busy[kind] += (int(fields[11]) + int(fields[12])) / _TICKS
        except (OSError, ValueError, IndexError):
            continue  # it has ended
    return dict(busy)


def per_publication(before: Mapping[str, float], after: Mapping[str, float], count: int) -> Mapping[str, float]:
    """Milliseconds of a processor for each of `count` publications, by kind of process, most first."""
    spent = {kind: round((after[kind] - before.get(kind, 0.0)) * 1_000 / count, 2) for kind in after}
    return dict(sorted(spent.items(), key=lambda one: -one[1]))


def _kind(name: str) -> str:
    # All validators together, all peers together, all orderers together.
    return name.rstrip("0123456789").rstrip("-") + ("s" if name[-1].isdigit() else "")
