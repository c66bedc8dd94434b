"""From a request on a ledger to an accepted answer, and restarts on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caimi.bundle.cid import RAW, cid_of
from caimi.crypto.ecdsa import recover
from caimi.crypto.inference_seal import Salted, open_output, output_commitment
from caimi.host.errors import HostKeysEnded
from caimi.ports.host_store import HostStep, RequestState
from caimi.types.primitives import ZERO32, UnixSeconds
from caimi.types.records import Answer, HostKey, Receipt
from caimi.wire.codec import decode
from caimi.wire.digests import typed_digest
from tests.unit.host.host_world import INPUT, WEIGHTS, HostWorld, model_bytes, tensors
from tests.unit.relay.world import Crashed, Stop, key


def test_answers_requests_of_both_ledgers_under_one_lease() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            first = await world.ask(publication, lane="fabric")
            second = await world.ask(publication, tensors(INPUT[:1]), lane="ethereum")
            rows = await world.until_settled(first, second)
            assert {row.state for row in rows} == {RequestState.ANSWERED}
            assert np.array_equal(await world.output(first), INPUT @ WEIGHTS)
            assert np.array_equal(await world.output(second), INPUT[:1] @ WEIGHTS)
            assert len(world.keys.board.leases) == 1
            (shown,) = world.shelf.shown()
            assert (shown.lease, shown.calls_left) == (*world.keys.board.leases, world.terms.calls - 2)
            assert len(world.runtime.given) == 1

    asyncio.run(scenario())


def test_the_receipt_names_everything_and_the_registry_holds_its_hash() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            asked = await world.ask(publication)
            (row,) = await world.until_settled(asked)
            signed = row.signed
            assert signed is not None
            network = world.keys.chains.network
            receipt, answer = decode(Receipt, signed.receipt), decode(Answer, signed.answer)
            host_key = decode(HostKey, signed.host_key)
            assert typed_digest(network, receipt) == signed.receipt_hash == answer.receipt_hash
            assert recover(typed_digest(network, receipt), signed.receipt_signature) == host_key.signing_key
            assert recover(typed_digest(network, answer), signed.answer_signature) == host_key.signing_key
            assert recover(typed_digest(network, host_key), signed.operator_signature) == key("operator").address
            assert (receipt.grant, receipt.quote, receipt.heartbeat, receipt.price) == (ZERO32, ZERO32, ZERO32, 0)
            assert receipt.request == asked.id
            assert receipt.publication == publication
            assert receipt.lease == answer.lease
            assert receipt.lease in world.keys.board.leases
            assert receipt.input_commitment == asked.record.input_commitment
            lease = world.keys.board.leases[receipt.lease]
            assert (lease.opening, lease.end <= host_key.until) == (asked.id, True)
            stream = await world.content.open(answer.output, max_content_bytes=1 << 20)
            sealed = b"".join([bytes(leaf) async for leaf in stream])
            assert cid_of(RAW, sealed) == signed.output
            opened = open_output(sealed, key=asked.client, request=asked.id)
            assert output_commitment(opened) == receipt.output_commitment
            assert output_commitment(Salted(salt=ZERO32, payload=opened.payload)) != receipt.output_commitment
            held = await world.keys.chains.port("fabric", "anybody").receipt_of(asked.id)
            assert held == signed.receipt_hash

    asyncio.run(scenario())


def test_the_plaintext_is_overwritten_after_loading() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            await world.until_settled(await world.ask(await world.publish()))
            assert world.runtime.seen == [model_bytes()]
            assert world.runtime.given == [bytearray(len(model_bytes()))]

    asyncio.run(scenario())


def _steps_of_one_request() -> list[str]:
    stop = Stop("none")

    async def scenario() -> None:
        async with HostWorld(crash=stop) as world:
            await world.until_settled(await world.ask(await world.publish()))

    asyncio.run(scenario())
    return stop.seen


STEPS = _steps_of_one_request()
PLACES = [(step, STEPS[: place + 1].count(step)) for place, step in enumerate(STEPS)]


def test_every_step_of_a_host_has_a_test_that_kills_it_there() -> None:
    # Three are in `test_a_host_killed_when_a_request_ends`, one is in `test_resumed_lanes`.
    elsewhere = {HostStep.REFUSED, HostStep.UNREADABLE, HostStep.EXPIRED, HostStep.REWOUND}
    assert set(STEPS) == {step.value for step in set(HostStep) - elsewhere}


@pytest.mark.parametrize(("step", "count"), PLACES, ids=lambda value: str(value))
def test_a_host_killed_at_a_step_loses_only_what_nobody_can_read(step: str, count: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with HostWorld(tmp_path, crash=Stop(step, count)) as world:
            publication = await world.publish()
            asked = await world.ask(publication)
            with pytest.raises(Crashed):
                await world.until_settled(asked)
            before = world.store.request(asked.id)
            await world.restart()
            (row,) = await world.until_settled(asked)
            if before is None or before.state is RequestState.SEEN:
                # The keys that could open it are gone.
                assert (row.state, row.reason) == (RequestState.UNREADABLE, "NotForThisHost")
                assert world.relay.answers == []
            else:
                assert row.state is RequestState.ANSWERED
                assert row.signed == before.signed
                assert {one.answer for one in world.relay.answers} == {before.signed.answer if before.signed else b""}
                assert np.array_equal(await world.output(asked), INPUT @ WEIGHTS)
            again = await world.ask(publication)
            (row,) = await world.until_settled(again)
            assert row.state is RequestState.ANSWERED

    asyncio.run(scenario())


@pytest.mark.parametrize("step", [HostStep.REFUSED, HostStep.UNREADABLE, HostStep.EXPIRED])
def test_a_host_killed_when_a_request_ends_leaves_it_ended(step: HostStep, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with HostWorld(tmp_path, crash=Stop(step.value)) as world:
            publication = await world.publish()
            fields: dict[HostStep, dict[str, Any]] = {
                HostStep.REFUSED: {"input_commitment": ZERO32},
                HostStep.UNREADABLE: {"sealed_for": ZERO32},
                HostStep.EXPIRED: {"deadline": UnixSeconds(world.clock.now() + 20)},
            }
            asked = await world.ask(publication, **fields[step])
            world.keys.chains.clock.advance(20)
            with pytest.raises(Crashed):
                await world.turns(3)
            await world.restart()
            row = world.row(asked)
            assert row.state.value == step.value.removeprefix("host.")
            await world.turns(3)
            assert world.row(asked) == row

    asyncio.run(scenario())


def test_an_answer_that_the_relay_lost_is_sent_again_as_it_is() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            asked = await world.ask(await world.publish())
            await world.host.turn()
            await world.host.turn()
            assert (len(world.relay.answers), world.row(asked).state) == (1, RequestState.SENT)
            world.keys.chains.clock.advance(world.tuning.resend_s + 1)
            await world.host.turn()
            assert len(world.relay.answers) == 2
            assert world.relay.answers[0] == world.relay.answers[1]

    asyncio.run(scenario())


def test_another_hosts_answer_settles_a_request_as_elsewhere(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with HostWorld(tmp_path) as world:
            asked = await world.ask(await world.publish())
            await world.until_settled(asked)
            # A host that has followed nothing yet sees request and answer in one page, and answers nothing.
            await world.shelf.close()
            world.store.close()
            world.path = str(tmp_path / "other.sqlite")
            world.start()
            (row,) = await world.until_settled(asked)
            assert (row.state, row.signed) == (RequestState.ELSEWHERE, None)
            assert len(world.relay.answers) == 1

    asyncio.run(scenario())


def test_the_running_host_answers_and_ends_with_its_keys() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            asked = await world.ask(await world.publish())
            world.host.check_keys()
            world.clock.stands_still = True
            task = asyncio.create_task(world.host.run())
            async with asyncio.timeout(60):
                while not world.store.requests(RequestState.SENT, 1):
                    await world.clock.sleep(0)
            assert world.row(asked).signed is not None
            world.keys.chains.clock.advance(86_400)
            with pytest.raises(BaseExceptionGroup) as caught:
                await asyncio.wait_for(task, 60)
            assert caught.group_contains(HostKeysEnded)

    asyncio.run(scenario())
