"""What surrounds the production code in a simulation: entropy, observer, and the moments at which a process dies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from caimi.ports.metrics import Counter, Gauge, Histogram
from caimi.types.primitives import Bytes32
from caimi.wire.keccak import keccak256

__all__ = ["Crashed", "Identifiers", "KillSwitch", "SeededEntropy", "Trace"]

_IDENTIFIER: Final = re.compile(r"\b(?:0x)?[0-9a-f]{16,}\b|\bb[a-z2-7]{50,}\b")


class SeededEntropy:
    """The `Entropy` port, the same bytes for the same name."""

    def __init__(self, name: str) -> None:
        self._state = keccak256(name.encode())

    def take(self, length: int) -> bytes:
        """`length` bytes."""
        taken = b""
        while len(taken) < length:
            self._state = keccak256(self._state)
            taken += self._state
        return taken[:length]


class Identifiers(Enum):
    """How a trace shows hashes, keys and CIDs."""

    AS_THEY_ARE = "as they are"
    NUMBERED = "numbered"
    """By first appearance. Sealing draws from the operating system and takes no seed, so what is sealed, and with it
    every hash over it, differs from run to run; what happens does not."""


class Trace:
    """The `Observer` port that writes everything down with its virtual time."""

    def __init__(self, identifiers: Identifiers = Identifiers.AS_THEY_ARE) -> None:
        self.lines: list[str] = []
        self._identifiers = identifiers
        self._numbers: dict[str, str] = {}

    def note(self, text: str) -> None:
        """One line."""
        if self._identifiers is Identifiers.NUMBERED:
            text = _IDENTIFIER.sub(self._number, text)
        self.lines.append(f"{asyncio.get_running_loop().time():.3f} {text}")

    def step(self, name: str, *, about: Sequence[Bytes32] = (), **fields: str | int | float | None) -> None:
        """See `Observer.step`."""
        shown = "".join(f" {k}={v}" for k, v in sorted(fields.items()))
        subjects = [f"0x{one.hex()}" for one in about]
        if self._identifiers is Identifiers.NUMBERED:
            # What sorts them by their bytes shows them in another order in every run.
            numbers = (_IDENTIFIER.sub(self._number, one) for one in subjects)
            subjects = sorted(numbers, key=lambda number: int(number[1:]))
        self.note(name + shown + "".join(f" about={one}" for one in subjects))

    def gauge(self, metric: Gauge, value: float, /, **labels: str) -> None:
        """Numbers are not part of a trace; their labels are checked."""
        metric.series(labels)

    def count(self, metric: Counter, amount: int = 1, /, **labels: str) -> None:
        """As `gauge`."""
        metric.series(labels)

    def observe(self, metric: Histogram, value: float, /, **labels: str) -> None:
        """As `gauge`."""
        metric.series(labels)

    def digest(self) -> str:
        """Hash of the whole trace."""
        return keccak256("\n".join(self.lines).encode()).hex()

    def said(self) -> str:
        """All that was written, with the identifiers as they were."""
        return "\n".join((*self.lines, *self._numbers))

    def _number(self, found: re.Match[str]) -> str:
        return self._numbers.setdefault(found.group(), f"#{len(self._numbers) + 1}")


def _nobody(_: str) -> None:
    pass


class Crashed(BaseException):
    """The process was killed right after a persisted step."""


class KillSwitch:
    """`CrashPoints` that kill at one of the next persisted steps once they are armed."""

    def __init__(self) -> None:
        self.watch: Callable[[str], None] = _nobody
        """Told of every step first; it may arm the switch, which kills at that very step then."""
        self._left = 0

    def arm(self, steps: int) -> None:
        """Kill at the `steps`-th step from now, at least 1; 0 disarms."""
        self._left = steps

    def reached(self, step: str) -> None:
        """Kill if this is the one."""
        self.watch(step)
        if self._left > 0:
            self._left -= 1
            if not self._left:
                raise Crashed(step)
