"""Hours of work at four fifths of what the network can do, with a fault a minute, judged from the ledgers alone.

CAIMI_SOAK_SECONDS is how long (3600), CAIMI_SOAK_SEED which faults come when (printed). Nothing is split, lost or done
twice, everything ends, and no process of ours grows.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import pytest

from caimi.apps.devnet.faucet import fund_ethereum, fund_fabric
from tests.crash.devnet_fixture import Devnet, running_devnet
from tests.crash.models import PublishedModel, ask, infer, publish_model
from tests.faults.inflict import (
    clock_off,
    dear,
    disk_full,
    dropped,
    killed,
    leader_killed,
    leader_stopped,
    reorganised,
    stopped,
    torn,
)
from tests.faults.mix import Mix
from tests.faults.watch import Stage
from tests.soak.memory import Growth, MemoryLog

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(3 * 3600)]

_SECONDS: Final = float(os.environ.get("CAIMI_SOAK_SECONDS", "3600"))
_FAULT_EVERY_S: Final = min(60.0, _SECONDS / 5)
_ASK_EVERY_S: Final = 10.0
_SAMPLE_EVERY_S: Final = 5.0
_CALIBRATION_S: Final = 20.0
_IN_FLIGHT: Final = 12
"""While the network's best is measured."""
_MOST_IN_FLIGHT: Final = 60
"""During a fault nothing more is handed in than this."""
_LOAD: Final = 0.8
_LEAST: Final = 300
_SLOWEST: Final = 0.02
"""Publications a second: below this the machine does not run the network."""
_WARM_UP_S: Final = 180.0
_SHORTEST_LIFE_S: Final = 420.0
_OURS: Final = ("relay", "validator-", "host", "content")
_GROWTH_PER_HOUR: Final = 0.2
_GROWTH_MIB_PER_HOUR: Final = 24.0

Hurt = Callable[[Devnet], AbstractAsyncContextManager[None]]
_KILLED: Final = (
    "relay",
    "host",
    "content",
    "validator-1",
    "validator-3",
    "fabric-peer1",
    "fabric-orderer2",
    "ethereum",
)
_STOPPED: Final = ("relay", "validator-2", "host", "content", "fabric-peer1", "fabric-peer2", "ethereum")
_FULL: Final = ("relay", "content", "validator-4")


def _faults() -> dict[str, Hurt]:
    faults: dict[str, Hurt] = {
        "kill leader": leader_killed,
        "stop leader": partial(leader_stopped, seconds=10.0),
        "ethereum torn": torn,
        "transactions dropped": partial(dropped, seconds=4.0),
        "base fee x100": partial(dear, factor=100, blocks=3),
        "reorganised": partial(reorganised, times=3),
    }

    def kill(name: str) -> Hurt:
        return lambda devnet: killed(devnet, name)

    def stop(name: str) -> Hurt:
        return lambda devnet: stopped(devnet, name, seconds=10.0)

    def clock(name: str, by: int) -> Hurt:
        return lambda devnet: clock_off(devnet, name, by=by, seconds=3.0)

    faults |= {f"kill {name}": kill(name) for name in _KILLED}
    faults |= {f"stop {name}": stop(name) for name in _STOPPED}
    faults |= {f"disk full {name}": partial(disk_full, name=name, seconds=2.0) for name in _FULL}
    faults |= {f"clock {name} {by:+d} s": clock(name, by) for name, by in (("relay", 600), ("validator-3", -600))}
    return faults


