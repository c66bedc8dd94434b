"""Batches, isolation of refused calls, slots, giving up."""

from __future__ import annotations

from typing import Any

import pytest

from caimi.ports.call_errors import CallRejected, SenderUnfunded
from caimi.ports.chain import CallStatus, ChainUnavailable, PreparedCall, StatusUnknown
from caimi.ports.relay_store import CallState, TransactionState
from caimi.protocol.publication import State
from caimi.relay.calls import abort_key, lock_key
from caimi.simulators.chain import SimulatedChain
from caimi.types.errors import WrongChain
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.types.records import Funding
from caimi.wire.codec import encode
from caimi.wire.digests import typed_digest
from caimi.wire.functions import decode_call, encode_call
from caimi.wire.keccak import keccak256
from tests.unit.relay.faulty_ports import FaultyPort
from tests.unit.relay.world import World, run


def _fund(world: World, name: str, number: int, *, amount: int = 1, deadline: int = 2**40) -> bytes:
    funding = Funding(
        at=world.lane(name),
        account=world.publisher.address,
        amount=amount,
        nonce=keccak256(number.to_bytes(4, "big")),
        deadline=UnixSeconds(deadline),
    )
    return encode_call("fund", funding, world.publisher.sign(typed_digest(world.network, funding)).to_bytes())


async def _queue(world: World, name: str, *calls: bytes) -> list[str]:
    return [(await world.relays[0].intake.call(world.lane(name), call)).key for call in calls]


def _states(world: World, keys: list[str]) -> list[CallState]:
    rows = [world.stores[0].call(key) for key in keys]
    return [row.state for row in rows if row is not None]


def _transaction_states(world: World) -> list[TransactionState]:
    return [row.state for row in world.stores[0].transactions(world.lane("ethereum"), list(TransactionState))]


def test_queued_calls_share_one_transaction() -> None:
    async def scenario() -> None:
        with World() as world:
            keys = await _queue(world, "ethereum", *(_fund(world, "ethereum", n) for n in range(10)))
            await world.until(lambda: set(_states(world, keys)) == {CallState.DONE})
            sent = [t for block in world.ledgers["ethereum"].blocks for t in block.transactions]
            assert len(sent) == 1
            name, arguments = decode_call(sent[0].call)
            assert (name, len(arguments[0])) == ("multicall", 10)

    run(scenario())


def test_refused_calls_stand_alone_and_the_others_go_on() -> None:
    async def scenario() -> None:
        with World() as world:
            good = [_fund(world, "ethereum", n) for n in range(6)]
            bad = [_fund(world, "ethereum", 90, deadline=1), _fund(world, "ethereum", 91, amount=0)]
            keys = await _queue(world, "ethereum", *good[:2], bad[0], *good[2:], bad[1])
            await world.until(lambda: CallState.QUEUED not in _states(world, keys))
            await world.until(lambda: CallState.BOUND not in _states(world, keys))
            refusals = {row.refusal for key in keys if (row := world.stores[0].call(key)) and row.refusal}
            assert _states(world, keys).count(CallState.DONE) == 6
            assert refusals == {"Expired", "ZeroAmount"}
            assert [_states(world, keys)[i] for i in (2, 7)] == [CallState.REFUSED, CallState.REFUSED]

    run(scenario())


def test_refusal_that_time_may_mend_is_tried_again_and_then_given_up() -> None:
    async def scenario() -> None:
        with World() as world:
            abort = encode_call("abort", keccak256(b"no such publication"))
            (key,) = await _queue(world, "fabric", abort)
            await world.step()
            row = world.stores[0].call(key)
            assert row is not None
            assert (row.state, row.refusal, row.attempts) == (CallState.QUEUED, "UnknownPublication", 1)
            for _ in range(12):
                await world.step()
            row = world.stores[0].call(key)
            assert row is not None
            assert 3 <= row.attempts <= 6, "it waits longer each time"
            await world.until(lambda: _states(world, [key]) == [CallState.REFUSED], steps=400)
            row = world.stores[0].call(key)
            assert row is not None
            assert row.attempts == 10

    run(scenario())


