"""What a bring-up tells: steps with their seconds, to a callback and to a file that another process follows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Progress", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One finished step."""

    name: str
    detail: str
    seconds: float
    """Since the step before it."""

    def to_json(self) -> dict[str, Any]:
        """One line of the progress file."""
        return {"step": self.name, "detail": self.detail, "seconds": round(self.seconds, 3)}


@dataclass(slots=True)
class Progress:
    """Collects steps."""

    tell: Callable[[Step], None] = lambda step: None
    file: Path | None = None
    steps: list[Step] = field(default_factory=list[Step])
    is_ready: bool = False
    """Whether the bring-up is over."""
    _since: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """Start a new file."""
        if self.file is not None:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.file.write_text("")
        self._since = time.monotonic()

    def done(self, name: str, detail: str = "") -> None:
        """A step is done."""
        now = time.monotonic()
        step = Step(name=name, detail=detail, seconds=now - self._since)
        self._since = now
        self.steps.append(step)
        self.append(step.to_json())
        self.tell(step)

    def ready(self) -> None:
        """The bring-up is over."""
        self.is_ready = True
        self.append({"ready": True})

    def note(self, text: str) -> None:
        """Part of a step is done; for the file only."""
        self.append({"note": text, "seconds": round(time.monotonic() - self._since, 3)})

    def append(self, record: dict[str, Any]) -> None:
        """Write one line to the file."""
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
