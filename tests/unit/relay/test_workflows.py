"""What is under way and for how long nothing happened to it; and the numbers that a relay shows of itself."""

from __future__ import annotations

import dataclasses
from typing import Any

from caimi.ports.metrics import (
    BATCH_CALLS,
    CALL_FAILURES,
    CALLS,
    CERTIFICATE_SECONDS,
    LAG,
    LANE_CLOCK_OFFSET,
    LANE_READ_AGE,
    RUN_EVENTS,
    SENDER_BALANCE,
    SIGNATURE_SECONDS,
    TRANSACTION_SECONDS,
    TURNS_FAILED,
    UNDELIVERED,
    UNDELIVERED_AGE,
    VALIDATOR_ANSWERS,
    WORKFLOW_IDLE,
    WORKFLOWS_OPEN,
    WORKFLOWS_STALLED,
    Metric,
)
from caimi.ports.validators import Abstains
from caimi.protocol.publication import State
from caimi.relay.lanes import RelayLane
from caimi.relay.workflows import Workflow, WorkflowKind, Workflows
from caimi.simulators.chain import SimulatedChain
from caimi.types.primitives import PublicationId, UnixSeconds
from caimi.types.records import Cid, InferenceRequest
from caimi.wire.codec import encode
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.unit.relay.faulty_ports import FaultyPort
from tests.unit.relay.world import World, key, run


async def _abstain(*_: Any) -> Any:
    raise Abstains("its sources disagree")


def _silence(world: World, *indices: int) -> None:
    # These validators say no from now on.
    for index in indices:
        world.peers[index].checkpoint = _abstain  # pyright: ignore[reportAttributeAccessIssue]


def _open(world: World) -> tuple[Workflow, ...]:
    return Workflows(world.relays[0].lanes, world.stores[0], world.clock).open()


async def _published(world: World, home: str = "fabric", mirror: str = "ethereum") -> PublicationId:
    await world.fund(home, 100)
    publication, signature, identifier = world.publication(home, mirror)
    await world.publish(publication, signature)
    return identifier


async def _request(world: World, publication: PublicationId, *, deadline: int) -> InferenceRequest:
    consumer = key("consumer")
    record = InferenceRequest(
        at=world.lane("ethereum"),
        publication=publication,
        consumer=consumer.address,
        input=Cid(codec=0x55, digest=keccak256(b"input")),
        input_commitment=keccak256(b"commitment"),
        client_key=keccak256(b"client"),
        nonce=keccak256(b"request nonce"),
        deadline=UnixSeconds(deadline),
    )
    signature = consumer.sign(typed_digest(world.network, record)).to_bytes()
    await world.relays[0].intake.request(encode(record), signature)
    return record


def _gauge(world: World, metric: Metric, *series: str) -> float:
    return world.observer.gauges[metric, series]


def test_a_publication_is_open_until_every_lane_has_its_outcome() -> None:
    async def scenario() -> None:
        with World() as world:
            assert _open(world) == ()
            identifier = await _published(world)
            (found,) = _open(world)
            assert (found.id, found.kind, found.idle) == (identifier, WorkflowKind.PUBLICATION, 0)
            for _ in range(40):
                is_everywhere = world.all_at(State.COMMITTED, identifier)
                if not is_everywhere:
                    assert [w.id for w in _open(world)] == [identifier], world.states()
                await world.step()
            assert _open(world) == ()

    run(scenario())


def test_idle_time_grows_without_a_quorum_and_failed_attempts_are_no_progress() -> None:
    async def scenario() -> None:
        with World() as world:
            _silence(world, 0, 1)
            await _published(world)
            for _ in range(12):
                await world.step()
            before = _open(world)[0].idle
            for _ in range(5):
                world.clock.advance(15)
                await world.step()
            (stuck,) = _open(world)
            assert stuck.idle == before + 80
            assert (TURNS_FAILED, {"part": "carrier", "error": "NoQuorum"}) in world.observer.counts
            world.relays[0].collect()
            assert _gauge(world, WORKFLOW_IDLE) == stuck.idle
            assert _gauge(world, WORKFLOWS_OPEN, "publication") == 1

    run(scenario())


def test_a_decided_publication_that_nobody_certifies_is_still_open() -> None:
    async def scenario() -> None:
        with World() as world:
            # Ethereum's blocks are final two later: nobody has certified the outcome yet.
            identifier = await _published(world, "ethereum", "fabric")
            await world.until(lambda: world.state("ethereum", identifier) is State.COMMITTED)
            _silence(world, 0, 1)
            for _ in range(6):
                world.clock.advance(30)
                await world.step()
            assert world.state("fabric", identifier) is State.LOCKED
            row = world.stores[0].publication(identifier)
            assert row is not None and row.outcome is State.COMMITTED
            (stuck,) = _open(world)
            assert stuck.id == identifier and stuck.idle >= 120
            world.relays[0].collect()
            assert _gauge(world, WORKFLOWS_STALLED) == 1
            assert _gauge(world, LAG, "ethereum", "fabric") >= 1
            assert _gauge(world, UNDELIVERED, "ethereum", "fabric") == _gauge(world, LAG, "ethereum", "fabric")

    run(scenario())


