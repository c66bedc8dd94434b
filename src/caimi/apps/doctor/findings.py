"""What an examination finds, how bad it is, and what it looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from caimi.apps.devnet.folder import StateFolder

__all__ = ["Finding", "Machine", "Report", "Severity", "Subject"]


class Severity(Enum):
    """How bad a finding is, from good to bad."""

    NOTE = "note"
    """Nothing is wrong yet."""
    PASSING = "passing"
    """It heals by itself."""
    BROKEN = "broken"
    """Something has to be done."""

    @property
    def exit_code(self) -> int:
        """As of every command: 0 done, 4 safe to repeat, 3 repeat it after something else has changed."""
        return {"note": 0, "passing": 4, "broken": 3}[self.value]

    @property
    def weight(self) -> int:
        """The higher the worse."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    check: str
    """Which check found it."""
    severity: Severity
    text: str
    """What is wrong and what it keeps from working."""
    mend: str
    """A shell command."""

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {"check": self.check, "severity": self.severity.value, "text": self.text, "mend": self.mend}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One examination."""

    home: Path
    checks: tuple[str, ...]
    """Everything that was looked at, in order."""
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """Of the worst finding."""
        return max((f.severity for f in self.findings), key=lambda s: s.weight, default=Severity.NOTE).exit_code

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        found = {finding.check for finding in self.findings}
        return {
            "home": str(self.home),
            "exit_code": self.exit_code,
            "checks": [{"name": name, "is_fine": name not in found} for name in self.checks],
            "findings": [finding.to_json() for finding in self.findings],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a machine is asked."""

    python: tuple[int, int]
    """Version of the Python that runs this."""
    environment: Mapping[str, str]
    prefix: Path
    """Root of the Python environment."""
    free_bytes: Callable[[Path], int]
    """Room on the file system of an existing folder."""
    now: Callable[[], float]
    """Unix seconds by the wall clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is examined."""

    machine: Machine
    folder: StateFolder
