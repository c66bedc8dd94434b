"""Batches handed over for as long as it takes, so many publications in flight at any time: what the network can do."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.batches import POLL_S, BatchWatch, await_batches, check_each, hand_over_batches
from benchmarks.controls import check_signature_counts
from benchmarks.measure import Aim, Better, Measure, Quantity, Statistic
from benchmarks.processors import busy_seconds, per_publication
from benchmarks.publications import LANES, NotReadable
from benchmarks.scenario import Findings, Scenario, Stage
from benchmarks.scenarios.publishing import Bench, conditions, open_bench
from caimi.sdk.publishing import SignedPublication
from caimi.types.primitives import Bytes32

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


@dataclass(slots=True)
class _Flight:
    bench: Bench
    home: str
    queue: deque[tuple[SignedPublication, ...]]
    watch: BatchWatch
    handed: dict[Bytes32, float] = field(default_factory=dict[Bytes32, float])

    def next(self) -> asyncio.Task[None]:
        """Hand the next batch over."""
        return asyncio.create_task(self._hand_over(self.queue.popleft()))

    async def _hand_over(self, publications: tuple[SignedPublication, ...]) -> None:
        now = time.perf_counter()
        for batch in await hand_over_batches(self.bench.devnet, publications, self.home):
            self.handed[batch.root] = now
            self.watch.add(batch)

    async def run(self, places: int) -> list[tuple[float, float]]:
        """Of each publication when it was readable, and how long that took."""
        begin, found, until = time.perf_counter(), list[tuple[float, float]](), time.perf_counter() + _TIMEOUT_S
        handing = {self.next() for _ in range(min(places, len(self.queue)))}
        while handing or self.watch.left:
            looked = time.perf_counter()
            for batch in await self.watch.look():
                now = time.perf_counter()
                found += [(now - begin, now - self.handed[batch.root])] * len(batch.ids)
                if self.queue:
                    handing.add(self.next())
            for task in [task for task in handing if task.done()]:
                handing.discard(task)
                task.result()
            if looked > until:
                raise NotReadable(f"{self.watch.left} batches are not COMMITTED after {_TIMEOUT_S:.0f} s")
            await asyncio.sleep(max(0.0, POLL_S - (time.perf_counter() - looked)))
        return found


async def _run(bench: Bench, home: str, in_flight: int, turns: int) -> _Run:
    places = in_flight // _BATCH
    queue = deque([await bench.makers[home].make(_BATCH) for _ in range(places * turns)])
    first = await hand_over_batches(bench.devnet, queue.pop(), home)
    await await_batches(bench.devnet, bench.rpc, first, timeout_s=_TIMEOUT_S)
    # Each id by its proof, of one batch: the others are asked for as a whole.
    await check_each(bench.devnet, bench.rpc, first)
    before = busy_seconds(bench.devnet.network.home)
    pairs = await _Flight(bench, home, queue, BatchWatch(bench.devnet, bench.rpc)).run(places)
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
