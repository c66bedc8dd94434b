"""Where transactions of one block contradict each other, one is waited for before the next, but not for ever."""

from __future__ import annotations

from caimi.ports.chain import PreparedCall
from caimi.ports.relay_store import CallState, TransactionState
from tests.unit.relay.sender_world import SenderWorld
from tests.unit.relay.world import run


def _world(apart_seconds: float) -> SenderWorld:
    world = SenderWorld()
    world.apart_seconds = apart_seconds
    world.restart()
    return world


def _nothing(_: PreparedCall) -> bool:
    return False


def test_what_waits_goes_together_once_the_one_before_has_its_end() -> None:
    async def scenario() -> None:
        with _world(60.0) as world:
            for number in range(5):
                world.queue(number)
                await world.turn()
            # The first one alone; the others wait for it, and fill what comes next.
            assert [len(world.store.calls_in(world.lane, row.transaction)) for row in world.transactions()] == [1]
            await world.step(20)
            sizes = [len(world.store.calls_in(world.lane, row.transaction)) for row in world.transactions()]
            assert sizes == [1, 2, 2]
            assert {world.state(f"call/{number}") for number in range(5)} == {CallState.DONE}

    run(scenario())


def test_lane_without_contradictions_sends_at_once() -> None:
    async def scenario() -> None:
        with _world(0.0) as world:
            for number in range(3):
                world.queue(number)
                await world.turn()
            assert len(world.transactions()) == 3

    run(scenario())


def test_one_that_does_not_come_through_does_not_stop_the_others() -> None:
    async def scenario() -> None:
        with _world(3.0) as world:
            world.pool.takes = _nothing
            world.queue(0)
            await world.turn()
            world.queue(1)
            await world.step(2)
            assert len(world.transactions()) == 1
            await world.step(2)
            assert [row.state for row in world.transactions()] == [TransactionState.SENT] * 2

    run(scenario())
