"""Where a process may be killed: every persisted step is announced, so that tests can stop a process there."""

from __future__ import annotations

from typing import Protocol

__all__ = ["CrashPoints", "NoCrash"]


class CrashPoints(Protocol):
    """Told of each persisted step, right after it became durable."""

    def reached(self, step: str) -> None:
        """`step` is durable now. A test's implementation may never return."""
        ...


class NoCrash:
    """For production: does nothing."""

    def reached(self, step: str) -> None:
        """Do nothing."""
