"""A registry is paused and resumed under way; a lane whose chain broke its finality is resumed, or dropped."""

from __future__ import annotations

import pytest

from caimi.ports.validators import Abstains
from caimi.protocol.publication import State
from caimi.relay.calls import carry_key, lock_key
from caimi.types.errors import Paused, WrongGeneration
from caimi.types.primitives import ZERO32, Bytes32, Epoch, Generation, PublicationId, Sequence
from caimi.types.records import Governance, GovernanceAction, Pause, Resume
from caimi.validator.attestor import Attestor
from caimi.validator.lane import LaneCondition
from caimi.wire.keccak import keccak256
from tests.unit.relay.batch_world import sign_batch
from tests.unit.relay.world import RESUME_DELAY, World, conserved, run

ONE = Epoch(1)


def attestor(world: World, index: int = 0) -> Attestor:
    port = world.peers[index]
    assert isinstance(port, Attestor)
    return port


def condition(world: World, name: str, index: int = 0) -> LaneCondition:
    return next(lane.condition for lane in attestor(world, index).status().lanes if lane.name == name)


async def publish(world: World, home: str, mirror: str, tag: bytes) -> PublicationId:
    publication, signature, _ = world.publication(
        home, mirror, name=tag.decode(), nonce=keccak256(tag), deadline=world.clock.now() + 120
    )
    return await world.publish(publication, signature)


async def break_finality(world: World, name: str, depth: int) -> None:
    """Take back the newest blocks, also final ones; what was in them is gone, and the other branch is as long."""
    ledger = world.ledgers[name]
    ledger.reorganise(depth)
    ledger.drop_pool()
    for _ in range(depth + 1):
        ledger.mine()


async def govern(world: World, action: GovernanceAction, *, version: int = 1, kept: tuple[int, Bytes32] | None) -> None:
    lane = world.lane("ethereum")
    height, block_hash = kept or (0, ZERO32)
    before = world.ledgers["fabric"].tip.registry.state.governance_of(lane)
    order = Governance(
        at=world.lane("fabric"),
        epoch=ONE,
        action=action,
        lane=lane,
        version=version,
        generation=Generation(before.generation + (action is GovernanceAction.RESUME_LANE)),
        height=height,
        block_hash=block_hash,
    )
    await world.send("fabric", world.order(order, 0, 1, 3))
    world.ledgers["fabric"].mine()


async def kept_block(world: World) -> tuple[int, Bytes32]:
    lane = attestor(world).lane(world.lane("ethereum"))
    assert lane is not None
    block = await lane.last_common_block()
    return block.height, block.block_hash


def test_publication_that_is_locked_when_its_home_is_paused_ends_and_the_next_waits_for_the_resumption() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("ethereum", 100)
            first = await publish(world, "ethereum", "fabric", b"first")
            await world.until(lambda: world.state("ethereum", first) is State.LOCKED)
            pause = Pause(at=world.lane("ethereum"), epoch=ONE, counter=1)
            await world.send("ethereum", world.order(pause, 1, 2))
            world.ledgers["ethereum"].mine()
            assert (await world.port("ethereum", "v").brakes()).paused
            second = await publish(world, "ethereum", "fabric", b"second")
            await world.until(lambda: world.all_at(State.COMMITTED, first))
            row = world.stores[0].call(lock_key(second, "ethereum"))
            assert row is not None
            assert row.refusal == Paused.__name__
            assert world.state("ethereum", second) is State.NONE
            world.clock.advance(RESUME_DELAY)
            resume = Resume(at=world.lane("ethereum"), epoch=ONE, counter=2)
            await world.send("ethereum", world.order(resume, 0, 1, 2))
            await world.until(lambda: world.all_at(State.COMMITTED, second))

    run(scenario())


def test_lane_that_broke_its_finality_halts_alone_and_is_healed_by_its_next_generation() -> None:
    async def scenario() -> None:
        with World(names=("fabric", "ethereum", "third")) as world:
            for name in world.ledgers:
                await world.fund(name, 100)
            before = await publish(world, "fabric", "ethereum", b"before")
            await world.until(lambda: world.state("ethereum", before) is State.COMMITTED)
            for _ in range(4):
                await world.step()
            kept = world.ledgers["ethereum"].tip.height
            lost = await publish(world, "ethereum", "fabric", b"lost")
            await world.until(lambda: world.state("fabric", lost) is State.COMMITTED)
            for _ in range(4):
                await world.step()
            await break_finality(world, "ethereum", world.ledgers["ethereum"].tip.height - kept)
            assert world.state("ethereum", lost) is State.NONE
            for _ in range(3):
                await world.step()
            assert [condition(world, "ethereum", i) for i in range(4)] == [LaneCondition.HALTED] * 4
            # The others go on; of the halted lane nothing is certified.
            other = await publish(world, "third", "fabric", b"other")
            await world.until(lambda: world.state("fabric", other) is State.COMMITTED)
            with pytest.raises(Abstains, match="halted"):
                await attestor(world).checkpoint(world.lane("ethereum"), Generation(1), Sequence(1), Sequence(1))
            with pytest.raises(WrongGeneration):
                await attestor(world).checkpoint(world.lane("ethereum"), Generation(2), Sequence(1), Sequence(1))
            await govern(world, GovernanceAction.RESUME_LANE, kept=await kept_block(world))
            after = await publish(world, "ethereum", "fabric", b"after")
            await world.until(
                lambda: (
                    world.state("ethereum", after) is State.COMMITTED
                    and world.state("fabric", after) is State.COMMITTED
                )
            )
            assert [condition(world, "ethereum", i) for i in range(4)] == [LaneCondition.FOLLOWING] * 4
            # What the relay had brought to the chain before is brought again, and ends as it had.
            await world.until(lambda: world.state("ethereum", lost) is State.COMMITTED)
            assert world.state("ethereum", before) is State.COMMITTED
            assert all(conserved(world, name) for name in ("fabric", "third"))

    run(scenario())


