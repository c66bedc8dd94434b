"""Ours and the peer in the same minutes: rounds in alternating order, so that what disturbs one disturbs the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

__all__ = ["Arm", "interleave"]

Arm = Callable[[], Awaitable[float]]
"""Runs one round and returns its sample."""


async def interleave(
    arms: Mapping[str, Arm],
    *,
    rounds: int,
    tell: Callable[[str], None],
    warm_up: int = 1,
    pause_s: float = 0.0,
) -> dict[str, tuple[float, ...]]:
    """Run every arm once in each round, in an order that is turned round each time.

    Arguments:
        rounds: that count, at least 1.
        tell: told which round it is.
        warm_up: rounds before them, whose samples are dropped.
        pause_s: between two arms, for threads of the one before to come to rest.
    """
    forth = tuple(arms)
    samples: dict[str, list[float]] = {name: [] for name in forth}
    for number in range(warm_up + rounds):
        tell(f"round {number + 1} of {warm_up + rounds}{' (warm-up)' if number < warm_up else ''}")
        for name in forth if number % 2 else forth[::-1]:
            sample = await arms[name]()
            if number >= warm_up:
                samples[name].append(sample)
            await asyncio.sleep(pause_s)
    return {name: tuple(found) for name, found in samples.items()}