def test_a_request_is_open_until_its_deadline_and_then_nobody_waits_for_it() -> None:
    async def scenario() -> None:
        with World() as world:
            identifier = await _published(world)
            await world.until(lambda: not _open(world))
            record = await _request(world, identifier, deadline=world.clock.now() + 60)
            request = typed_digest(world.network, record)
            assert [(w.id, w.kind) for w in _open(world)] == [(request, WorkflowKind.REQUEST)]
            for _ in range(20):
                await world.step()
            assert world.stores[0].calls_about(request)[0].state.value == "done"
            assert [(w.id, w.kind) for w in _open(world)] == [(request, WorkflowKind.REQUEST)]
            world.clock.advance(60)
            assert _open(world) == ()

    run(scenario())


def test_another_call_is_open_until_it_is_done() -> None:
    async def scenario() -> None:
        with World() as world:
            call = encode_call("abort", PublicationId(keccak256(b"nothing")))
            accepted = await world.relays[0].intake.call(world.lane("fabric"), call)
            assert [(w.id, w.kind) for w in _open(world)] == [(accepted.id, WorkflowKind.OTHER)]
            # The registry knows no such publication; after ten attempts it is given up.
            for _ in range(12):
                world.clock.advance(30)
                await world.step()
            assert world.stores[0].calls_about(accepted.id)[0].state.value == "refused"
            assert _open(world) == ()

    run(scenario())


def test_a_ledger_whose_clock_is_wrong_makes_no_workflow_look_stuck() -> None:
    class AnHourBehind(FaultyPort):
        async def head(self) -> Any:
            head = await self.port.head()
            return dataclasses.replace(head, time=head.time - 3_600)

    def behind(name: str, port: SimulatedChain) -> Any:
        return AnHourBehind(port) if name == "ethereum" else port

    async def scenario() -> None:
        with World(wrap=behind) as world:
            await _published(world)
            for _ in range(3):
                await world.step()
            assert [workflow.idle < 5 for workflow in _open(world)] == [True]
            world.relays[0].collect()
            assert (
                _gauge(world, LANE_CLOCK_OFFSET, "ethereum") >= 3_600 > 10 > _gauge(world, LANE_CLOCK_OFFSET, "fabric")
            )

    run(scenario())


def test_a_publication_leaves_its_numbers() -> None:
    async def scenario() -> None:
        with World() as world:
            await _published(world)
            # Of a run on its way: something is undelivered, and its age grows.
            seen: list[float] = []
            for _ in range(40):
                await world.step()
                world.relays[0].collect()
                seen.append(_gauge(world, UNDELIVERED, "ethereum", "fabric"))
            assert max(seen) == 1 and seen[-1] == 0
            assert _gauge(world, UNDELIVERED_AGE, "ethereum", "fabric") == 0
            assert _gauge(world, CALLS, "fabric", "done") == 2
            assert _gauge(world, CALLS, "fabric", "queued") == 0
            observed = {metric for metric, _, _ in world.observer.observed}
            assert {BATCH_CALLS, CERTIFICATE_SECONDS, RUN_EVENTS, SIGNATURE_SECONDS, TRANSACTION_SECONDS} <= observed
            signers = {
                labels["validator"] for metric, _, labels in world.observer.observed if metric is SIGNATURE_SECONDS
            }
            assert signers <= {"1", "2", "3", "4"} and len(signers) >= 3
            signed = [labels for metric, labels in world.observer.counts if metric is VALIDATOR_ANSWERS]
            assert {"validator": "1", "answer": "signed"} in signed

    run(scenario())


def test_what_validators_say_and_what_fails_is_counted_by_class() -> None:
    async def scenario() -> None:
        with World() as world:
            _silence(world, 3)
            # Nobody funded the publisher: home refuses the lock again and again.
            publication, signature, _ = world.publication("fabric", "ethereum")
            await world.publish(publication, signature)
            for _ in range(12):
                await world.step()
            counts = world.observer.counts
            assert (VALIDATOR_ANSWERS, {"validator": "4", "answer": "Abstains"}) in counts
            failures = [labels for metric, labels in counts if metric is CALL_FAILURES]
            assert {"lane": "fabric", "refusal": "LowBalance", "next": "retried"} in failures

    run(scenario())


def test_the_balance_of_a_lane_that_costs_money_is_asked_for_now_and_then() -> None:
    asked: list[int] = []

    class Costly(FaultyPort):
        async def funds(self) -> int:
            asked.append(1)
            return 10**18

    def costly(name: str, port: SimulatedChain) -> Any:
        return Costly(port) if name == "ethereum" else port

    async def scenario() -> None:
        with World(wrap=costly) as world:
            for _ in range(31):
                await world.step()
            assert _gauge(world, SENDER_BALANCE, "ethereum") == 10**18
            assert (SENDER_BALANCE, ("fabric",)) not in world.observer.gauges
            assert len(asked) == 3

    run(scenario())


def test_a_lane_that_cannot_be_read_gets_old() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.step()
            world.nodes["ethereum"].is_up = False
            for _ in range(7):
                await world.step()
            world.relays[0].collect()
            assert _gauge(world, LANE_READ_AGE, "ethereum") >= 7 > 2 > _gauge(world, LANE_READ_AGE, "fabric")
            lane = next(lane for lane in world.relays[0].lanes if lane.name == "ethereum")
            assert isinstance(lane, RelayLane)

    run(scenario())
