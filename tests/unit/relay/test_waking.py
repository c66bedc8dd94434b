"""Whoever has something to do after a write does not wait for its turn."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from caimi.ports.relay_store import (
    LIVE,
    AddCall,
    AddEvents,
    CallState,
    Change,
    DropEvents,
    MoveCursor,
    Purpose,
    PutCall,
    PutTransaction,
    TransactionRow,
    TransactionState,
)
from caimi.relay.calls import new_call
from caimi.relay.waking import Part, Waking
from caimi.simulators.virtual_time import VirtualClock, run_virtual
from caimi.types.primitives import Bytes32, Sequence, UnixSeconds
from caimi.types.records import Lane
from tests.unit.relay.world import World, run

_HERE = Lane(chain=Bytes32(bytes(31) + b"\x01"), registry=Bytes32(bytes(32)))
_THERE = Lane(chain=Bytes32(bytes(31) + b"\x02"), registry=Bytes32(bytes(32)))
_HOUR = 3600.0
_NOW = UnixSeconds(1)
_QUEUED = new_call("key", _HERE, b"call", purpose=Purpose.LOCK, subjects=(), now=_NOW)
_SENT = TransactionRow(
    lane=_HERE,
    transaction="0x01",
    slot=None,
    raw=b"",
    state=TransactionState.SENT,
    height=None,
    cause="",
    prepared=_NOW,
    sent=_NOW,
    included=None,
    final=None,
)
_DONE = dataclasses.replace(_SENT, state=TransactionState.DONE)
_INCLUDED = dataclasses.replace(_SENT, state=TransactionState.INCLUDED)
_NOBODY: set[tuple[Part, Lane]] = set()
_BOUND = dataclasses.replace(_QUEUED, state=CallState.BOUND, transaction="0x01")


async def _woken(*changes: Change) -> set[tuple[Part, Lane]]:
    # Who does not rest after such a write.
    waking = Waking(VirtualClock(_NOW))
    bells = {(part, lane): waking.bell(part, lane) for part in Part for lane in (_HERE, _THERE)}
    waking.written(changes)
    woken: set[tuple[Part, Lane]] = set()
    for who, bell in bells.items():
        begin = asyncio.get_running_loop().time()
        await bell.rest(1.0)
        if asyncio.get_running_loop().time() == begin:
            woken.add(who)
    return woken


@pytest.mark.parametrize(
    ("change", "who"),
    [
        (AddCall(row=_QUEUED), {(Part.SENDER, _HERE)}),
        (PutCall(row=_QUEUED), {(Part.SENDER, _HERE)}),
        (PutCall(row=_BOUND), _NOBODY),
        (AddEvents(lane=_HERE, events=(), subjects=()), {(Part.CARRIER, _HERE)}),
        (DropEvents(lane=_HERE, first=Sequence(1)), {(Part.CARRIER, _HERE)}),
        (PutTransaction(row=_SENT), {(Part.SENDER, _HERE)}),
        (PutTransaction(row=_INCLUDED), _NOBODY),
        (PutTransaction(row=_DONE), {(Part.FOLLOWER, _HERE)}),
        (MoveCursor(source=_HERE, destination=_THERE, sequence=Sequence(1)), _NOBODY),
    ],
)
def test_wakes_those_for_whom_it_is_work_and_nobody_else(change: Change, who: set[tuple[Part, Lane]]) -> None:
    assert run_virtual(_woken(change)) == who


def test_one_write_wakes_all_carriers_of_a_lane() -> None:
    async def scenario() -> None:
        waking, loop = Waking(VirtualClock(_NOW)), asyncio.get_running_loop()
        bells = [waking.bell(Part.CARRIER, _HERE) for _ in range(3)]
        begin = loop.time()
        resting = [asyncio.ensure_future(bell.rest(_HOUR)) for bell in bells[:2]]
        await asyncio.sleep(5)
        # The third one works meanwhile, and rests afterwards.
        waking.written((AddEvents(lane=_HERE, events=(), subjects=()),))
        await asyncio.gather(*resting)
        await bells[2].rest(_HOUR)
        assert loop.time() == begin + 5
        await bells[2].rest(_HOUR)
        assert loop.time() == begin + 5 + _HOUR

    run_virtual(scenario())


def test_rest_ends_with_its_task_and_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        bell = Waking(VirtualClock(_NOW)).bell(Part.SENDER, _HERE)
        resting = asyncio.ensure_future(bell.rest(_HOUR))
        await asyncio.sleep(1)
        resting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await resting
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(scenario())


def test_relay_hears_of_what_its_store_writes() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, _ = world.publication("fabric", "ethereum")
            working = asyncio.ensure_future(world.relays[0].run())
            await world.clock.sleep(0)
            for _ in range(200):
                await asyncio.sleep(0)
            await world.publish(publication, signature)
            # Nobody moves the clock: all turns after the first ones are those of woken parts.
            for _ in range(2_000):
                await asyncio.sleep(0)
            sent = {row.state for name in world.ledgers for row in world.stores[0].transactions(world.lane(name), LIVE)}
            working.cancel()
            assert sent

    run(scenario())
