"""Nobody can make a validator sign all day."""

from __future__ import annotations

import pytest

from caimi.validator.rate_limit import RateLimiter, TooManyRequests
from tests.unit.relay.world import StepClock


def test_burst_then_the_long_run() -> None:
    clock = StepClock()
    limiter = RateLimiter(clock, per_second=2, burst=3)
    for _ in range(3):
        limiter.take("a")
    with pytest.raises(TooManyRequests) as caught:
        limiter.take("a")
    assert caught.value.seconds == pytest.approx(0.5)
    clock.advance(0.5)
    limiter.take("a")
    with pytest.raises(TooManyRequests):
        limiter.take("a")


def test_clients_do_not_take_from_each_other() -> None:
    limiter = RateLimiter(StepClock(), per_second=1, burst=1)
    limiter.take("a")
    limiter.take("b")
    with pytest.raises(TooManyRequests):
        limiter.take("a")


def test_quiet_time_fills_no_more_than_the_burst() -> None:
    clock = StepClock()
    limiter = RateLimiter(clock, per_second=1, burst=2)
    limiter.take("a")
    clock.advance(1_000)
    limiter.take("a")
    limiter.take("a")
    with pytest.raises(TooManyRequests):
        limiter.take("a")


def test_buckets_are_bounded() -> None:
    limiter = RateLimiter(StepClock(), per_second=1, burst=1)
    for number in range(5_000):
        limiter.take(str(number))
    # The first one was forgotten, so that it begins with a full bucket; a late one was not.
    limiter.take("0")
    with pytest.raises(TooManyRequests):
        limiter.take("4999")