def test_batch_that_its_chain_has_lost_is_locked_and_decided_again() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("ethereum", 100)
            for _ in range(3):
                await world.step()
            kept = world.ledgers["ethereum"].tip.height
            batch = sign_batch(world, "ethereum", "fabric", deadlines=(200, 200, 200))
            accepted = await batch.bring()
            await world.until(lambda: batch.all_at(State.COMMITTED, accepted.root))
            for _ in range(4):
                await world.step()
            await break_finality(world, "ethereum", world.ledgers["ethereum"].tip.height - kept)
            assert set(batch.states("ethereum", accepted.root)) == {State.NONE}
            await govern(world, GovernanceAction.RESUME_LANE, kept=await kept_block(world))
            await world.until(lambda: len(world.stores[0].undecided(world.lane("ethereum"))) == 1)
            await world.until(lambda: batch.all_at(State.COMMITTED, accepted.root))
            await world.until(lambda: not world.stores[0].undecided(world.lane("ethereum")))
            assert conserved(world, "ethereum")

    run(scenario())


def test_resumed_lane_whose_chain_has_not_the_kept_block_is_not_signed_from() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("ethereum", 100)
            first = await publish(world, "ethereum", "fabric", b"first")
            await world.until(lambda: world.state("fabric", first) is State.COMMITTED)
            await govern(world, GovernanceAction.RESUME_LANE, kept=(3, keccak256(b"another branch")))
            for _ in range(3):
                await world.step()
            assert condition(world, "ethereum") is LaneCondition.ASTRAY
            with pytest.raises(Abstains, match="governance kept"):
                await attestor(world).checkpoint(world.lane("ethereum"), Generation(2), Sequence(1), Sequence(1))

    run(scenario())


def test_dropped_lane_is_neither_signed_from_nor_carried_for_good() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("ethereum", 100)
            await govern(world, GovernanceAction.DROP_LANE, kept=None)
            for _ in range(3):
                await world.step()
            assert condition(world, "ethereum") is LaneCondition.DROPPED
            with pytest.raises(Abstains, match="dropped"):
                await attestor(world).checkpoint(world.lane("ethereum"), Generation(1), Sequence(1), Sequence(1))
            identifier = await publish(world, "ethereum", "fabric", b"late")
            await world.until(lambda: world.state("ethereum", identifier) is State.LOCKED)
            for _ in range(4):
                await world.step()
            assert world.stores[0].cursor(world.lane("ethereum"), world.lane("fabric")) == 0
            assert (
                world.stores[0].call(carry_key("ethereum", "fabric", Sequence(1), Sequence(1), Generation(1))) is None
            )

    run(scenario())


def test_restarted_relay_knows_what_was_decided() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("ethereum", 100)
            first = await publish(world, "ethereum", "fabric", b"first")
            await world.until(lambda: world.state("fabric", first) is State.COMMITTED)
            await govern(world, GovernanceAction.RESUME_LANE, kept=await kept_block(world))
            await world.until(lambda: condition(world, "ethereum") is LaneCondition.FOLLOWING)
            await world.step()
            again = world.relay("again", world.stores[0])
            world.relays[0] = again
            second = await publish(world, "ethereum", "fabric", b"second")
            await world.until(lambda: world.state("fabric", second) is State.COMMITTED)
            marks = world.ledgers["fabric"].tip.registry.state.marks
            assert {generation for source, generation, _ in marks if source == world.lane("ethereum")} == {1, 2}

    run(scenario())


def test_mirror_follows_a_decision_though_it_carries_the_lane_only_later() -> None:
    async def scenario() -> None:
        with World(names=("fabric", "ethereum", "third")) as world:
            await govern(world, GovernanceAction.RESUME_LANE, kept=await kept_block(world))
            third = world.ledgers["third"]
            await world.until(lambda: third.tip.registry.state.governance_of(world.lane("ethereum")).generation == 2)

    run(scenario())
