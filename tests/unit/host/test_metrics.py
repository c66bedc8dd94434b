"""What a host shows of itself: leases, stages of loading, runs, requests by state, failures by class."""

from __future__ import annotations

import asyncio

from caimi.host.timed_runtime import TimedRuntime
from caimi.ports.host_store import RequestState
from caimi.ports.metrics import (
    HOST_BATCH,
    HOST_FAILURES,
    HOST_REQUESTS,
    HOST_WAITING,
    INFERENCE_SECONDS,
    KEYS_SECONDS,
    LEASE_CALLS,
    LEASE_SECONDS,
    LEASES,
    LOAD_SECONDS,
)
from tests.unit.host.host_world import HostWorld


def test_an_answer_leaves_stages_runs_and_a_lease() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            observer = world.keys.chains.observer
            world.shelf.collect()
            assert [observer.gauges[m, ()] for m in (LEASES, LEASE_CALLS, LEASE_SECONDS)] == [0, 0, 0]
            world.shelf._runtime = TimedRuntime(world.runtime, clock=world.clock, observer=observer)
            asked = await world.ask(await world.publish())
            await world.until_settled(asked)
            world.shelf.collect()
            world.host.collect()
            assert observer.gauges[LEASES, ()] == 1
            assert observer.gauges[LEASE_CALLS, ()] == world.terms.calls - 1
            assert 0 < observer.gauges[LEASE_SECONDS, ()] <= world.terms.seconds
            assert observer.gauges[KEYS_SECONDS, ()] > 0
            assert observer.gauges[HOST_REQUESTS, ("answered",)] == 1
            assert observer.gauges[HOST_REQUESTS, ("seen",)] == observer.gauges[HOST_WAITING, ()] == 0
            stages = [labels["stage"] for metric, _, labels in observer.observed if metric is LOAD_SECONDS]
            assert stages == ["lease", "key", "open", "start"]
            assert [value for metric, value, _ in observer.observed if metric is HOST_BATCH] == [1]
            assert len([1 for metric, _, _ in observer.observed if metric is INFERENCE_SECONDS]) == 1

    asyncio.run(scenario())


def test_failures_are_counted_by_class_and_a_stage_that_failed_is_not_timed() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            observer = world.keys.chains.observer
            world.runtime.crashes = 1
            for validator in world.validators:
                validator.is_up = False
            asked = await world.ask(await world.publish())
            for _ in range(4):
                await world.host.turn()
            assert [labels["stage"] for metric, _, labels in observer.observed if metric is LOAD_SECONDS] == ["lease"]
            for validator in world.validators:
                validator.is_up = True
            (row,) = await world.until_settled(asked)
            assert row.state is RequestState.ANSWERED
            failures = [tuple(labels.values()) for metric, labels in observer.counts if metric is HOST_FAILURES]
            assert ("NoGroupKey", "retried") in failures and ("RuntimeFailed", "retried") in failures

    asyncio.run(scenario())
