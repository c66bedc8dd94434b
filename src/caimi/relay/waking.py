"""Who has something to do after a write.

All would find it at their next turn; but a publication passes seven turns, and would spend half a pause before each.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from enum import Enum, auto

from caimi.ports.clock import Clock
from caimi.ports.relay_store import (
    AddCall,
    AddEvents,
    CallState,
    Change,
    DropEvents,
    PutCall,
    PutTransaction,
    TransactionState,
)
from caimi.types.records import Lane

__all__ = ["Bell", "Part", "Waking"]


class Part(Enum):
    """What works on one lane."""

    FOLLOWER = auto()
    """Reads it."""
    CARRIER = auto()
    """Takes its events elsewhere."""
    SENDER = auto()
    """Writes to it."""


class Bell:
    """Ends the rest of one part. Rung while the part works, it ends its next rest."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """There is work."""
        self._rung.set()

    async def rest(self, seconds: float) -> None:
        """Wait until there is work, or so long."""
        rung = asyncio.ensure_future(self._rung.wait())
        pause = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((rung, pause), return_when=asyncio.FIRST_COMPLETED)
        finally:
            rung.cancel()
            pause.cancel()
        self._rung.clear()


class Waking:
    """The bells of all parts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bells: defaultdict[tuple[Part, Lane], list[Bell]] = defaultdict(list)

    def bell(self, part: Part, lane: Lane) -> Bell:
        """A new one, rung for that part of that lane."""
        bell = Bell(self._clock)
        self._bells[part, lane].append(bell)
        return bell

    def written(self, changes: tuple[Change, ...]) -> None:
        """Ring for those for whom these changes are work."""
        for change in changes:
            match change:
                case AddEvents(lane=lane) | DropEvents(lane=lane):
                    self._ring(Part.CARRIER, lane)
                case AddCall(row=row) | PutCall(row=row) if row.state is CallState.QUEUED:
                    self._ring(Part.SENDER, row.lane)
                case PutTransaction(row=row) if row.state is TransactionState.SENT:
                    # A ledger that is asked for it may tell as soon as it is included.
                    self._ring(Part.SENDER, row.lane)
                case PutTransaction(row=row) if row.state is TransactionState.DONE:
                    # Its events are there to be read.
                    self._ring(Part.FOLLOWER, row.lane)
                case _:
                    pass

    def _ring(self, part: Part, lane: Lane) -> None:
        for bell in self._bells.get((part, lane), ()):
            bell.ring()
