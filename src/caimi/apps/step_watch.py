"""Counts the durable steps of a process, and notes when the last one happened that brought something forward."""

from __future__ import annotations

from collections.abc import Collection

from caimi.ports.clock import Clock
from caimi.ports.crash import CrashPoints
from caimi.ports.metrics import LAST_PROGRESS, STEPS
from caimi.ports.observer import Observer
from caimi.ports.relay_store import RelayStep

__all__ = ["RELAY_PROGRESS", "StepWatch"]

RELAY_PROGRESS = (
    RelayStep.FOLLOWED,
    RelayStep.ACCEPTED,
    RelayStep.CARRIED,
    RelayStep.RECERTIFIED,
    RelayStep.INCLUDED,
    RelayStep.DONE,
)
"""Steps of a relay that bring a workflow forward: nothing that is only tried again."""


class StepWatch:
    """`CrashPoints` that count what they are told before they pass it on."""

    def __init__(self, inner: CrashPoints, *, clock: Clock, observer: Observer, progress: Collection[str] = ()) -> None:
        """Arguments:
        progress: the steps that count for `collect`.
        """
        self._inner = inner
        self._clock = clock
        self._observer = observer
        self._progress = frozenset(progress)
        self._last = clock.monotonic()

    def reached(self, step: str) -> None:
        """See `CrashPoints.reached`."""
        self._observer.count(STEPS, step=step)
        if step in self._progress:
            self._last = self._clock.monotonic()
        self._inner.reached(step)

    def collect(self) -> None:
        """Set the gauge of a relay's last progress."""
        self._observer.gauge(LAST_PROGRESS, self._clock.monotonic() - self._last)
