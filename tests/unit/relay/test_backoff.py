"""Waits double, vary, and have a limit."""

from __future__ import annotations

from caimi.relay.backoff import Backoff, Pauses
from tests.unit.relay.world import Counter, StepClock


class Fixed:
    """Entropy of one byte value."""

    def __init__(self, value: int) -> None:
        self.value = value

    def take(self, length: int) -> bytes:
        return bytes([self.value]) * length


def test_waits_are_listed() -> None:
    backoff = Backoff(first=0.5, longest=8.0)
    assert [backoff.seconds(n, Fixed(0)) for n in range(1, 8)] == [0.25, 0.5, 1, 2, 4, 4, 4]
    assert all(
        abs(backoff.seconds(n, Fixed(255)) - w) < 0.01 for n, w in zip((1, 2, 3, 9), (0.5, 1, 2, 8), strict=True)
    )
    assert backoff.seconds(10_000, Fixed(255)) <= 8.0


def test_pause_ends_with_time_or_success() -> None:
    clock = StepClock()
    pauses = Pauses(Backoff(first=1.0, longest=60.0), clock=clock, entropy=Counter("x"))
    assert not pauses.waits("a")
    pauses.failed("a")
    assert pauses.waits("a")
    assert not pauses.waits("b")
    clock.advance(1.0)
    assert not pauses.waits("a")
    pauses.failed("a")
    clock.advance(0.9)
    assert pauses.waits("a"), "the second wait is longer than the first"
    pauses.over("a")
    assert not pauses.waits("a")
