"""What a bring-up tells: steps with their seconds, to a callback and to a file that another process follows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

__all__ = ["Progress", "Step", "read_records", "unfinished_step"]


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


def read_records(path: Path) -> list[dict[str, Any]]:
    """The lines of a progress file so far; none if there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    # The last line may be half written.
    return [cast("dict[str, Any]", json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def unfinished_step(path: Path) -> str | None:
    """The last step of a bring-up that is not over; None if it is, or nobody wrote about it."""
    records = read_records(path)
    if not path.is_file() or any(record.get("ready") for record in records):
        return None
    return next((str(record["step"]) for record in reversed(records) if "step" in record), "nothing yet")
