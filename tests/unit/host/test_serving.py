"""Direct calls at a host on simulated ledgers: answers, batches, turns, refusals, the end."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from caimi.bundle.onnx_inspect import inspect_model
from caimi.bundle.signature import DType
from caimi.bundle.tensors import MalformedTensors, NotFinite, Tensor, WrongShape, decode_tensors
from caimi.crypto.direct_seal import begin_session
from caimi.host.call_errors import (
    AlreadyAnswered,
    DeadlineTooFar,
    DeadlineUnmeetable,
    HostBusy,
    HostEnding,
    ModelNotReady,
    NotYetAnswered,
)
from caimi.host.errors import InputMismatch, KeyRefused, NotForThisHost
from caimi.host.fair_queue import QueueLimits
from caimi.host.model_server import Batching
from caimi.host.replays import ReplayLimits
from caimi.host.serving import MAX_AHEAD_S, ServingLimits
from caimi.ports.host_relay import PublicationUnknown
from caimi.ports.model_runtime import RuntimeFailed
from caimi.types.errors import BadEncoding, Blame, CaimiError, Expired, NonceUsed, WrongSigner
from caimi.types.primitives import ZERO32, Bytes32
from caimi.types.records import PublicationKind
from tests.unit.bundle.onnx_models import constant, make_node, model, value
from tests.unit.host.direct_consumer import Consumer, Sent
from tests.unit.host.host_world import INPUT, WEIGHTS, HostWorld, InlineModel, tensors
from tests.unit.relay.world import key


def soon(world: HostWorld, seconds: int = 30) -> int:
    return world.clock.now() + seconds


def call(world: HostWorld, publication: Bytes32, values: Any = INPUT, name: str = "consumer", **fields: Any) -> Sent:
    deadline = fields.pop("deadline", soon(world))
    return Consumer(world.identity, name).call(publication, values, deadline, **fields)


def test_answers_with_a_receipt_under_a_lease_and_no_ledger() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            consumer = Consumer(world.identity)
            events = {n: len(ledger.tip.registry.state.events) for n, ledger in world.keys.chains.ledgers.items()}
            leases: set[Bytes32] = set()
            for rows in (1, 2):
                sent = consumer.call(publication, INPUT[:rows], soon(world))
                output, receipt = consumer.open(sent, await world.serving.infer(publication, sent.body))
                assert np.array_equal(output, INPUT[:rows] @ WEIGHTS)
                known = await world.relay.publication(publication)
                assert known.publication
                assert receipt.time == world.clock.now()
                leases.add(receipt.lease)
            (shown,) = world.shelf.shown()
            assert leases == {shown.lease}
            assert shown.calls_left == world.terms.calls - 2
            assert world.serving.numbers().answered == 2
            assert events == {
                n: len(ledger.tip.registry.state.events) for n, ledger in world.keys.chains.ledgers.items()
            }

    asyncio.run(scenario())


def test_the_same_request_gets_the_same_bytes_and_is_run_once() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            sent = call(world, publication)
            first = await world.serving.infer(publication, sent.body)
            assert await world.serving.infer(publication, sent.body) == first
            assert len(world.runtime.batches) == 1
            # A nonce is used once, by each consumer.
            with pytest.raises(NonceUsed):
                await world.serving.infer(publication, call(world, publication, INPUT[:1]).body)
            other = call(world, publication, INPUT[:1], name="another")
            same_nonce = dataclasses.replace(other.call.request, nonce=sent.call.request.nonce)
            assert same_nonce.nonce == sent.call.request.nonce
            await world.serving.infer(publication, other.body)
            assert len(world.runtime.batches) == 2

    asyncio.run(scenario())


def test_calls_that_wait_are_run_together_and_each_gets_its_rows() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            await world.serving.infer(publication, call(world, publication, INPUT[:1], name="first").body)
            world.runtime.batches.clear()
            consumers = [Consumer(world.identity, f"consumer {i}") for i in range(5)]
            given = [np.full((1 + i % 2, 4), i, "float32") for i in range(5)]
            sent = [c.call(publication, x, soon(world)) for c, x in zip(consumers, given, strict=True)]
            replies = await asyncio.gather(*(world.serving.infer(publication, one.body) for one in sent))
            assert world.runtime.batches == [7]
            for consumer, one, reply, x in zip(consumers, sent, replies, given, strict=True):
                output, receipt = consumer.open(one, reply)
                assert np.array_equal(output, x @ WEIGHTS)
                assert receipt.request == one.id
            (shown,) = world.shelf.shown()
            assert shown.calls_left == world.terms.calls - 6

    asyncio.run(scenario())


def mixing_model() -> bytes:
    """y = x - mean over rows: what one caller gets would depend on what another one asked."""
    nodes = [make_node("ReduceMean", ["x", "a"], ["m"]), make_node("Sub", ["x", "m"], ["y"])]
    made = model(
        nodes,
        inputs=[value("x", ["N", 4])],
        outputs=[value("y", ["N", 4])],
        constants=[constant("a", np.array([0], np.int64))],
        opsets={"": 20},
    )
    return made.SerializeToString()


def test_a_model_that_mixes_rows_never_runs_two_calls_together() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            data = mixing_model()
            publication = await world.publish(data, signature=inspect_model(data).signature)
            consumers = [Consumer(world.identity, f"consumer {i}") for i in range(4)]
            sent = [c.call(publication, INPUT + i, soon(world)) for i, c in enumerate(consumers)]
            replies = await asyncio.gather(*(world.serving.infer(publication, one.body) for one in sent))
            assert world.runtime.batches == [2, 2, 2, 2]
            for i, (consumer, one, reply) in enumerate(zip(consumers, sent, replies, strict=True)):
                x = INPUT + i
                assert np.allclose(consumer.open(one, reply)[0], x - x.mean(axis=0))

    asyncio.run(scenario())


class Gate:
    """Holds a model's runs until it is opened."""

    def __init__(self, world: HostWorld, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = asyncio.Event()
        self.runs = 0
        run = InlineModel.run

        async def held(model: InlineModel, inputs: Any) -> Any:
            self.runs += 1
            await self.open.wait()
            return await run(model, inputs)

        monkeypatch.setattr(InlineModel, "run", held)


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def warm(world: HostWorld) -> Bytes32:
    publication = await world.publish()
    await world.serving.infer(publication, call(world, publication, name="warm").body)
    world.runtime.batches.clear()
    return publication


def test_the_queue_is_bounded_and_says_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            world.serving_limits = ServingLimits(queue=QueueLimits(calls=2))
            await world.restart()
            publication = await warm(world)
            gate = Gate(world, monkeypatch)
            consumer = Consumer(world.identity)

            def start(who: Consumer) -> asyncio.Task[bytes]:
                return asyncio.create_task(
                    world.serving.infer(publication, who.call(publication, INPUT, soon(world)).body)
                )

            running = start(consumer)
            await settle()
            waiting = [start(consumer) for _ in range(2)]
            await settle()
            server = next(iter(world.serving._servers.values()))
            server._pace.observe(1, 3.0)
            server._pace.seconds_a_row = 3.0
            with pytest.raises(HostBusy) as caught:
                await start(consumer)
            # Six rows are queued or run: that long, at the measured pace.
            assert caught.value.seconds == pytest.approx(18.0)
            # Somebody who has nothing in the queue takes the newest place of who has most.
            other = start(Consumer(world.identity, "other"))
            await settle()
            assert isinstance(waiting[1].exception(), HostBusy)
            gate.open.set()
            await asyncio.gather(running, waiting[0], other)

    asyncio.run(scenario())


def test_a_deadline_that_cannot_be_met_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await warm(world)
            server = next(iter(world.serving._servers.values()))
            server._pace.seconds_a_row = 9.0
            sent = call(world, publication, deadline=soon(world, 5))
            spoiled = dataclasses.replace(sent.call, signature=bytes(65))
            with pytest.raises(DeadlineUnmeetable) as caught:
                # Before the signature is looked at.
                await world.serving.infer(publication, spoiled.to_bytes())
            assert caught.value.seconds == pytest.approx(9.0)
            assert world.runtime.batches == []
            # Two rows of one call: 18 seconds.
            with pytest.raises(DeadlineUnmeetable):
                await world.serving.infer(publication, call(world, publication, deadline=soon(world, 10)).body)
            await world.serving.infer(publication, call(world, publication, deadline=soon(world, 30)).body)

    asyncio.run(scenario())


def test_a_call_whose_time_passes_in_the_queue_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await warm(world)
            gate = Gate(world, monkeypatch)
            first = asyncio.create_task(world.serving.infer(publication, call(world, publication, name="a").body))
            await settle()
            sent = call(world, publication, name="b", deadline=soon(world, 5))
            second = asyncio.create_task(world.serving.infer(publication, sent.body))
            await settle()
            world.keys.chains.clock.advance(6)
            gate.open.set()
            await first
            with pytest.raises(Expired):
                await second
            assert gate.runs == 1

    asyncio.run(scenario())


def test_a_client_that_goes_away_frees_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await warm(world)
            gate = Gate(world, monkeypatch)
            first = asyncio.create_task(world.serving.infer(publication, call(world, publication, name="a").body))
            await settle()
            sent = call(world, publication, name="b")
            second = asyncio.create_task(world.serving.infer(publication, sent.body))
            await settle()
            server = next(iter(world.serving._servers.values()))
            assert len(server._queue) == 1
            with pytest.raises(NotYetAnswered):
                await world.serving.infer(publication, sent.body)
            second.cancel()
            await settle()
            assert len(server._queue) == 0
            gate.open.set()
            await first
            # Nothing was answered: the same request may come again.
            await world.serving.infer(publication, sent.body)
            assert gate.runs == 2

    asyncio.run(scenario())


def test_an_input_that_breaks_a_batch_is_run_alone_and_pays_alone() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await warm(world)
            world.runtime.crashes = 2
            good, bad = (call(world, publication, name=name) for name in ("good", "bad"))
            replies = await asyncio.gather(
                *(world.serving.infer(publication, one.body) for one in (bad, good)), return_exceptions=True
            )
            # The batch crashes, then the first of its calls; the other one is answered.
            assert [type(reply) for reply in replies] == [RuntimeFailed, bytes]

    asyncio.run(scenario())


def test_outputs_that_are_not_the_batchs_rows_are_nobodys() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await warm(world)
            world.runtime.nonsense = {"y": Tensor(dtype=DType.FLOAT32, shape=(3, 2), data=bytes(24))}
            sent = [call(world, publication, name=name) for name in "ab"]
            replies = await asyncio.gather(
                *(world.serving.infer(publication, one.body) for one in sent), return_exceptions=True
            )
            # Alone, the runner's word is all that there is of the shape.
            assert [type(reply) for reply in replies] == [bytes, bytes]
            assert world.runtime.batches == []
            assert world.serving.numbers().batches == 3

    asyncio.run(scenario())


Change = Callable[[Sent], bytes]


def _flipped(place: int) -> Change:
    def change(sent: Sent) -> bytes:
        body = bytearray(sent.body)
        body[place] ^= 1
        return bytes(body)

    return change


def _short(sent: Sent) -> bytes:
    return sent.body[:400]


def _longer(sent: Sent) -> bytes:
    return sent.body + b"\0"


def _other_session(sent: Sent) -> bytes:
    return dataclasses.replace(sent.call, session=bytes(80)).to_bytes()


@pytest.mark.parametrize(
    ("error", "change"),
    [
        (BadEncoding, _short),
        (BadEncoding, _flipped(0)),
        (BadEncoding, _flipped(32)),
        (NotForThisHost, _flipped(95)),
        (WrongSigner, _flipped(170)),
        (NotForThisHost, _other_session),
        (NotForThisHost, _flipped(-1)),
        (NotForThisHost, _longer),
    ],
)
def test_rejects_bodies_that_were_changed(error: type[CaimiError], change: Change) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            with pytest.raises(CaimiError) as caught:
                await world.serving.infer(publication, change(call(world, publication)))
            assert isinstance(caught.value, error)
            assert caught.value.blame is Blame.CALLER
            assert world.runtime.models == []
            # Nothing of it is kept: the honest call goes through.
            await world.serving.infer(publication, call(world, publication).body)

    asyncio.run(scenario())


def test_rejects_requests_for_others() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            other = await world.publish(name="other", nonce=Bytes32(b"\6" * 32))
            stranger = key("stranger").address
            foreign, _ = begin_session(Bytes32(b"\7" * 32), host=world.identity.key.sealing_key, network=ZERO32)
            cases: list[tuple[type[CaimiError], dict[str, Any]]] = [
                (NotForThisHost, {"host": stranger}),
                (WrongSigner, {"consumer": stranger}),
                (NotForThisHost, {"session": foreign.id}),
                (InputMismatch, {"input_commitment": ZERO32}),
                (Expired, {"deadline": world.clock.now()}),
                (Expired, {"deadline": 0}),
                (DeadlineTooFar, {"deadline": soon(world, MAX_AHEAD_S + 1)}),
            ]
            for error, fields in cases:
                with pytest.raises(error):
                    await world.serving.infer(publication, call(world, publication, name="x", **fields).body)
            with pytest.raises(BadEncoding):
                await world.serving.infer(publication, call(world, other).body)
            unknown = Bytes32(b"\5" * 32)
            with pytest.raises(PublicationUnknown):
                await world.serving.infer(unknown, call(world, unknown).body)
            assert world.runtime.models == []
            await world.serving.infer(publication, call(world, publication, deadline=soon(world, MAX_AHEAD_S)).body)

    asyncio.run(scenario())


def test_a_session_of_another_request_is_not_taken_from_the_cache() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await warm(world)
            known = Consumer(world.identity, "known")
            await world.serving.infer(publication, known.call(publication, INPUT, soon(world)).body)
            sent = Consumer(world.identity, "other").call(publication, INPUT, soon(world))
            with pytest.raises(NotForThisHost):
                await world.serving.infer(publication, dataclasses.replace(sent.call, session=known.sealed).to_bytes())

    asyncio.run(scenario())


def test_rejects_tensors_that_the_model_does_not_take() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            for error, values, payload in (
                (WrongShape, INPUT[:, :3], None),
                (NotFinite, np.full((1, 4), np.inf), None),
                (MalformedTensors, INPUT, bytes(40)),
            ):
                sent = call(world, publication, values, payload=payload)
                with pytest.raises(error):
                    await world.serving.infer(publication, sent.body)
            assert world.runtime.batches == []

    asyncio.run(scenario())


def test_another_start_takes_no_request_of_this_one() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            sent = call(world, publication)
            await world.serving.infer(publication, sent.body)
            await world.restart()
            with pytest.raises(NotForThisHost):
                await world.serving.infer(publication, sent.body)

    asyncio.run(scenario())


def test_says_why_there_is_no_model_and_does_not_ask_at_every_call() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            for validator in world.validators:
                validator.is_up = False
            for _ in range(2):
                with pytest.raises(ModelNotReady) as caught:
                    await world.serving.infer(publication, call(world, publication).body)
                assert type(caught.value.cause).__name__ == "NoGroupKey"
                assert caught.value.seconds == world.batching.pause_s
            for validator in world.validators:
                validator.is_up = True
            with pytest.raises(ModelNotReady):
                await world.serving.infer(publication, call(world, publication).body)
            world.keys.chains.clock.advance(3)
            await world.serving.infer(publication, call(world, publication).body)

    asyncio.run(scenario())


def test_a_publication_that_never_can_be_run_is_refused_for_good() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish(b"no model")
            for _ in range(2):
                with pytest.raises(CaimiError) as caught:
                    await world.serving.infer(publication, call(world, publication).body)
                assert type(caught.value).__name__ == "MalformedModel"
            dataset = await world.publish(
                b"data", signature=None, kind=PublicationKind.DATASET, name="data", nonce=Bytes32(b"\6" * 32)
            )
            with pytest.raises(CaimiError) as caught:
                await world.serving.infer(dataset, call(world, dataset).body)
            assert type(caught.value).__name__ == "NotAModel"
            assert KeyRefused.blame is Blame.PUBLISHER

    asyncio.run(scenario())


def test_room_is_found_before_a_body_is_read() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            world.serving_limits = ServingLimits(calls=2, body_bytes=100)
            await world.restart()
            with world.serving.place(60):
                with pytest.raises(HostBusy), world.serving.place(41):
                    raise AssertionError
                with world.serving.place(40):
                    assert world.serving.numbers().in_flight == 2
                    with pytest.raises(HostBusy), world.serving.place(0):
                        raise AssertionError
            with world.serving.place(100):
                pass

    asyncio.run(scenario())


def test_the_end_finishes_what_was_taken_and_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            world.batching = Batching(wait_s=0.0)
            await world.restart()
            publication = await warm(world)
            gate = Gate(world, monkeypatch)

            async def forever(seconds: float) -> None:
                assert seconds == 20.0
                await asyncio.Event().wait()

            monkeypatch.setattr(world.clock, "sleep", forever)

            async def taken() -> bytes:
                sent = call(world, publication)
                with world.serving.place(len(sent.body)):
                    return await world.serving.infer(publication, sent.body)

            running = asyncio.create_task(taken())
            await settle()
            draining = asyncio.create_task(world.serving.drain(20.0))
            await settle()
            assert not draining.done()
            with pytest.raises(HostEnding) as caught, world.serving.place(10):
                raise AssertionError
            assert caught.value.seconds > 0
            gate.open.set()
            assert await running
            await draining

    asyncio.run(scenario())


def test_the_end_does_not_wait_for_ever() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            with world.serving.place(10):
                await world.serving.drain(20.0)
            await world.serving.drain(20.0)

    asyncio.run(scenario())


def test_more_models_than_are_served_make_room_when_they_are_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            world.serving_limits = ServingLimits(models=1, replays=ReplayLimits(reply_bytes=0))
            world.batching = Batching(wait_s=0.0)
            await world.restart()
            first, second = await warm(world), await world.publish(name="second", nonce=Bytes32(b"\6" * 32))
            sent = call(world, second)
            await world.serving.infer(second, sent.body)
            assert list(world.serving._servers) == [second]
            with pytest.raises(AlreadyAnswered):
                await world.serving.infer(second, sent.body)
            gate = Gate(world, monkeypatch)
            running = asyncio.create_task(world.serving.infer(second, call(world, second, name="a").body))
            await settle()
            with pytest.raises(HostBusy):
                await world.serving.infer(first, call(world, first, name="b").body)
            gate.open.set()
            await running
            assert world.serving.numbers().batches == 3

    asyncio.run(scenario())


def test_a_call_that_comes_when_its_model_has_made_room_is_told_to_come_again() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await warm(world)
            server = world.serving._servers[publication]
            server.stop()
            tasks = len(asyncio.all_tasks())
            given = decode_tensors(tensors(INPUT), max_bytes=1 << 20)
            with pytest.raises(HostBusy):
                await server.run(Bytes32(b"\7" * 32), world.consumer.address, given, until=world.clock.monotonic() + 10)
            assert len(asyncio.all_tasks()) == tasks, "no worker that nobody would end"

    asyncio.run(scenario())


def test_large_inputs_are_opened_apart() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            world.clock.stands_still = True
            sent = call(world, publication, payload=tensors(np.zeros((1 << 18, 4))))
            with pytest.raises(CaimiError) as caught:
                await world.serving.infer(publication, sent.body)
            assert type(caught.value).__name__ == "TensorsTooLarge"

    asyncio.run(scenario())
