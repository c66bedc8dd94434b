"""One measured quantity: the raw samples, how they become one number, and the peer's number beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["Aim", "Better", "Measure", "Quantity", "Statistic", "reduce_samples", "significant"]

_DIGITS: Final = 6


class Statistic(Enum):
    """How samples become one number."""

    MEDIAN = "median"
    P99 = "p99"
    MEAN = "mean"
    RATE = "rate"
    """Samples are seconds from a common start until one thing was done: how many, over the last of them."""
    SUM = "sum"


class Better(Enum):
    """Which way is good."""

    HIGHER = "higher"
    LOWER = "lower"


class Quantity(Enum):
    """What an aim is about."""

    VALUE = "value"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What we want: at least `bound` where higher is better, at most where lower is."""

    of: Quantity
    bound: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One quantity of one scenario."""

    name: str
    """What it is, for the table."""
    unit: str
    statistic: Statistic
    better: Better
    samples: tuple[float, ...]
    """At least one, in the unit."""
    peer: str | None = None
    """Who was measured beside us; None if there is nobody to compare with."""
    peer_samples: tuple[float, ...] = ()
    """In the same unit; empty exactly if there is no peer."""
    aim: Aim | None = None

    def __post_init__(self) -> None:
        if not self.samples or bool(self.peer_samples) != (self.peer is not None):
            raise ValueError(f"{self.name}: samples without a peer, or a peer without samples")
        # What is written down is what the numbers are computed from.
        object.__setattr__(self, "samples", tuple(map(significant, self.samples)))
        object.__setattr__(self, "peer_samples", tuple(map(significant, self.peer_samples)))

    @property
    def value(self) -> float:
        """Our number."""
        return reduce_samples(self.statistic, self.samples)

    @property
    def peer_value(self) -> float | None:
        """The peer's number."""
        return reduce_samples(self.statistic, self.peer_samples) if self.peer_samples else None

    @property
    def ratio(self) -> float | None:
        """Our number over the peer's."""
        peer = self.peer_value
        return None if peer is None or peer == 0 else significant(self.value / peer)

    @property
    def is_met(self) -> bool | None:
        """Whether the aim is reached; None without an aim, or without the number that it is about."""
        if self.aim is None:
            return None
        found = self.value if self.aim.of is Quantity.VALUE else self.ratio
        if found is None:
            return None
        return found >= self.aim.bound if self.better is Better.HIGHER else found <= self.aim.bound


def reduce_samples(statistic: Statistic, samples: Sequence[float]) -> float:
    """One number of at least one sample, to six significant digits.

    Raises:
        ValueError: There is no sample, or one that is not finite.
    """
    if not samples:
        raise ValueError("no samples")
    if not all(math.isfinite(sample) for sample in samples):
        raise ValueError("a sample is not finite")
    return significant(_REDUCERS[statistic](sorted(samples)))


def significant(value: float) -> float:
    """The value with six significant digits: what is written down is what is computed with."""
    return float(f"{value:.{_DIGITS}g}")


def _median(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _p99(ordered: Sequence[float]) -> float:
    # The nearest rank: with fewer than a hundred samples it is the largest one, never something between two.
    return ordered[math.ceil(0.99 * len(ordered)) - 1]


_REDUCERS: Final[Mapping[Statistic, Callable[[Sequence[float]], float]]] = {
    Statistic.MEDIAN: _median,
    Statistic.P99: _p99,
    Statistic.MEAN: lambda ordered: sum(ordered) / len(ordered),
    Statistic.RATE: lambda ordered: len(ordered) / ordered[-1],
    Statistic.SUM: sum,
}
