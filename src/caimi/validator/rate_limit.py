"""A token bucket for each client, so that nobody can make a validator sign all day."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from caimi.ports.clock import Clock
from caimi.types.errors import Blame, CaimiError, Certainty, Retry

__all__ = ["RateLimiter", "TooManyRequests"]

_MOST_CLIENTS: Final = 4096


class TooManyRequests(CaimiError):
    """The client asks faster than it may."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    retry = Retry.SAFE
    hint = "wait for the number of seconds in the answer, then ask again"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"wait {seconds:.3f} s")
        self.seconds = seconds
        """When the next request will be taken."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RateLimiter:
    """Each client may ask `burst` times at once and `per_second` times per second in the long run."""

    def __init__(self, clock: Clock, *, per_second: float, burst: int) -> None:
        self._clock = clock
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, client: str) -> None:
        """Count one request of `client`.

        Raises:
            TooManyRequests: Its bucket is empty.
        """
        now = self._clock.monotonic()
        bucket = self._buckets.pop(client, None) or _Bucket(tokens=self._burst, at=now)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._per_second)
        bucket.at = now
        self._buckets[client] = bucket
        # The client that was quiet for the longest is forgotten; its bucket has filled up by then.
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        if bucket.tokens < 1:
            raise TooManyRequests((1 - bucket.tokens) / self._per_second)
        bucket.tokens -= 1
