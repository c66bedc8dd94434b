"""What the supervisor needs to know about a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

__all__ = ["ProcessSpec", "RestartPolicy"]


class RestartPolicy(Enum):
    """What to do when a process ends by itself."""

    ALWAYS = "always"
    """Start it again, after a pause that grows while it keeps ending."""
    NEVER = "never"
    """Note its exit code and leave it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One process of the devnet."""

    name: str
    """Unique under one supervisor; letters, digits, `-`, `_` and `.`."""
    argv: tuple[str, ...]
    """Absolute path of the program, then its arguments."""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    """Added to PATH, HOME and LANG of the supervisor; nothing else is inherited."""
    cwd: Path
    """Working folder; made if it is missing."""
    log_path: Path
    """Standard output and error are appended here."""
    health_url: str | None = None
    """`http://` address that answers 200, or `tcp://host:port` that accepts a connection, once the process is useful.
    None: useful as soon as it runs."""
    ready_url: str | None = None
    """`http://` address that says whether the process can do its work, as a JSON object with `missing`; None: it
    cannot be asked."""
    start_order: int = 0
    """Lower ones are healthy before higher ones are started."""
    restart: RestartPolicy = RestartPolicy.ALWAYS
    mend: Callable[[], None] | None = None
    """Puts right what a kill may have left half done in the process's files; called before each start, off the loop."""
