"""What a scenario is, and what it is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Measure

__all__ = ["Findings", "Scenario", "Stage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a scenario brings back."""

    measures: tuple[Measure, ...]
    conditions: Mapping[str, Any]
    """What one has to know to understand the numbers: sizes, intervals, rules of finality, versions of peers."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """What a scenario works with: a scratch folder, a voice, and what several scenarios share."""

    repository: Path
    folder: Path
    """Scratch, removed at the end."""
    tell: Callable[[str], None]
    effort: float = 1.0
    """1 is the full length; less gives fewer rounds and is named in the conditions."""
    shared: AsyncExitStack = field(default_factory=AsyncExitStack)
    """What lives until the last scenario has ended."""
    _made: dict[str, Any] = field(default_factory=dict[str, Any])

    def rounds(self, full: int) -> int:
        """So many rounds at the chosen effort, at least 3."""
        return max(3, round(full * self.effort))

    async def once(self, name: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """What `make` gave the first time that somebody asked for `name`; what failed is tried again."""
        if name not in self._made:
            self._made[name] = await make()
        return self._made[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One thing to measure."""

    name: str
    """Also of its file."""
    summary: str
    """One line."""
    minutes: float
    """About how long it takes on two cores, without what is fetched once."""
    run: Callable[[Stage], Awaitable[Findings]]