def test_single_call_for_which_there_is_no_room_waits_for_it_and_says_so() -> None:
    async def scenario() -> None:
        with World() as world:
            ledger = world.ledgers["ethereum"]
            publication, signature, identifier = world.publication("fabric", "ethereum")
            ledger.room = 700
            await world.fund("fabric", 100)
            await world.publish(publication, signature)
            small = await _queue(world, "ethereum", _fund(world, "ethereum", 1))
            for _ in range(12):
                await world.step()
            row = world.stores[0].call(lock_key(identifier, "ethereum"))
            assert row is not None
            assert (row.state, row.refusal) == (CallState.QUEUED, "CallTooLarge")
            assert 3 <= row.attempts <= 6, "it waits longer each time"
            said = await world.relays[0].timelines.publication(identifier)
            assert said is not None
            assert "the lock on ethereum to be final: queued after" in said.waits_for
            assert "CallTooLarge" in said.waits_for
            assert "ledger ethereum" in said.waits_on
            # What is shorter goes on.
            assert _states(world, small) == [CallState.DONE]
            ledger.lift_room()
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))

    run(scenario())


def test_call_for_which_there_is_never_room_is_given_up_but_what_ends_a_publication_is_not() -> None:
    async def scenario() -> None:
        with World() as world:
            ledger = world.ledgers["ethereum"]
            await world.fund("ethereum", 100)
            publication, signature, identifier = world.publication("ethereum", "fabric")
            await world.publish(publication, signature)
            await world.until(lambda: world.state("ethereum", identifier) is State.LOCKED)
            world.peers.clear()
            world.relays[0] = world.relay("relay 0", world.stores[0])
            ledger.room = 20
            (key,) = await _queue(world, "ethereum", _fund(world, "ethereum", 1))
            world.clock.advance(300)
            await world.until(lambda: _states(world, [key]) == [CallState.REFUSED], steps=400)
            row = world.stores[0].call(key)
            assert row is not None
            assert (row.refusal, row.attempts) == ("CallTooLarge", 10)
            for _ in range(300):
                await world.step()
            ends = world.stores[0].call(abort_key(identifier))
            assert ends is not None
            assert (ends.state, ends.refusal) == (CallState.QUEUED, "CallTooLarge")
            assert ends.attempts > 10
            ledger.lift_room()
            await world.until(lambda: world.state("ethereum", identifier) is State.ABORTED)

    run(scenario())


def test_several_transactions_take_consecutive_slots() -> None:
    async def scenario() -> None:
        with World() as world:
            for n in range(3):
                await _queue(world, "ethereum", _fund(world, "ethereum", n))
                await world.relays[0].turn()
            slots = [t.slot for t in world.stores[0].transactions(world.lane("ethereum"), list(TransactionState))]
            assert slots == [0, 1, 2]

    run(scenario())


def test_no_more_transactions_than_allowed_are_under_way() -> None:
    async def scenario() -> None:
        with World() as world:
            keys: list[str] = []
            for n in range(6):
                keys += await _queue(world, "ethereum", _fund(world, "ethereum", n))
                await world.relays[0].turn()
            assert len(world.stores[0].transactions(world.lane("ethereum"), list(TransactionState))) == 4
            await world.until(lambda: set(_states(world, keys)) == {CallState.DONE})

    run(scenario())


def test_stuck_transaction_is_replaced_under_its_own_slot() -> None:
    class Pricier(FaultyPort):
        """Raises the price each time, and its pool forgets what is cheap."""

        prices = 0

        async def prepare(self, call: bytes, *, slot: int | None) -> PreparedCall:
            prepared = await self.port.prepare(call, slot=slot)
            type(self).prices += 1
            mark = type(self).prices.to_bytes(2, "big")
            raw = (prepared.raw[0] + 2).to_bytes(1, "big") + mark + prepared.raw[1:]
            return PreparedCall(transaction="0x" + keccak256(raw).hex(), raw=raw, slot=prepared.slot)

        async def send(self, prepared: PreparedCall) -> None:
            if int.from_bytes(prepared.raw[1:3], "big") > 1:
                await self.port.send(prepared)

    async def scenario() -> None:
        with World(wrap=lambda name, port: Pricier(port) if name == "ethereum" else port) as world:
            keys = await _queue(world, "ethereum", _fund(world, "ethereum", 1))
            for _ in range(50):
                await world.step()
            assert _states(world, keys) == [CallState.BOUND]
            await world.until(lambda: _states(world, keys) == [CallState.DONE])
            rows = world.stores[0].transactions(world.lane("ethereum"), list(TransactionState))
            assert [row.slot for row in rows] == [0, 0]
            await world.until(lambda: _transaction_states(world) == [TransactionState.LOST, TransactionState.DONE])

    run(scenario())


