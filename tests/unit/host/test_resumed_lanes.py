"""A lane whose chain broke its finality is followed on the branch that governance kept, no other (spec 35 §3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caimi.host.errors import LaneAstray
from caimi.host.following import LaneFollower
from caimi.ports.chain import FinalEvent
from caimi.ports.crash import NoCrash
from caimi.ports.host_store import HostStep, RequestState
from caimi.storage.sqlite_host import SqliteHostStore
from caimi.types.primitives import ZERO32, Bytes32, Epoch, Generation, Sequence, UnixSeconds
from caimi.types.records import Cid, Event, Governance, GovernanceAction, Item, Kind, Lane
from caimi.wire.digests import lane_hash
from caimi.wire.functions import encode_body
from caimi.wire.keccak import keccak256
from tests.unit.host.host_world import INPUT, WEIGHTS, HostWorld
from tests.unit.relay.world import Crashed, StepClock, Stop

# --- on ledgers


async def _break_finality(world: HostWorld, kept: int) -> None:
    # Everything above that block is taken back, and the other branch is as long.
    ledger = world.keys.chains.ledgers["ethereum"]
    depth = ledger.tip.height - kept
    ledger.reorganise(depth)
    ledger.drop_pool()
    for _ in range(depth + 1):
        ledger.mine()


async def _resume(world: HostWorld, kept: int) -> None:
    chains = world.keys.chains
    order = Governance(
        at=chains.lane("fabric"),
        epoch=Epoch(1),
        action=GovernanceAction.RESUME_LANE,
        lane=chains.lane("ethereum"),
        version=1,
        generation=Generation(2),
        height=kept,
        block_hash=chains.ledgers["ethereum"].blocks[kept].hash,
    )
    await chains.send("fabric", chains.order(order, 0, 1, 3))


def test_requests_on_the_other_branch_are_answered_once_the_lane_is_resumed() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            await world.until_settled(await world.ask(publication, lane="ethereum"))
            await world.turns(4)
            kept = world.keys.chains.ledgers["ethereum"].tip.height
            lost = await world.ask(publication, lane="ethereum")
            (before,) = await world.until_settled(lost)
            assert before.state is RequestState.ANSWERED
            await world.turns(4)
            await _break_finality(world, kept)
            # The relay brings again what the chain has lost: that has a number which the host has read already, on the
            # branch that is gone.
            other = await world.ask(publication, lane="ethereum")
            await world.turns(5)
            await _resume(world, kept)
            (row,) = await world.until_settled(other)
            assert row.state is RequestState.ANSWERED
            assert np.array_equal(await world.output(other), INPUT @ WEIGHTS)
            # The host answers with what it had signed.
            (again,) = await world.until_settled(lost)
            await world.turns(10)
            again = world.row(lost)
            assert (again.state, again.signed) == (RequestState.ANSWERED, before.signed)
            port = world.keys.chains.port("ethereum", "anybody")
            assert before.signed is not None
            assert await port.receipt_of(lost.id) == before.signed.receipt_hash

    asyncio.run(scenario())


def test_a_host_killed_while_it_goes_back_repeats_what_it_had_signed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with HostWorld(tmp_path, crash=Stop(HostStep.REWOUND.value)) as world:
            publication = await world.publish()
            await world.until_settled(await world.ask(publication, lane="ethereum"))
            await world.turns(4)
            kept = world.keys.chains.ledgers["ethereum"].tip.height
            lost = await world.ask(publication, lane="ethereum")
            (before,) = await world.until_settled(lost)
            await world.turns(4)
            await _break_finality(world, kept)
            with pytest.raises(Crashed):
                await world.turns(10)
            await world.restart()
            await _resume(world, kept)
            (again,) = await world.until_settled(lost)
            await world.turns(10)
            again = world.row(lost)
            assert (again.state, again.signed) == (RequestState.ANSWERED, before.signed)

    asyncio.run(scenario())


# --- on events


ROOT = Lane(chain=keccak256(b"root chain"), registry=keccak256(b"registry"))
HOME = Lane(chain=keccak256(b"home chain"), registry=keccak256(b"registry"))
OTHER = Lane(chain=keccak256(b"other chain"), registry=keccak256(b"registry"))


def block_hash(height: int, branch: str = "kept") -> Bytes32:
    return keccak256(f"{branch} {height}".encode())


def decision(
    version: int, height: int, *, about: Lane = HOME, action: GovernanceAction = GovernanceAction.RESUME_LANE
) -> Event:
    kept = ZERO32 if action is GovernanceAction.DROP_LANE else block_hash(height)
    body = encode_body(Kind.GOVERNANCE, action, about, version, Generation(version + 1), height, kept)
    return Event(schema=1, kind=Kind.GOVERNANCE, destinations=(), subject=lane_hash(about), body=body)


def request(name: str) -> Event:
    words = (keccak256(name.encode()), bytes(20), Cid(codec=0x55, digest=ZERO32), ZERO32, ZERO32, UnixSeconds(9))
    return Event(
        schema=1, kind=Kind.REQUESTED, destinations=(), subject=ZERO32, body=encode_body(Kind.REQUESTED, *words)
    )


def answered(name: str) -> Event:
    words = (keccak256(name.encode()), keccak256(b"receipt"), Cid(codec=0x55, digest=ZERO32))
    return Event(schema=1, kind=Kind.ANSWERED, destinations=(), subject=ZERO32, body=encode_body(Kind.ANSWERED, *words))


class Reader:
    """A lane with one event in each block from 1 on."""

    def __init__(self, lane: Lane, *events: Event) -> None:
        self.lane = lane
        self.told = list(events)
        self.branch = "kept"
        self.forked_at = 0
        self.asked: list[int] = []
        self.forgotten: list[int] = []
        self.meanwhile: Callable[[], Any] | None = None

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        self.asked.append(first)
        found = tuple(
            FinalEvent(
                item=Item(sequence=Sequence(number), event=event),
                height=number,
                block_hash=self._hash(number),
                transaction="",
                time=UnixSeconds(1),
            )
            for number, event in enumerate(self.told, 1)
            if number >= first
        )
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return found[:limit]

    async def block_hash(self, height: int) -> Bytes32 | None:
        return self._hash(height) if height <= len(self.told) else None

    def _hash(self, height: int) -> Bytes32:
        return block_hash(height, self.branch if height >= self.forked_at else "kept")

    def fork(self, height: int, *events: Event) -> None:
        """Take back the blocks from `height` on; others are there instead."""
        self.told[height - 1 :] = events
        self.branch, self.forked_at = "other", height

    async def forget(self, first: Sequence) -> None:
        self.forgotten.append(first)


class Following:
    """Followers of several lanes over one store."""

    def __init__(self, *readers: Reader) -> None:
        self.store = SqliteHostStore(":memory:", crash=NoCrash())
        self.clock = StepClock()
        untyped: list[Any] = list(readers)
        self.followers = {
            reader.lane: LaneFollower(reader, root=ROOT, store=self.store, clock=self.clock) for reader in untyped
        }

    def turn(self, *lanes: Lane) -> None:
        for lane in lanes:
            asyncio.run(self.followers[lane].turn())

    def upto(self, lane: Lane) -> int:
        return next((mark.sequence for mark in self.store.marks(lane, 1)), 0)

    def state(self, name: str) -> str:
        row = self.store.request(keccak256(name.encode()))
        return "unknown" if row is None else row.state.value

    def knows(self, *names: str) -> list[bool]:
        return [self.store.request(keccak256(name.encode())) is not None for name in names]


def test_a_resumed_lane_is_read_again_above_the_block_kept() -> None:
    home, root = Reader(HOME, *(request(f"old {i}") for i in range(1, 6))), Reader(ROOT, decision(1, 3))
    following = Following(home, root)
    home.told, rest = home.told[:3], home.told[3:]
    following.turn(HOME)
    home.told += rest
    following.turn(HOME)
    assert following.upto(HOME) == 5
    home.told[3:] = [request("new 4")]
    following.turn(HOME)
    assert following.knows("old 4", "new 4") == [True, False]
    following.turn(ROOT, HOME)
    assert following.knows("old 1", "old 3", "old 4", "old 5", "new 4") == [True, True, False, False, True]
    assert (following.upto(HOME), home.forgotten) == (4, [4])


@pytest.mark.parametrize("height", range(1, 8))
@pytest.mark.parametrize("length", [1, 7, 9])
def test_a_lane_that_took_blocks_back_is_followed_again_without_any_decision(height: int, length: int) -> None:
    home = Reader(HOME)
    following = Following(home)
    for number in range(1, 8):
        home.told.append(request(f"old {number}"))
        following.turn(HOME)
    home.fork(height, *(request(f"new {height + i}") for i in range(length)))
    following.turn(HOME)
    if height + length > 7:
        assert following.knows(*(f"old {n}" for n in range(1, 8))) == [n < height for n in range(1, 8)]
        assert all(following.knows(*(f"new {height + i}" for i in range(length))))
        assert following.upto(HOME) == height + length - 1
    else:
        # It is lower than it was: its node may lag.
        assert following.upto(HOME) == 7


def test_a_lane_of_which_nothing_is_left_is_followed_from_its_start() -> None:
    home = Reader(HOME, request("old 1"), request("old 2"))
    following = Following(home)
    following.turn(HOME)
    home.fork(1, request("new 1"), request("new 2"), request("new 3"))
    home.asked.clear()
    following.turn(HOME)
    assert following.knows("old 1", "old 2", "new 1", "new 3") == [False, False, True, True]
    assert home.asked[:2] == [2, 1]


def test_an_answer_that_the_lane_took_back_is_awaited_again() -> None:
    home = Reader(HOME, request("a"))
    following = Following(home)
    following.turn(HOME)
    home.told.append(answered("a"))
    following.turn(HOME)
    assert following.state("a") == "elsewhere"
    home.fork(2, request("b"))
    following.turn(HOME)
    assert (following.state("a"), following.state("b")) == ("seen", "seen")


def test_a_page_that_was_read_when_the_lane_was_resumed_counts_for_nothing() -> None:
    home, root = Reader(HOME, request("old")), Reader(ROOT, decision(1, 0))
    following = Following(home, root)

    async def resume() -> None:
        home.told = [request("new")]
        await following.followers[ROOT].turn()

    home.meanwhile = resume
    following.turn(HOME)
    assert following.knows("old", "new") == [False, True]


def test_rejects_a_node_without_the_block_that_governance_kept() -> None:
    home = Reader(HOME, request("a"), request("b"))
    following = Following(home, Reader(ROOT, decision(1, 2)))
    following.turn(ROOT)
    home.branch = "other"
    following.clock.advance(7)
    with pytest.raises(LaneAstray, match="governance kept 0x" + block_hash(2).hex()):
        following.turn(HOME)
    assert following.knows("a", "b") == [False, False]
    assert following.followers[HOME].unread_seconds == 7
    home.told, home.branch = home.told[:1], "kept"
    with pytest.raises(LaneAstray, match="no block is there"):
        following.turn(HOME)
    home.told.append(request("b"))
    following.turn(HOME)
    assert following.knows("a", "b") == [True, True]
    assert following.followers[HOME].unread_seconds == 0


@pytest.mark.parametrize("source", [HOME, OTHER])
def test_rejects_a_decision_of_another_registry_than_the_root(source: Lane) -> None:
    home = Reader(HOME, request("a"), request("b"))
    foreign = Reader(OTHER)
    (home if source == HOME else foreign).told.append(decision(1, 0))
    following = Following(home, foreign)
    following.turn(HOME, OTHER, HOME)
    assert following.store.governed(HOME).version == 0
    assert following.upto(HOME) == len(home.told)
    assert following.knows("a", "b") == [True, True]


def test_rejects_a_decision_about_the_roots_own_lane() -> None:
    root = Reader(ROOT, request("a"), decision(1, 0, about=ROOT))
    following = Following(root)
    following.turn(ROOT)
    assert (following.store.governed(ROOT).version, following.upto(ROOT)) == (0, 2)


def test_rejects_an_older_decision_that_comes_late() -> None:
    home = Reader(HOME, request("a"), request("b"))
    following = Following(home, Reader(ROOT, decision(2, 2), decision(1, 0)))
    following.turn(ROOT, HOME)
    decided = following.store.governed(HOME)
    assert (decided.version, decided.generation, decided.height) == (2, 3, 2)
    following.turn(ROOT, HOME)
    assert following.upto(HOME) == 2


def test_nothing_is_read_of_a_dropped_lane() -> None:
    home = Reader(HOME, request("a"))
    following = Following(home, Reader(ROOT, decision(1, 0, action=GovernanceAction.DROP_LANE)))
    following.turn(ROOT)
    following.clock.advance(100)
    following.turn(HOME)
    assert home.asked == []
    # It is not the host's fault that it is not read.
    assert following.followers[HOME].unread_seconds == 0


def test_a_decision_is_known_after_a_restart() -> None:
    home, root = Reader(HOME, request("a"), request("b")), Reader(ROOT, decision(1, 2))
    following = Following(home, root)
    following.turn(ROOT)
    untyped: Any = home
    home.branch = "other"
    again = LaneFollower(untyped, root=ROOT, store=following.store, clock=following.clock)
    with pytest.raises(LaneAstray):
        asyncio.run(again.turn())
    assert following.store.governed(HOME).height == 2
