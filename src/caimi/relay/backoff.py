"""How long to wait before trying again: doubling, with jitter, up to a limit."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from caimi.ports.clock import Clock, Entropy

__all__ = ["Backoff", "Pauses"]

_DENOMINATOR: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits between first * 2**(attempt-1) and half of it, at most `longest` seconds."""

    first: float
    longest: float

    def seconds(self, attempt: int, entropy: Entropy) -> float:
        """Wait after the `attempt`-th failure, attempt >= 1."""
        full = min(self.longest, self.first * 2 ** min(attempt - 1, 30))
        share = int.from_bytes(entropy.take(2), "big") / _DENOMINATOR
        return full * (0.5 + share / 2)


class Pauses:
    """What has to wait, by key. Kept in memory: after a restart everything is tried at once."""

    def __init__(self, backoff: Backoff, *, clock: Clock, entropy: Entropy) -> None:
        self._backoff = backoff
        self._clock = clock
        self._entropy = entropy
        self._until: dict[Hashable, tuple[int, float]] = {}

    def failed(self, key: Hashable) -> None:
        """Make `key` wait, longer each time."""
        attempt = self._until.get(key, (0, 0.0))[0] + 1
        self._until[key] = attempt, self._clock.monotonic() + self._backoff.seconds(attempt, self._entropy)

    def over(self, key: Hashable) -> None:
        """`key` succeeded or is gone."""
        self._until.pop(key, None)

    def waits(self, key: Hashable) -> bool:
        """Whether `key` has to wait still."""
        return key in self._until and self._clock.monotonic() < self._until[key][1]