def test_bytes_that_a_node_never_takes_are_prepared_afresh() -> None:
    class Picky(FaultyPort):
        """Takes no transaction until told otherwise."""

        takes = False

        async def send(self, prepared: PreparedCall) -> None:
            if not type(self).takes:
                type(self).takes = True
                raise CallRejected("fee below what this node takes")
            await self.port.send(prepared)

    async def scenario() -> None:
        with World(wrap=lambda name, port: Picky(port) if name == "ethereum" else port) as world:
            keys = await _queue(world, "ethereum", _fund(world, "ethereum", 1))
            await world.until(lambda: _states(world, keys) == [CallState.DONE])
            assert world.ledgers["ethereum"].tip.registry.state.balances[world.publisher.address] == 1

    run(scenario())


def test_rejected_bytes_that_the_ledger_has_are_not_prepared_afresh() -> None:
    class Late(FaultyPort):
        """Loses the answer to the first handing-over, and at the second one the bytes are in a block by then."""

        sends = 0

        async def send(self, prepared: PreparedCall) -> None:
            self.sends += 1
            await self.port.send(prepared)
            if self.sends == 1:
                raise ChainUnavailable("the answer is lost")
            world.ledgers["fabric"].mine()
            raise CallRejected("these bytes are of no use")

        async def status(self, prepared: PreparedCall) -> CallStatus:
            return StatusUnknown(because="?") if self.sends < 2 else await self.port.status(prepared)

    async def scenario() -> None:
        (key,) = await _queue(world, "fabric", _fund(world, "fabric", 1))
        await world.relays[0].turn()
        await world.until(lambda: _states(world, [key]) == [CallState.DONE])
        rows = world.stores[0].transactions(world.lane("fabric"), list(TransactionState))
        assert [row.state for row in rows] == [TransactionState.DONE]

    with World(wrap=lambda name, port: Late(port) if name == "fabric" else port) as world:
        run(scenario())


@pytest.mark.parametrize("error", [SenderUnfunded("no money"), WrongChain(Bytes32(bytes(32)), Bytes32(b"\1" * 32))])
def test_fault_of_the_lane_is_no_fault_of_the_calls(error: Exception) -> None:
    class Faulty(FaultyPort):
        is_faulty = True

        async def prepare(self, call: bytes, *, slot: int | None) -> PreparedCall:
            if type(self).is_faulty:
                raise error
            return await self.port.prepare(call, slot=slot)

    def wrap(name: str, port: SimulatedChain) -> Any:
        return Faulty(port) if name == "ethereum" else port

    async def scenario() -> None:
        with World(wrap=wrap) as world:
            keys = await _queue(world, "ethereum", *(_fund(world, "ethereum", n) for n in range(4)))
            for _ in range(20):
                await world.step()
            rows = [world.stores[0].call(key) for key in keys]
            assert {(row.state, row.attempts) for row in rows if row} == {(CallState.QUEUED, 0)}
            assert type(error).__name__ in world.relays[0].report()[1].hint
            Faulty.is_faulty = False
            await world.until(lambda: set(_states(world, keys)) == {CallState.DONE})

    run(scenario())


def test_publication_survives_a_batch_with_somebody_elses_refused_calls() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, identifier = world.publication("fabric", "ethereum")
            await _queue(world, "fabric", *(_fund(world, "fabric", n, deadline=1) for n in range(5)))
            await world.relays[0].intake.publish(encode(publication), signature)
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))

    run(scenario())
