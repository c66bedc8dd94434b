"""Whatever is stuck names whom it waits for, and what is refused says why as an object to act upon."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from caimi.ports.call_errors import CallRejected, SenderUnfunded
from caimi.ports.chain import ChainUnavailable
from caimi.ports.validators import Abstains
from caimi.protocol.publication import State
from caimi.relay.refused import problem_of_call
from caimi.relay.timeline import PublicationTimeline
from caimi.relay.waiting import Wait
from caimi.simulators.chain import SimulatedChain
from caimi.types.errors import Blame, Certainty, Retry
from caimi.types.primitives import PublicationId
from caimi.types.refusals import LowBalance, NameTaken, UnknownPublication
from caimi.wire.functions import encode_call
from tests.unit.relay.faulty_ports import FaultyPort
from tests.unit.relay.world import World, run


async def _abstain(*_: Any) -> Any:
    raise Abstains("its sources disagree")


async def _shown(world: World, identifier: PublicationId) -> PublicationTimeline:
    timeline = await world.relays[0].timelines.publication(identifier)
    assert timeline is not None
    return timeline


async def _published(world: World, *, funds: int = 100, **fields: Any) -> PublicationId:
    if funds:
        await world.fund("fabric", funds)
    publication, signature, identifier = world.publication("fabric", "ethereum", **fields)
    await world.publish(publication, signature)
    return identifier


def test_a_certificate_that_lacks_signatures_waits_for_their_validators() -> None:
    async def scenario() -> None:
        with World() as world:
            for index in (1, 3):
                world.peers[index].checkpoint = _abstain  # pyright: ignore[reportAttributeAccessIssue]
            identifier = await _published(world)
            for _ in range(12):
                await world.step()
            shown = await _shown(world, identifier)
            assert shown.waits_on == ("validator 2", "validator 4")
            assert "the answer of ethereum for fabric: signatures over event 1 in block" in shown.waits_for
            assert "validator 2: Abstains" in shown.waits_for and "validator 4: Abstains" in shown.waits_for
            assert shown.refusal is None and shown.deadline_left is not None and 0 < shown.deadline_left <= 120
            (workflow,) = world.relays[0].workflows.open()
            assert await world.relays[0].timelines.wait(workflow) == Wait(text=shown.waits_for, on=shown.waits_on)

    run(scenario())


def test_a_sentence_about_a_stuck_publication_does_not_change_while_nothing_happens() -> None:
    async def scenario() -> None:
        with World() as world:
            for index in (1, 3):
                world.peers[index].checkpoint = _abstain  # pyright: ignore[reportAttributeAccessIssue]
            identifier = await _published(world)
            for _ in range(12):
                await world.step()
            said: set[str] = set()
            for _ in range(6):
                await world.step()
                said.add((await _shown(world, identifier)).waits_for)
            assert len(said) == 1

    run(scenario())


class _Broke(FaultyPort):
    async def prepare(self, call: bytes, *, slot: int | None) -> Any:
        raise SenderUnfunded("account 0x12 has 0 wei")


class _Unread(FaultyPort):
    async def head(self) -> Any:
        raise ChainUnavailable("connection refused")


class _Alien(FaultyPort):
    async def prepare(self, call: bytes, *, slot: int | None) -> Any:
        raise CallRejected("no such contract")


def _at_ethereum(kind: type[FaultyPort]) -> Any:
    def wrap(name: str, port: SimulatedChain) -> Any:
        return kind(port) if name == "ethereum" else port

    return wrap


@pytest.mark.parametrize(
    ("fault", "on", "told"),
    [
        (_Broke, "sender on ethereum", "SenderUnfunded: account 0x12 has 0 wei"),
        (_Unread, "ledger ethereum", "ethereum to be readable: ChainUnavailable: connection refused"),
    ],
    ids=["no money", "no answer"],
)
def test_a_lock_that_cannot_be_sent_waits_for_the_sender_or_the_ledger(
    fault: type[FaultyPort], on: str, told: str
) -> None:
    async def scenario() -> None:
        with World(wrap=_at_ethereum(fault)) as world:
            identifier = await _published(world)
            for _ in range(6):
                await world.step()
            shown = await _shown(world, identifier)
            assert on in shown.waits_on
            assert told in shown.waits_for and "the lock on ethereum to be final" in shown.waits_for

    run(scenario())


def test_a_lock_that_only_lacks_funds_waits_for_the_caller_and_says_what_to_do() -> None:
    async def scenario() -> None:
        with World() as world:
            identifier = await _published(world, funds=0)
            for _ in range(3):
                await world.step()
            shown = await _shown(world, identifier)
            lock = next(step for step in shown.steps if (step.lane, step.what) == ("fabric", "call lock"))
            assert lock.problem is not None
            assert (lock.problem.error, lock.problem.code) == ("LowBalance", LowBalance.code)
            assert (lock.problem.blame, lock.problem.retry) == (LowBalance.blame, Retry.AFTER)
            assert lock.problem.hint == LowBalance.hint and lock.problem.values["expected"] == 10
            assert lock.problem.attempts >= 1
            # It may still come: no refusal yet.
            assert shown.refusal is None
            assert LowBalance.blame.value in shown.waits_on

    run(scenario())


def test_what_home_refuses_for_good_is_its_refusal_and_what_somebody_else_locks_is_not() -> None:
    async def scenario() -> None:
        with World(relays=2) as world:
            first = await _published(world)
            await world.until(lambda: world.all_at(State.COMMITTED, first))
            publication, signature, second = world.publication("fabric", "ethereum", nonce=b"\x07" * 32)
            await world.publish(publication, signature)
            for _ in range(3):
                await world.step()
            refusal = (await _shown(world, second)).refusal
            assert refusal is not None
            assert (refusal.error, refusal.code, refusal.blame) == ("NameTaken", NameTaken.code, NameTaken.blame)
            assert (refusal.certainty, refusal.retry, refusal.hint) == (
                NameTaken.certainty,
                Retry.NEVER,
                NameTaken.hint,
            )
            assert (await _shown(world, first)).refusal is None

    run(scenario())


def test_a_refusal_outside_of_the_table_has_its_class_and_one_without_a_class_blames_nobody() -> None:
    async def scenario() -> None:
        with World(wrap=_at_ethereum(_Alien)) as world:
            identifier = await _published(world)
            for _ in range(3):
                await world.step()
            call = next(c for c in world.stores[0].calls_about(identifier) if c.lane == world.lane("ethereum"))
            problem = problem_of_call(call)
            assert problem is not None and (problem.error, problem.code) == ("CallRejected", None)
            assert problem.blame is CallRejected.blame and problem.hint == CallRejected.hint
            assert problem.values == {"cause": "no such contract"}
            unheard = problem_of_call(dataclasses.replace(call, refusal="Unheard", values=""))
            assert unheard is not None and (unheard.blame, unheard.certainty) == (Blame.NOBODY, Certainty.SUSPECTED)
            assert problem_of_call(dataclasses.replace(call, refusal=None)) is None

    run(scenario())


def test_a_call_that_is_no_publication_names_its_ledger() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.relays[0].intake.call(world.lane("fabric"), encode_call("abort", b"\x05" * 32))
            await world.step()
            (workflow,) = world.relays[0].workflows.open()
            wait = await world.relays[0].timelines.wait(workflow)
            assert UnknownPublication.__name__ in wait.text and wait.on == (UnknownPublication.blame.value,)

    run(scenario())
