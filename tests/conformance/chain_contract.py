"""What every `ChainPort` does: one suite, run over the simulated ledgers and over each real adapter."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from caimi.ports.chain import (
    CallStatus,
    ChainPort,
    ChainUnavailable,
    Forgetful,
    Included,
    Lost,
    NotIncluded,
    Reverted,
    StatusUnknown,
)
from caimi.protocol.registry_state import GovernedLane
from caimi.types import errors as e
from caimi.types.primitives import Address, Epoch, Generation, Sequence
from caimi.types.records import Kind, Publication
from caimi.wire.functions import encode_call
from tests.conformance.batch_contract import BatchContract
from tests.conformance.chain_world import World, all_events
from tests.conformance.incident_contract import IncidentContract
from tests.conformance.registry_contract import RegistryContract
from tests.conformance.scenario import ELSEWHERE, MIN_DEPOSIT, VALIDATORS, word

__all__ = ["ChainPortContract", "SlottedChainContract"]


class ChainPortContract(RegistryContract, BatchContract, IncidentContract):
    """Subclasses say where the world comes from."""

    keeps_answers = True
    """Whether the adapter keeps what its node said, and so has to be able to forget it."""

    # --- reading

    def test_head_names_the_final_block(self) -> None:
        async def scene(world: World) -> None:
            head = await world.port.head()
            assert head.final_height <= head.height
            assert await world.port.block_hash(head.final_height) == head.final_hash
            assert await world.port.block_hash(head.height + 1_000_000) is None

        self.play(scene)

    def test_validator_set_is_that_of_the_genesis(self) -> None:
        async def scene(world: World) -> None:
            there = await world.port.validator_set()
            assert there.validators == tuple(v.address for v in VALIDATORS)
            assert (there.epoch, there.f, there.t) == (Epoch(1), 1, 2)

        self.play(scene)

    def test_unknown_things_are_none_or_zero(self) -> None:
        async def scene(world: World) -> None:
            assert await world.port.publication(world.person("x").identifier(await _any(world))) is None
            assert await world.port.receipt_of(word("no request")) is None
            assert await world.port.balance(world.person("x").address) == 0
            assert await world.port.tokens(world.person("x").address) == 0
            assert not await world.port.is_marked(ELSEWHERE, Generation(1), Sequence(1 << 40))
            assert await world.port.events(Sequence(1 << 40), 10) == ()

        self.play(scene)

    def test_brakes_and_governance_are_as_they_were_created(self) -> None:
        async def scene(world: World) -> None:
            brakes = await world.port.brakes()
            assert (brakes.paused, brakes.counter, brakes.since, brakes.withdrawn) == (False, 0, 0, 0)
            assert await world.port.root() == (world.root or world.lane)
            assert await world.port.governed(ELSEWHERE) == GovernedLane()

        self.play(scene)

    def test_rejects_event_number_zero(self) -> None:
        async def scene(world: World) -> None:
            with pytest.raises(e.OutOfRange):
                await world.port.events(Sequence(0), 10)

        self.play(scene)

    def test_events_are_gapless_and_the_same_for_every_reader(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            first = await world.next_number()
            batch = [publisher.lock(await world.at_home(publisher, f"-{n}")) for n in range(5)]
            await world.do(encode_call("multicall", tuple(batch)))
            await world.do(publisher.lock(await world.mirrored(publisher, "-m")))
            events = await all_events(world.port, first)
            assert [event.item.sequence for event in events] == list(range(first, first + 6))
            assert [event.item.event.kind for event in events] == [Kind.LOCKED] * 6
            assert len({event.transaction for event in events}) == 2
            assert len({(event.height, event.block_hash) for event in events}) == 2
            fresh = world.reader()
            assert [await fresh.events(Sequence(first + n), 1) for n in range(6)] == [(event,) for event in events]
            assert await world.reader().events(Sequence(first + 2), 3) == events[2:5]
            assert await all_events(world.reader()) == await all_events(world.port)

        self.play(scene)

    def test_forgets_what_its_node_said_and_asks_again(self) -> None:
        async def scene(world: World) -> None:
            assert isinstance(world.port, Forgetful) == self.keeps_answers
            if not isinstance(world.port, Forgetful):
                return
            publisher = await world.publisher()
            first = await world.next_number()
            for n in range(3):
                await world.do(publisher.lock(await world.mirrored(publisher, f"-{n}")))
            events = await all_events(world.port, first)
            assert len(events) == 3
            for number in (first + 3, first + 1, 1):
                await world.port.forget(Sequence(number))
                assert await world.port.events(Sequence(first), 100) == events
            assert await world.port.block_hash(events[1].height) == events[1].block_hash

        self.play(scene)

    # --- transactions

    def test_status_goes_from_not_included_to_final(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            call = publisher.lock(await world.at_home(publisher))
            prepared = await world.port.prepare(call, slot=await world.port.next_slot())
            assert isinstance(await world.port.status(prepared), NotIncluded)
            first = await world.next_number()
            status = await world.settle(world.port, prepared)
            assert isinstance(status, Included)
            # The same bytes again are harmless.
            await world.port.send(prepared)
            await world.advance()
            assert await world.port.status(prepared) == status
            assert len(await all_events(world.port, first)) == 1

        self.play(scene)

    def test_two_senders_of_one_publication_lock_it_once(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher(25)
            publication = await world.at_home(publisher)
            first = await world.next_number()
            ends = await _race(world, publisher.lock(publication), publisher.lock(publication))
            assert any(isinstance(end, Included) for end in ends)
            assert len(await all_events(world.port, first)) == 1
            assert await world.port.balance(publisher.address) == 25 - MIN_DEPOSIT

        self.play(scene)

    def test_two_senders_of_one_nonce_use_it_once(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            one = await world.at_home(publisher, "-one")
            other = dataclasses.replace(await world.at_home(publisher, "-other"), nonce=one.nonce)
            ends = await _race(world, publisher.lock(one), publisher.lock(other))
            assert sorted(type(end).__name__ for end in ends) == ["Included", "Reverted"]
            (reverted,) = (end for end in ends if isinstance(end, Reverted))
            assert reverted.cause
            states = [await world.port.publication(publisher.identifier(p)) for p in (one, other)]
            assert sum(state is not None for state in states) == 1

        self.play(scene)

    # --- nodes

    def test_node_that_is_down(self) -> None:
        async def scene(world: World) -> None:
            port = world.unreachable
            await _check_everything(port, ChainUnavailable, world)
            prepared = await world.port.prepare(await _some_call(world), slot=await world.port.next_slot())
            with pytest.raises(ChainUnavailable):
                await port.send(prepared)
            assert isinstance(await port.status(prepared), StatusUnknown)

        self.play(scene)

    def test_rejects_a_node_of_another_chain(self) -> None:
        async def scene(world: World) -> None:
            port = world.foreign
            await _check_everything(port, e.WrongChain, world)
            prepared = await world.port.prepare(await _some_call(world), slot=await world.port.next_slot())
            with pytest.raises(e.WrongChain):
                await port.send(prepared)
            with pytest.raises(e.WrongChain):
                await port.status(prepared)

        self.play(scene)


class SlottedChainContract(ChainPortContract):
    """Where a sender's transactions are numbered."""

    def test_slot_counts_the_senders_transactions(self) -> None:
        async def scene(world: World) -> None:
            slot = await world.port.next_slot()
            assert slot is not None
            await world.do(await _some_call(world))
            assert await world.port.next_slot() == slot + 1

        self.play(scene)

    def test_transactions_in_flight_keep_their_order(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            first, slot = await world.next_number(), await world.port.next_slot()
            assert slot is not None
            calls = [publisher.lock(await world.mirrored(publisher, f"-{n}")) for n in range(3)]
            prepared = [await world.port.prepare(call, slot=slot + n) for n, call in enumerate(calls)]
            for one in reversed(prepared):
                await world.port.send(one)
            assert isinstance(await world.settle(world.port, prepared[2]), Included)
            assert [x.transaction for x in await all_events(world.port, first)] == [x.transaction for x in prepared]

        self.play(scene)

    def test_transaction_whose_slot_is_taken_is_lost(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            slot = await world.port.next_slot()
            one = await world.port.prepare(publisher.lock(await world.mirrored(publisher, "-1")), slot=slot)
            two = await world.port.prepare(publisher.lock(await world.mirrored(publisher, "-2")), slot=slot)
            assert isinstance(await world.settle(world.port, one), Included)
            await world.port.send(two)
            assert isinstance(await world.port.status(two), Lost)

        self.play(scene)

    def test_one_of_a_call_and_its_repriced_twin_is_included(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            first = await world.next_number()
            one = await world.port.prepare(
                publisher.lock(await world.mirrored(publisher)), slot=await world.port.next_slot()
            )
            two = await world.port.reprice(one)
            assert (two.slot, two.transaction != one.transaction) == (one.slot, True)
            await world.port.send(one)
            assert isinstance(await world.settle(world.port, two), Included | Lost)
            ends = [await world.port.status(one), await world.port.status(two)]
            assert {type(end) for end in ends} == {Included, Lost}
            assert len(await all_events(world.port, first)) == 1

        self.play(scene)

    def test_filler_lets_later_slots_follow(self) -> None:
        async def scene(world: World) -> None:
            publisher = await world.publisher()
            first, slot = await world.next_number(), await world.port.next_slot()
            assert slot is not None
            later = await world.port.prepare(publisher.lock(await world.mirrored(publisher)), slot=slot + 1)
            await world.port.send(later)
            await world.advance()
            assert isinstance(await world.port.status(later), NotIncluded)
            filler = await world.port.fill(slot)
            assert isinstance(await world.settle(world.port, filler), Included)
            assert isinstance(await world.settle(world.port, later), Included)
            assert await world.port.next_slot() == slot + 2
            assert len(await all_events(world.port, first)) == 1

        self.play(scene)


async def _any(world: World) -> Publication:
    return await world.at_home(world.person("x"))


async def _some_call(world: World) -> bytes:
    publisher = world.person("somebody")
    return publisher.lock(await world.mirrored(publisher, "-some"))


async def _check_everything(port: ChainPort, expected: type[Exception], world: World) -> None:
    account: Address = world.person("x").address
    call = await _some_call(world)
    questions: list[Callable[[], Awaitable[object]]] = [
        port.head,
        port.validator_set,
        lambda: port.events(Sequence(1), 10),
        lambda: port.block_hash(0),
        lambda: port.balance(account),
        lambda: port.prepare(call, slot=0),
    ]
    for question in questions:
        with pytest.raises(expected):
            await question()


async def _race(world: World, one: bytes, other: bytes) -> list[CallStatus]:
    # Both are tried on the same state, so that both go through when they are prepared.
    prepared = [
        (port, await port.prepare(call, slot=await port.next_slot()))
        for port, call in ((world.port, one), (world.rival, other))
    ]
    for port, transaction in prepared:
        await port.send(transaction)
    return [await world.settle(port, transaction) for port, transaction in prepared]
