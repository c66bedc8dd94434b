"""Calls that wait for one model: bounded, in turns among consumers, and taken as batches (spec 60 §7). Pure."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from caimi.types.primitives import Address

__all__ = ["Entry", "FairQueue", "Pace", "QueueFull", "QueueLimits"]

T = TypeVar("T")
_FRESHNESS: Final = 0.2
_FORGET: Final = 2


class QueueFull(Exception):
    """No room, and nobody has more in it than who asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How much waits for one model."""

    calls: int = 2048
    bytes: int = 256 << 20
    """Of inputs."""


@dataclass(slots=True, kw_only=True, eq=False)
class Entry(Generic[T]):
    """One call that waits."""

    consumer: Address
    group: Hashable
    """Calls of equal groups may be run together."""
    rows: int
    """At least 1."""
    size: int
    """Bytes."""
    queued: float
    until: float
    """Monotonic seconds: after this, the answer is of no use."""
    item: T
    start: float = 0.0
    is_waiting: bool = False


@dataclass(slots=True)
class _Account:
    # Of one consumer: up to where it was served, and what of it waits, oldest first.
    finish: float = 0.0
    waiting: dict[int, Entry[Any]] = field(default_factory=dict[int, Entry[Any]])


class FairQueue(Generic[T]):
    """Start-time fair queueing: who was served fewer rows comes first, whatever others send."""

    def __init__(self, limits: QueueLimits) -> None:
        self._limits = limits
        self._heap: list[tuple[float, int, Entry[T]]] = []
        self._groups: dict[Hashable, list[tuple[float, int, Entry[T]]]] = {}
        self._accounts: dict[Address, _Account] = {}
        self._clock = 0.0
        self._number = 0
        self._calls = 0
        self._bytes = 0
        self.rows = 0
        """Rows of all that wait."""

    def __len__(self) -> int:
        return self._calls

    def add(self, entry: Entry[T]) -> Entry[T] | None:
        """Put a call in. When there is no room, the newest call of whoever has most in it makes room.

        Returns:
            The call that made room.
        Raises:
            QueueFull: Whoever asks has most in it, or it is larger than the queue.
        """
        pushed = None
        if self._is_full(entry.size):
            pushed = self._newest_of_largest(entry.consumer)
            if pushed is None:
                raise QueueFull
            self.remove(pushed)
            if self._is_full(entry.size):
                # One large call is not worth many small ones.
                self._put(pushed)
                raise QueueFull
        self._put(entry)
        return pushed

    def remove(self, entry: Entry[T]) -> None:
        """Take a call out that nobody waits for any more. Harmless if it is not in."""
        if entry.is_waiting:
            entry.is_waiting = False
            self._calls -= 1
            self._bytes -= entry.size
            self.rows -= entry.rows
            account = self._accounts[entry.consumer]
            del account.waiting[id(entry)]
            if not self._calls:
                self._heap.clear()
                self._groups.clear()
                self._accounts.clear()

    def head(self) -> Entry[T] | None:
        """Whose turn it is."""
        while self._heap and not self._heap[0][2].is_waiting:
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def take(self, *, most_rows: int, now: float) -> tuple[list[Entry[T]], list[Entry[T]]]:
        """The next batch, and the calls whose time had passed before their turn.

        Arguments:
            most_rows: Of a batch of more than one call.
        """
        late: list[Entry[T]] = []
        while (first := self.head()) is not None and first.until <= now:
            self.remove(first)
            late.append(first)
        if first is None:
            return [], late
        self._clock = max(self._clock, first.start)
        self.remove(first)
        batch, rows = [first], first.rows
        others = self._groups.get(first.group, [])
        while others:
            other = others[0][2]
            if other.is_waiting and other.until > now:
                if rows + other.rows > most_rows:
                    break
                batch.append(other)
                rows += other.rows
            elif other.is_waiting:
                late.append(other)
            heapq.heappop(others)
            self.remove(other)
        if not others:
            self._groups.pop(first.group, None)
        self._forget()
        return batch, late

    def _is_full(self, size: int) -> bool:
        return self._calls >= self._limits.calls or self._bytes + size > self._limits.bytes

    def _put(self, entry: Entry[T]) -> None:
        account = self._accounts.setdefault(entry.consumer, _Account())
        entry.start = max(self._clock, account.finish)
        account.finish = entry.start + entry.rows
        account.waiting[id(entry)] = entry
        entry.is_waiting = True
        self._number += 1
        heapq.heappush(self._heap, (entry.start, self._number, entry))
        heapq.heappush(self._groups.setdefault(entry.group, []), (entry.start, self._number, entry))
        self._calls += 1
        self._bytes += entry.size
        self.rows += entry.rows

    def _newest_of_largest(self, asking: Address) -> Entry[T] | None:
        own = self._accounts.get(asking, _Account())
        largest = max(self._accounts.values(), key=lambda account: len(account.waiting), default=own)
        if len(largest.waiting) <= len(own.waiting) + 1:
            return None
        newest = next(reversed(largest.waiting.values()))
        largest.finish = newest.start
        return newest

    def _forget(self) -> None:
        # Accounts cost nothing to make, so how far each was served must not be kept for ever.
        if len(self._accounts) > _FORGET * self._limits.calls:
            for consumer in [c for c, account in self._accounts.items() if not account.waiting]:
                del self._accounts[consumer]


class Pace:
    """How long a row takes, as measured."""

    def __init__(self) -> None:
        self.seconds_a_row = 0.0
        """0 before anything was measured."""

    def observe(self, rows: int, seconds: float) -> None:
        """A batch of so many rows took so long."""
        found = seconds / max(rows, 1)
        known = self.seconds_a_row
        self.seconds_a_row = found if not known else known + _FRESHNESS * (found - known)

    def seconds_for(self, rows: int) -> float:
        """How long so many rows will take."""
        return rows * self.seconds_a_row
