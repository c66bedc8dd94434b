"""What an adapter remembers of the events that it has read: the newest of them, and of each the block it is in."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from caimi.ports.chain import FinalEvent
from caimi.types.primitives import Sequence

__all__ = ["NumberedEvents"]


class NumberedEvents:
    """The events of one registry, numbered from 1 without a hole.

    Of each block with events it keeps two numbers (16 bytes), of the events themselves only the newest: services read
    on from where they were. Older ones are read again from the ledger by whoever needs them.
    """

    def __init__(self, *, kept: int) -> None:
        """Begin with none.

        Arguments:
            kept: most events held at once, at least 0.
        """
        self._kept = kept
        self._count = 0
        # For each block with events, in order: the number of its first event, and its height.
        self._firsts, self._heights = array("Q"), array("Q")
        self._recent: dict[int, FinalEvent] = {}

    @property
    def count(self) -> int:
        """Number of the newest event known, 0 before the first."""
        return self._count

    def append(self, event: FinalEvent) -> None:
        """Take the next event, in a block not below that of the one before.

        Raises:
            ValueError: It is not the next one.
        """
        if event.item.sequence != self._count + 1 or (self._heights and event.height < self._heights[-1]):
            raise ValueError(f"event {event.item.sequence} of block {event.height} after event {self._count}")
        if not self._heights or self._heights[-1] != event.height:
            self._firsts.append(event.item.sequence)
            self._heights.append(event.height)
        self._count = event.item.sequence
        self.keep(event)

    def keep(self, event: FinalEvent) -> None:
        """Hold an event that was read again as if it were the newest."""
        self._recent.pop(event.item.sequence, None)
        self._recent[event.item.sequence] = event
        # Oldest in first.
        while len(self._recent) > self._kept:
            del self._recent[next(iter(self._recent))]

    def held(self, first: int, last: int) -> tuple[FinalEvent, ...] | None:
        """The events numbered from `first` to `last`, None unless all of them are held."""
        if any(number not in self._recent for number in range(first, last + 1)):
            return None
        return tuple(self._recent[number] for number in range(first, last + 1))

    def height_of(self, sequence: Sequence) -> int:
        """Height of the block with a known event, numbered from 1 to `count`."""
        return self._heights[bisect_right(self._firsts, sequence) - 1]

    def count_below(self, height: int) -> int:
        """Number of the newest known event in a block below `height`, 0 if there is none."""
        place = bisect_left(self._heights, height)
        return self._firsts[place] - 1 if place < len(self._firsts) else self._count

    def forget_above(self, count: int) -> None:
        """Keep nothing of the events numbered above `count`."""
        keep = bisect_right(self._firsts, count)
        del self._firsts[keep:], self._heights[keep:]
        self._count = min(self._count, count)
        self._recent = {number: event for number, event in self._recent.items() if number <= count}

    def ranges(self, first: int, last: int, *, blocks: int) -> Iterator[tuple[int, int]]:
        """First and last heights of stretches, of at most `blocks` blocks each, that hold known events.

        Stretches without any are passed over.
        """
        place = bisect_right(self._firsts, first) - 1
        stop = bisect_right(self._firsts, last)
        while place < stop:
            start = self._heights[place]
            end = start
            while place < stop and self._heights[place] < start + blocks:
                end = self._heights[place]
                place += 1
            yield start, end
