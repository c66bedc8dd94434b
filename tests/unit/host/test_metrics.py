"""What a host shows of itself: leases, stages of loading, runs, requests by state, failures by class."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from caimi.host.timed_runtime import TimedRuntime
from caimi.ports.host_store import RequestState
from caimi.ports.metrics import (
    DIRECT_CALLS,
    DIRECT_IN_FLIGHT,
    DIRECT_SECONDS,
    HOST_BATCH,
    HOST_FAILURES,
    HOST_REQUESTS,
    HOST_WAITING,
    INFERENCE_SECONDS,
    KEYS_SECONDS,
    LEASE_CALLS,
    LEASE_LOOKUPS,
    LEASE_SECONDS,
    LEASES,
    LOAD_SECONDS,
)
from caimi.types.errors import BadEncoding
from tests.unit.host.direct_consumer import Consumer
from tests.unit.host.host_world import INPUT, HostWorld


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


def test_direct_calls_are_counted_by_result_with_their_batches_and_what_their_lease_lacked() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            observer = world.keys.chains.observer
            publication = await world.publish()
            consumers = [Consumer(world.identity, f"consumer {i}") for i in range(4)]
            soon = world.clock.now() + 30
            first = consumers[0].call(publication, INPUT, soon)
            await world.serving.infer(publication, first.body)
            sent = [consumer.call(publication, INPUT, soon) for consumer in consumers]
            await asyncio.gather(*(world.serving.infer(publication, one.body) for one in sent))
            with pytest.raises(BadEncoding):
                await world.serving.infer(publication, b"nonsense")
            results = [labels["result"] for metric, labels in observer.counts if metric is DIRECT_CALLS]
            assert (results.count("answered"), results.count("BadEncoding"), len(results)) == (5, 1, 6)
            assert len([1 for metric, _, _ in observer.observed if metric is DIRECT_SECONDS]) == 5
            batches = [value for metric, value, _ in observer.observed if metric is HOST_BATCH]
            assert sum(batches) == 5 and len(batches) == world.serving.numbers().batches
            found = [labels["found"] for metric, labels in observer.counts if metric is LEASE_LOOKUPS]
            assert found[0] == "model" and set(found[1:]) == {"held"}
            with world.serving.place(10):
                world.serving.collect()
                assert observer.gauges[DIRECT_IN_FLIGHT, ()] == 1
            world.serving.collect()
            assert observer.gauges[DIRECT_IN_FLIGHT, ()] == 0

    asyncio.run(scenario())


def test_a_lease_that_is_used_up_is_told_from_one_that_is_held() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            observer = world.keys.chains.observer
            world.terms = dataclasses.replace(world.terms, calls=3)
            await world.restart()
            publication = await world.publish()
            consumer = Consumer(world.identity)
            for _ in range(4):
                sent = consumer.call(publication, INPUT, world.clock.now() + 30)
                await world.serving.infer(publication, sent.body)
            found = [labels["found"] for metric, labels in observer.counts if metric is LEASE_LOOKUPS]
            # The first call looks twice: for what the model takes, and to be run.
            assert found == ["model", "held", "held", "held", "lease"]

    asyncio.run(scenario())
