"""Numbered transactions that do not come through: higher fees, whichever of a slot counts, gaps, foreign hands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from caimi.ports.call_errors import CallRejected, FeeBoundReached, FeeTooLow, NotTakenNow, SenderUnfunded
from caimi.ports.chain import PreparedCall
from caimi.ports.metrics import REPLACEMENTS
from caimi.ports.relay_store import CallState, TransactionState
from tests.unit.relay.sender_world import SenderWorld
from tests.unit.relay.world import run

Scene = Callable[[SenderWorld], Awaitable[None]]


def _act(scene: Scene) -> None:
    async def act() -> None:
        with SenderWorld() as world:
            await scene(world)

    run(act())


def _nothing(prepared: PreparedCall) -> bool:
    return False


def _repriced(prepared: PreparedCall) -> bool:
    return prepared.raw[0] > 8


def _everything(prepared: PreparedCall) -> bool:
    return True


async def _seconds_of_prices(world: SenderWorld, seconds: int) -> list[int]:
    # When each further transaction of the slot was made, counted from the first.
    found: list[int] = []
    for second in range(1, seconds + 1):
        before = len(world.transactions())
        await world.step()
        found += [second] * (len(world.transactions()) - before)
    return found


# --- when


def test_stuck_transaction_is_outbid_later_each_time() -> None:
    async def scene(world: SenderWorld) -> None:
        world.pool.takes = _nothing
        world.queue(1)
        await world.turn()
        assert await _seconds_of_prices(world, 500) == [60, 60 + 120, 60 + 120 + 240]
        assert {row.slot for row in world.transactions()} == {0}

    _act(scene)


def test_underpriced_transaction_is_outbid_at_once() -> None:
    async def scene(world: SenderWorld) -> None:
        world.pool.takes, world.pool.error = _nothing, FeeTooLow("max fee per gas less than block base fee")
        world.queue(1)
        await world.turn()
        assert await _seconds_of_prices(world, 20) == [1, 3, 7, 15]

    _act(scene)


def test_waiting_survives_a_clock_that_is_set_back() -> None:
    async def scene(world: SenderWorld) -> None:
        world.pool.takes = _nothing
        world.queue(1)
        await world.turn()
        await world.step(10)
        world.clock.shift = -600
        assert await _seconds_of_prices(world, 60) == [50]

    _act(scene)


def test_waiting_survives_a_restart() -> None:
    async def scene(world: SenderWorld) -> None:
        world.pool.takes = _nothing
        world.queue(1)
        await world.turn()
        await world.step(40)
        world.restart()
        assert await _seconds_of_prices(world, 30) == [20]

    _act(scene)


def test_refused_transaction_is_not_offered_at_every_turn() -> None:
    async def scene(world: SenderWorld) -> None:
        world.pool.takes, world.pool.error = _nothing, NotTakenNow("txpool is full")
        world.queue(1)
        await world.turn()
        await world.step(9)
        assert len(world.pool.handed) == 1
        await world.step(1)
        assert len(world.pool.handed) == 2

    _act(scene)


# --- which


def test_earlier_transaction_of_a_slot_counts_if_it_is_included() -> None:
    async def scene(world: SenderWorld) -> None:
        world.pool.takes = _nothing
        key = world.queue(1, amount=7)
        await world.turn()
        await world.step(60)
        first, second = world.transactions()
        assert world.row(key).transaction == second.transaction
        await world.pool.deliver(world.pool.kept[0])
        await world.step(1)
        assert (world.state(key), world.row(key).transaction) == (CallState.BOUND, first.transaction)
        handed = len(world.pool.handed)
        world.clock.advance(30)
        await world.turn()
        assert len(world.pool.handed) == handed, "its slot is used: the other one is of no use"
        await world.step(5)
        row = world.row(key)
        assert (row.state, row.transaction, row.attempts) == (CallState.DONE, first.transaction, 0)
        assert [t.state for t in world.transactions()] == [TransactionState.DONE, TransactionState.LOST]
        assert world.funded == 7

    _act(scene)


def test_later_transaction_of_a_slot_counts_if_it_is_included() -> None:
    async def scene(world: SenderWorld) -> None:
        world.pool.takes = _repriced
        key = world.queue(1, amount=7)
        await world.turn()
        await world.step(66)
        assert (world.state(key), world.row(key).attempts) == (CallState.DONE, 0)
        assert [t.state for t in world.transactions()] == [TransactionState.LOST, TransactionState.DONE]
        assert world.funded == 7

    _act(scene)


def test_calls_go_to_the_one_that_may_still_come_when_another_is_lost() -> None:
    async def scene(world: SenderWorld) -> None:
        world.pool.takes = _nothing
        key = world.queue(1)
        await world.turn()
        await world.step(60)
        first, second = world.transactions()
        await world.pool.deliver(world.pool.kept[0])
        world.pool.silent = {first.transaction}
        await world.step(5)
        assert [t.state for t in world.transactions()] == [TransactionState.SENT, TransactionState.LOST]
        assert (world.state(key), world.row(key).transaction) == (CallState.BOUND, first.transaction)
        world.pool.silent = set()
        await world.step(1)
        assert (world.state(key), world.funded, second.slot) == (CallState.DONE, 1, 0)

    _act(scene)


def test_slot_that_is_included_is_not_outbid() -> None:
    async def scene(world: SenderWorld) -> None:
        world.queue(1)
        await world.turn()
        world.ledger.mine()
        world.clock.advance(300)
        await world.turn()
        assert [t.state for t in world.transactions()] == [TransactionState.INCLUDED]

    _act(scene)


def test_transaction_that_fell_off_the_chain_is_sent_again_with_its_calls() -> None:
    async def scene(world: SenderWorld) -> None:
        key = world.queue(1)
        await world.turn()
        await world.step(2)
        world.ledger.reorganise(2)
        world.ledger.drop_pool()
        assert world.funded == 0
        await world.turn()
        assert world.live()[0].state is TransactionState.SENT
        await world.step(4)
        assert (world.state(key), world.funded) == (CallState.DONE, 1)

    _act(scene)


# --- foreign hands on the key


def test_calls_lose_no_attempt_to_foreign_transactions() -> None:
    async def scene(world: SenderWorld) -> None:
        key = world.queue(1)
        world.pool.takes = _nothing
        for slot in range(12):
            for _ in range(80):
                await world.step()
                if world.live():
                    break
            assert world.live()[-1].slot == slot
            await world.foreign(slot)
            await world.step(4)
        row = world.row(key)
        assert (row.state, row.attempts, row.refusal) == (CallState.QUEUED, 0, "CallLost")
        world.pool.takes = _everything
        await world.step(40)
        assert (world.state(key), world.funded) == (CallState.DONE, 1)

    _act(scene)


def test_foreign_transaction_that_waits_with_our_slot_is_outbid() -> None:
    async def scene(world: SenderWorld) -> None:
        # The pool has a dearer one of the same nonce, which nobody includes.
        world.pool.takes = lambda prepared: prepared.raw[0] > 10
        world.pool.error = FeeTooLow("replacement transaction underpriced")
        key = world.queue(1)
        await world.turn()
        await world.step(15)
        assert (world.state(key), world.funded) == (CallState.DONE, 1)
        assert world.observer.counts.count((REPLACEMENTS, {"lane": "ethereum"})) >= 1

    _act(scene)


# --- gaps


async def _gap(world: SenderWorld) -> tuple[str, str]:
    # A call is done in slot 0, another waits in slot 1 when the ledger forgets slot 0.
    first = world.queue(1)
    await world.turn()
    await world.step(6)
    assert world.state(first) is CallState.DONE
    world.pool.takes = _nothing
    second = world.queue(2)
    await world.turn()
    assert [row.slot for row in world.live()] == [1]
    world.ledger.reorganise(100)
    world.ledger.drop_pool()
    world.pool.takes = _everything
    return first, second


def test_gap_that_nothing_waits_for_to_fill_is_filled() -> None:
    async def scene(world: SenderWorld) -> None:
        _, second = await _gap(world)
        await world.step(20)
        assert (world.state(second), world.funded) == (CallState.DONE, 1)
        filler = world.transactions()[-1]
        assert (filler.slot, filler.state) == (0, TransactionState.DONE)
        assert world.store.calls_in(world.lane, filler.transaction) == ()

    _act(scene)


def test_gap_is_filled_with_what_waits() -> None:
    async def scene(world: SenderWorld) -> None:
        _, second = await _gap(world)
        third = world.queue(3)
        await world.step(20)
        assert [world.state(key) for key in (second, third)] == [CallState.DONE, CallState.DONE]
        assert len(world.transactions()) == 3
        assert "relay.fills" not in dict(world.observer.steps)

    _act(scene)


def test_nothing_is_outbid_behind_a_gap() -> None:
    async def scene(world: SenderWorld) -> None:
        await _gap(world)
        world.pool.takes = _nothing
        world.clock.advance(300)
        await world.turn()
        assert [(row.slot, row.raw[0]) for row in world.live()] == [(1, 8), (0, 8)]

    _act(scene)


def test_many_missing_slots_are_filled_a_few_at_a_time() -> None:
    async def scene(world: SenderWorld) -> None:
        for slot in range(40):
            await world.foreign(slot)
        world.ledger.mine()
        world.pool.takes = _nothing
        key = world.queue(1)
        await world.turn()
        world.ledger.reorganise(100)
        world.ledger.drop_pool()
        world.pool.takes = _everything
        world.clock.advance(10)
        await world.turn()
        assert len(world.live()) == 17
        await world.step(60)
        assert (world.state(key), world.funded) == (CallState.DONE, 1)

    _act(scene)


def test_rejected_replacement_leaves_the_calls_to_the_other() -> None:
    async def scene(world: SenderWorld) -> None:
        world.pool.takes, world.pool.refuses = _nothing, _repriced
        world.pool.error = CallRejected("intrinsic gas too low")
        key = world.queue(1)
        await world.turn()
        await world.step(60)
        first, second = world.transactions()
        assert (first.state, second.state) == (TransactionState.SENT, TransactionState.LOST)
        assert (world.state(key), world.row(key).transaction) == (CallState.BOUND, first.transaction)
        world.pool.takes = lambda prepared: not _repriced(prepared)
        await world.step(20)
        assert (world.state(key), world.row(key).attempts, world.funded) == (CallState.DONE, 0, 1)

    _act(scene)


# --- what the operator sees


def test_bound_of_fees_is_named_and_nothing_fails() -> None:
    async def scene(world: SenderWorld) -> None:
        world.pool.takes, world.pool.error = _nothing, FeeTooLow("max fee per gas less than block base fee")
        world.pool.reprices = FeeBoundReached("the base fee is 100, at most 50 are paid")
        key = world.queue(1)
        await world.turn()
        await world.step(400)
        assert (world.state(key), world.row(key).attempts, len(world.transactions())) == (CallState.BOUND, 0, 1)
        assert "FeeBoundReached" in world.sender.hint
        assert "the base fee is 100, at most 50 are paid" in world.sender.hint
        assert "max_fee_per_gas" in world.sender.hint
        world.pool.reprices, world.pool.takes = None, _repriced
        await world.step(40)
        assert (world.state(key), world.sender.hint) == (CallState.DONE, "")

    _act(scene)


def test_bound_of_fees_is_forgotten_with_its_transaction() -> None:
    async def scene(world: SenderWorld) -> None:
        world.pool.takes, world.pool.reprices = _nothing, FeeBoundReached("no more")
        key = world.queue(1)
        await world.turn()
        await world.step(61)
        assert "FeeBoundReached" in world.sender.hint
        await world.pool.deliver(world.pool.kept[0])
        await world.step(4)
        assert (world.state(key), world.sender.hint) == (CallState.DONE, "")

    _act(scene)


@pytest.mark.parametrize(
    "error", [FeeTooLow("underpriced"), NotTakenNow("txpool is full"), SenderUnfunded("0xabc has 1 wei and needs 2")]
)
def test_what_a_node_says_is_shown_until_it_is_over(error: Exception) -> None:
    async def scene(world: SenderWorld) -> None:
        world.pool.takes, world.pool.error = _nothing, error
        world.pool.reprices = FeeBoundReached("no more")
        key = world.queue(1)
        await world.turn()
        assert f"{type(error).__name__}: {error}" in world.sender.hint
        # It came by another way.
        await world.pool.deliver(world.pool.kept[0])
        await world.step(4)
        assert (world.state(key), world.sender.hint) == (CallState.DONE, "")

    _act(scene)


@pytest.mark.parametrize("error", [FeeTooLow("underpriced"), NotTakenNow("nonce too high")])
def test_no_refusal_of_the_pool_makes_a_call_fail(error: Exception) -> None:
    async def scene(world: SenderWorld) -> None:
        world.pool.takes, world.pool.error = _nothing, error
        key = world.queue(1)
        await world.turn()
        await world.step(600)
        assert (world.state(key), world.row(key).attempts) == (CallState.BOUND, 0)
        world.pool.takes = _everything
        await world.step(80)
        assert (world.state(key), world.funded) == (CallState.DONE, 1)

    _act(scene)


def test_prices_of_one_slot_count_as_one_transaction_under_way() -> None:
    async def scene(world: SenderWorld) -> None:
        world.pool.takes, world.pool.error = _nothing, FeeTooLow("underpriced")
        world.queue(1)
        await world.turn()
        await world.step(20)
        assert len(world.live()) == 5
        world.queue(2)
        await world.turn()
        assert {row.slot for row in world.live()} == {0, 1}

    _act(scene)