@dataclass(slots=True, kw_only=True)
class _Soak:
    mix: Mix
    rng: random.Random
    log: MemoryLog
    say: Callable[[str], None]
    end: float
    rate: float = 0.0
    recoveries: list[float] = field(default_factory=list[float])

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for work in (self._publish(), self._ask(), self._hurt(), self._sample()):
                tasks.create_task(work)

    def _turns(self, every_s: float) -> Iterator[float]:
        # How long to wait before each turn, until the end; turns that were missed are not made up for.
        due = time.monotonic()
        while due < self.end:
            yield max(0.0, due - time.monotonic())
            due = max(due + every_s, time.monotonic())

    @property
    def under_way(self) -> int:
        return len(self.mix.watch.all) - self.mix.watch.count(Stage.CARRIED)

    async def calibrate(self) -> None:
        """Measure what the network can do when it always has enough to do."""
        # The first ones only fill the pipe.
        await self._keep_busy(lambda: self.mix.watch.count(Stage.CARRIED) >= _IN_FLIGHT)
        begin, before = time.monotonic(), self.mix.watch.count(Stage.CARRIED)
        await self._keep_busy(lambda: time.monotonic() >= begin + _CALIBRATION_S)
        done = self.mix.watch.count(Stage.CARRIED) - before
        self.rate = max(_SLOWEST, done / (time.monotonic() - begin))
        self.say(f"can do {self.rate:.2f} publications/s; goes on at {_LOAD * self.rate:.2f}/s")

    async def fund(self) -> None:
        """Give the publisher what all publications to come cost."""
        devnet, publisher = self.mix.devnet, self.mix.devnet.accounts["publisher"]
        count = math.ceil(_LOAD * self.rate * _SECONDS) + _MOST_IN_FLIGHT
        for lane, give in (("fabric", fund_fabric), ("ethereum", fund_ethereum)):
            amount = count * devnet.network.lane(lane).min_deposit
            await give(devnet.ledgers, publisher, amount)
            devnet.funds[lane][publisher.address] += amount

    async def _keep_busy(self, over: Callable[[], bool]) -> None:
        while not over():
            if self.under_way < _IN_FLIGHT:
                await self.mix.publish_next()
            else:
                await asyncio.sleep(0.05)

    async def _publish(self) -> None:
        for pause in self._turns(1 / (_LOAD * self.rate)):
            await asyncio.sleep(pause)
            await self.mix.watch.until(lambda: self.under_way < _MOST_IN_FLIGHT, "room for more")
            await self.mix.publish_next()

    async def _ask(self) -> None:
        for pause in self._turns(_ASK_EVERY_S):
            await asyncio.sleep(pause)
            lane = self.rng.choice(("fabric", "ethereum"))
            self.mix.questions.append(await ask(self.mix.devnet, self.mix.model, lane))

    async def _hurt(self) -> None:
        faults = _faults()
        waiting: list[str] = []
        for pause in self._turns(_FAULT_EVERY_S):
            await asyncio.sleep(pause)
            # All of them before one comes again.
            waiting = waiting or self.rng.sample(sorted(faults), len(faults))
            name = waiting.pop()
            begin = time.monotonic()
            async with faults[name](self.mix.devnet):
                pass
            lasted = time.monotonic() - begin
            await self.mix.watch.until(lambda b=begin + lasted: self.mix.watch.decided_at > b, f"progress after {name}")
            self.recoveries.append(self.mix.watch.decided_at - begin - lasted)
            self.say(f"{name:<24} {lasted:5.1f} s, progress {self.recoveries[-1]:5.2f} s later; {self.mix.census}")

    async def _sample(self) -> None:
        for pause in self._turns(_SAMPLE_EVERY_S):
            await asyncio.sleep(pause)
            await asyncio.to_thread(self.log.sample, time.monotonic())


def test_works_for_hours_with_a_fault_a_minute(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("CAIMI_SOAK_SEED", random.SystemRandom().randrange(1 << 32)))

    def say(text: str) -> None:
        with capsys.disabled():
            print(f"soak: {text}", flush=True)

    say(f"{_SECONDS:.0f} s, CAIMI_SOAK_SEED={seed}")
    folder = tmp_path_factory.mktemp("soak")
    with running_devnet(folder) as devnet:

        async def scenario() -> _Soak:
            model = await publish_model(devnet, folder)
            await infer(devnet, model, "fabric")
            return await _soak(devnet, model, random.Random(seed), say)

        soak = devnet.run(scenario())
    done = soak.mix.watch.count(Stage.CARRIED)
    say(f"{done} publications, {len(soak.mix.questions)} questions, {len(soak.recoveries)} faults: all ended once")
    if _SECONDS >= 3600:
        assert done >= _LEAST
    _judge_memory(soak.log.growth(warm_up_s=_WARM_UP_S, shortest_s=_SHORTEST_LIFE_S), say)


async def _soak(devnet: Devnet, model: PublishedModel, rng: random.Random, say: Callable[[str], None]) -> _Soak:
    async with Mix.begun(devnet, model) as mix:
        soak = _Soak(mix=mix, rng=rng, log=MemoryLog(home=devnet.home), say=say, end=0.0)
        await soak.calibrate()
        await soak.fund()
        soak.end = time.monotonic() + _SECONDS
        await soak.run()
        await mix.finish()
        return soak


def _judge_memory(found: tuple[Growth, ...], say: Callable[[str], None]) -> None:
    for growth in found:
        say(f"{growth.name:<18} {growth.minutes:5.1f} min  {growth.mib:6.1f} MiB  {growth.mib_per_hour:+7.2f} MiB/h")
    ours = [growth for growth in found if growth.name.startswith(_OURS)]
    if _SECONDS >= 3600:
        assert {growth.name for growth in ours} >= {"relay", "host", "content"}, "nothing lived long enough"
    leaking = [g for g in ours if g.mib_per_hour > max(_GROWTH_MIB_PER_HOUR, _GROWTH_PER_HOUR * g.mib)]
    assert not leaking
