"""Processes that die with what they were doing, and lines that lose what they carry, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from caimi.ports.validators import ValidatorUnavailable
from caimi.simulators.actors import Identifiers, KillSwitch, Trace
from caimi.simulators.lines import Line
from caimi.simulators.processes import Process, ProcessDown
from caimi.simulators.virtual_time import Deadlocked, run_virtual
from caimi.types.errors import LowBalance


class Service:
    """Something that a process runs, and what it did."""

    def __init__(self) -> None:
        self.switch = KillSwitch()
        self.trace = Trace()
        self.process = Process("service", self.live, self.switch, self.trace)
        self.starts = 0
        self.done: list[str] = []
        self.ends_with: BaseException | None = None

    async def live(self) -> None:
        self.starts += 1
        if self.ends_with is not None:
            raise self.ends_with
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.work())

    async def work(self) -> None:
        await asyncio.sleep(3_600.0)

    async def call(self, name: str, seconds: float = 1.0) -> str:
        await asyncio.sleep(seconds)
        self.switch.reached(f"step of {name}")
        self.done.append(name)
        return name


def play(scene: Coroutine[Any, Any, None], service: Service) -> None:
    async def act() -> None:
        running = asyncio.ensure_future(service.process.run())
        await asyncio.sleep(0.1)
        try:
            await scene
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run_virtual(act())


def test_answers_and_refuses_as_the_service_does() -> None:
    service = Service()

    async def refuse() -> None:
        raise LowBalance(2, 1)

    async def scene() -> None:
        assert await service.process.answer(lambda: service.call("a")) == "a"
        with pytest.raises(LowBalance):
            await service.process.answer(refuse)

    play(scene(), service)
    assert service.process.bugs == []


def test_kill_ends_what_it_was_doing_and_it_starts_again() -> None:
    service = Service()

    async def scene() -> None:
        asked = asyncio.ensure_future(service.process.answer(lambda: service.call("a", 5.0)))
        await asyncio.sleep(1.0)
        service.process.kill(pause=3.0)
        with pytest.raises(ProcessDown):
            await asked
        assert not service.process.is_up
        with pytest.raises(ProcessDown):
            await service.process.answer(lambda: service.call("b"))
        await asyncio.sleep(4.0)
        assert service.process.is_up
        assert await service.process.answer(lambda: service.call("c")) == "c"

    play(scene(), service)
    assert (service.starts, service.done, service.process.bugs) == (2, ["c"], [])


def test_kill_at_a_step_counts_the_steps() -> None:
    service = Service()

    async def scene() -> None:
        service.process.kill_at_step(2, pause=1.0)
        assert await service.process.answer(lambda: service.call("a")) == "a"
        other = asyncio.ensure_future(service.process.answer(lambda: service.call("other", 60.0)))
        with pytest.raises(ProcessDown):
            await service.process.answer(lambda: service.call("b"))
        # The process is gone, and not only the call in which it died.
        with pytest.raises(ProcessDown):
            await other
        await asyncio.sleep(5.0)
        assert await service.process.answer(lambda: service.call("c")) == "c"

    play(scene(), service)
    assert (service.starts, service.done, service.process.bugs) == (2, ["a", "c"], [])
    assert any("killed at step of b" in line for line in service.trace.lines)


def test_spared_process_lives() -> None:
    service = Service()

    async def scene() -> None:
        service.process.kill_at_step(1, pause=1.0)
        service.process.spare()
        assert await service.process.answer(lambda: service.call("a")) == "a"

    play(scene(), service)
    assert service.starts == 1


def test_call_goes_on_when_its_caller_goes_away() -> None:
    service = Service()

    async def scene() -> None:
        asked = asyncio.ensure_future(service.process.answer(lambda: service.call("a")))
        await asyncio.sleep(0.5)
        asked.cancel()
        await asyncio.sleep(1.0)

    play(scene(), service)
    assert service.done == ["a"]


@pytest.mark.parametrize(
    "error",
    [TypeError("planted"), LowBalance(2, 1), ExceptionGroup("several", [TypeError("planted")])],
    ids=["programming", "refusal", "group"],
)
def test_end_that_nobody_caused_is_a_bug(error: Exception) -> None:
    service = Service()
    service.ends_with = error

    async def scene() -> None:
        await asyncio.sleep(0.5)

    play(scene(), service)
    assert len(service.process.bugs) == 1


def test_error_that_is_none_of_ours_in_a_call_is_a_bug() -> None:
    service = Service()

    async def broken() -> None:
        raise TypeError("planted")

    async def scene() -> None:
        with pytest.raises(TypeError):
            await service.process.answer(broken)

    play(scene(), service)
    assert service.process.bugs == ["in a call: TypeError('planted')"]


# --- lines


class Ways:
    """A line and how often what it carries was done."""

    def __init__(self, seed: int = 1, *, loss: float = 0.0, delay: float = 0.0) -> None:
        self.line = Line(rng=random.Random(seed), unavailable=ValidatorUnavailable, patience_s=60.0)
        self.line.loss, self.line.delay = loss, delay
        self.times = 0

    async def work(self) -> int:
        self.times += 1
        return self.times

    async def ask(self) -> int | None:
        try:
            return await self.line.ask(self.work)
        except ValidatorUnavailable:
            return None


def test_line_without_faults_carries_once_and_at_once() -> None:
    async def scene() -> None:
        ways = Ways()
        assert [await ways.ask() for _ in range(50)] == list(range(1, 51))
        assert asyncio.get_running_loop().time() == 0.0

    run_virtual(scene())


def test_lossy_line_loses_doubles_and_delivers_late() -> None:
    async def scene() -> None:
        ways = Ways(loss=0.5)
        heard = 0
        seen: set[int] = set()
        for _ in range(200):
            before, answer = ways.times, await ways.ask()
            heard += answer is not None
            if answer is not None:
                seen.add(ways.times - before)
        now = ways.times
        await asyncio.sleep(60.0)
        assert 0 < heard < 200
        assert seen >= {1, 2}, "some are done twice"
        assert ways.times > heard, "some are done though nobody hears of it"
        assert ways.times >= now

    run_virtual(scene())


def test_what_is_late_arrives_after_its_sender_gave_up() -> None:
    async def scene() -> None:
        for seed in range(50):
            ways = Ways(seed, loss=1.0)
            assert await ways.ask() is None
            given_up = ways.times
            await asyncio.sleep(30.0)
            if ways.times > given_up:
                return
        raise AssertionError("no line was late")

    run_virtual(scene())


def test_slow_line_takes_its_time() -> None:
    async def scene() -> None:
        assert await Ways(delay=3.0).ask() == 1
        assert 0.0 < asyncio.get_running_loop().time() <= 3.0

    run_virtual(scene())


def test_line_says_that_a_dead_process_does_not_answer() -> None:
    service = Service()

    async def scene() -> None:
        service.process.kill(pause=9.0)
        with pytest.raises(ValidatorUnavailable):
            await Ways().line.ask(lambda: service.process.answer(lambda: service.call("a")))

    play(scene(), service)


# --- time and trace


def test_work_for_a_thread_is_done_at_once_and_fails_as_it_does() -> None:
    async def scene() -> None:
        assert await asyncio.to_thread(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        assert asyncio.get_running_loop().time() == 0.0

    run_virtual(scene())


def test_waiting_for_nothing_is_a_deadlock() -> None:
    async def scene() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlocked):
        run_virtual(scene())


def test_numbered_trace_shows_the_same_for_other_hashes_and_remembers_them() -> None:
    async def written(*values: bytes) -> Trace:
        trace = Trace(Identifiers.NUMBERED)
        for value in values:
            trace.note(f"block 12 0x{value.hex()} of {value.hex()}")
        return trace

    one, other = run_virtual(written(b"a" * 32, b"b" * 32)), run_virtual(written(b"c" * 32, b"d" * 32))
    twice = run_virtual(written(b"a" * 32, b"a" * 32))
    assert one.lines == ["0.000 block 12 #1 of #2", "0.000 block 12 #3 of #4"]
    assert one.digest() == other.digest() != twice.digest()
    assert (b"a" * 32).hex() in one.said()
    assert (b"c" * 32).hex() not in one.said()
