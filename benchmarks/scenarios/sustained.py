"""Batches handed over for as long as it takes, so many publications in flight at any time: what the network can do."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.batches import await_batches, check_each, hand_over_batches
from benchmarks.controls import check_signature_counts
from benchmarks.measure import Aim, Better, Measure, Quantity, Statistic
from benchmarks.processors import busy_seconds, per_publication
from benchmarks.publications import LANES
from benchmarks.scenario import Findings, Scenario, Stage
from benchmarks.scenarios.publishing import Bench, conditions, open_bench
from caimi.sdk.publishing import SignedPublication

__all__ = ["SCENARIOS"]

_BATCH: Final = 120
"""Publications; as many as a transaction on Ethereum holds."""
_IN_FLIGHT: Final = (240, 960)
"""By Little's law 520 a second within 1.8 s are 936."""
_TURNS: Final = 6
"""How often each place in flight is used."""
_TIMEOUT_S: Final = 120.0
_RATE_AIM: Final = 520.0
_LATENCY_AIM_S: Final = 1.8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    at: list[float]
    """When each publication was readable, seconds from the begin."""
    seconds: list[float]
    """How long each took."""
    spent: Mapping[str, float]
    """Milliseconds of a processor for each, by kind of process; what publishers do by themselves is done before."""


async def _one_after_the_other(
    bench: Bench, home: str, queue: deque[tuple[SignedPublication, ...]], begin: float
) -> list[tuple[float, float]]:
    # One place in flight: of each publication when it was readable, and how long that took.
    found: list[tuple[float, float]] = []
    while queue:
        publications = queue.popleft()
        handed = time.perf_counter()
        batches = await hand_over_batches(bench.devnet, publications, home)
        seen = await await_batches(bench.devnet, bench.rpc, batches, timeout_s=_TIMEOUT_S)
        found += [(at - begin, at - handed) for at in seen.values()]
    return found


async def _run(bench: Bench, home: str, in_flight: int, turns: int) -> _Run:
    places = in_flight // _BATCH
    queue = deque([await bench.makers[home].make(_BATCH) for _ in range(places * turns)])
    first = await hand_over_batches(bench.devnet, queue.pop(), home)
    await await_batches(bench.devnet, bench.rpc, first, timeout_s=_TIMEOUT_S)
    # Each id by its proof, of one batch: the others are asked for as a whole.
    await check_each(bench.devnet, bench.rpc, first)
    before, begin = busy_seconds(bench.devnet.network.home), time.perf_counter()
    found = await asyncio.gather(*(_one_after_the_other(bench, home, queue, begin) for _ in range(places)))
    pairs = [pair for some in found for pair in some]
    spent = per_publication(before, busy_seconds(bench.devnet.network.home), len(pairs))
    return _Run(at=[at for at, _ in pairs], seconds=[seconds for _, seconds in pairs], spent=spent)


async def _sustained(stage: Stage) -> Findings:
    bench = await open_bench(stage)
    measures: list[Measure] = []
    spent: dict[str, Mapping[str, float]] = {}
    for home in LANES:
        await check_signature_counts(bench.devnet, bench.rpc, home, (await bench.makers[home].make(1))[0])
        for in_flight in _IN_FLIGHT:
            name, run = f"home {home}, {in_flight} in flight", await _run(bench, home, in_flight, stage.rounds(_TURNS))
            spent[name] = run.spent
            stage.tell(f"{name}: {len(run.at)} in {max(run.at):.1f} s")
            measures += _measures(name, run.at, run.seconds)
    return Findings(
        # The rates first, those of the most in flight before the others.
        measures=tuple(sorted(measures, key=lambda one: (one.statistic is not Statistic.RATE, -len(one.samples)))),
        conditions={
            **conditions(bench),
            "load": f"so many publications in flight for {_TURNS} turns, in batches of {_BATCH}; the next batch is"
            " handed over when one is readable",
            "processor_ms_per_publication": spent,
            "latency": "from the moment when a batch is handed over until both ledgers show it",
        },
    )


def _measures(name: str, at: Sequence[float], seconds: Sequence[float]) -> tuple[Measure, ...]:
    return (
        Measure(
            name=f"rate, {name}",
            unit="publications/s",
            statistic=Statistic.RATE,
            better=Better.HIGHER,
            samples=tuple(at),
            aim=Aim(of=Quantity.VALUE, bound=_RATE_AIM),
        ),
        Measure(
            name=f"latency, {name}",
            unit="s",
            statistic=Statistic.P99,
            better=Better.LOWER,
            samples=tuple(seconds),
            aim=Aim(of=Quantity.VALUE, bound=_LATENCY_AIM_S),
        ),
    )


SCENARIOS: Final[Sequence[Scenario]] = (
    Scenario(
        name="publish_sustained",
        summary="publications on Fabric and Ethereum without a break, so many in flight",
        minutes=3.0,
        run=_sustained,
    ),
)
"""The ceiling."""
