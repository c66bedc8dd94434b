"""A batch runs to one outcome for each of its publications on all lanes, whatever happens around it (spec 37)."""

from __future__ import annotations

from caimi.ports.relay_store import CallState, Purpose, Watched
from caimi.protocol.publication import State
from caimi.types.primitives import PublicationId
from caimi.types.records import Kind, Lane
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.unit.relay.batch_world import sign_batch
from tests.unit.relay.world import World, conserved, run

NOWHERE = Lane(chain=keccak256(b"nowhere"), registry=keccak256(b"nowhere"))


def events_of(world: World, name: str) -> list[int]:
    return [item.event.kind for item in world.ledgers[name].tip.registry.state.events]


def test_batch_commits_with_one_event_of_each_step() -> None:
    async def scenario(home: str, mirror: str) -> None:
        with World() as world:
            await world.fund(home, 100)
            batch = sign_batch(world, home, mirror, count=5)
            accepted = await batch.bring()
            await world.until(lambda: batch.all_at(State.COMMITTED, accepted.root))
            assert events_of(world, home) == [Kind.BATCH_LOCKED, Kind.BATCH_OUTCOME]
            assert events_of(world, mirror) == [Kind.BATCH_ANSWERED]
            assert not world.ledgers[home].tip.registry.state.publications
            assert conserved(world, home)

    for home, mirror in (("fabric", "ethereum"), ("ethereum", "fabric")):
        run(scenario(home, mirror))


def test_three_lanes_commit_a_batch() -> None:
    async def scenario() -> None:
        with World(names=("fabric", "ethereum", "third")) as world:
            await world.fund("third", 100)
            batch = sign_batch(world, "third", "fabric", "ethereum")
            accepted = await batch.bring()
            await world.until(lambda: batch.all_at(State.COMMITTED, accepted.root))

    run(scenario())


def test_two_relays_with_the_same_batch_are_harmless() -> None:
    async def scenario() -> None:
        with World(relays=2) as world:
            await world.fund("fabric", 100)
            batch = sign_batch(world, "fabric", "ethereum")
            accepted = await batch.bring(0)
            assert await batch.bring(1) == accepted
            await world.until(lambda: batch.all_at(State.COMMITTED, accepted.root))
            assert events_of(world, "fabric").count(Kind.BATCH_LOCKED) == 1
            assert world.ledgers["fabric"].tip.registry.state.balances[world.publisher.address] == 70

    run(scenario())


def test_silent_mirror_every_publication_is_aborted_after_its_own_deadline_and_refunded() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            batch = sign_batch(world, "fabric", "ethereum", NOWHERE, deadlines=(100, 200, 300))
            accepted = await batch.bring()
            assert accepted.unknown_mirrors == (NOWHERE,)
            await world.until(lambda: State.LOCKED in batch.states("fabric", accepted.root))
            world.clock.advance(110)
            state = world.ledgers["fabric"].tip.registry.state
            await world.until(lambda: world.state("fabric", batch.ids[0]) is State.ABORTED)
            assert world.state("fabric", batch.ids[2]) in (State.NONE, State.LOCKED)
            world.clock.advance(100)
            await world.until(lambda: world.state("fabric", batch.ids[1]) is State.ABORTED)
            assert world.state("fabric", batch.ids[2]) is State.LOCKED
            world.clock.advance(120)
            await world.until(lambda: world.state("fabric", batch.ids[2]) is State.ABORTED)
            state = world.ledgers["fabric"].tip.registry.state
            await world.until(
                lambda: (
                    world.ledgers["fabric"].tip.registry.state.batches[batch.publications[0].home, accepted.root].state
                    is State.ABORTED
                )
            )
            assert state.balances[world.publisher.address] == 100
            assert conserved(world, "fabric")

    run(scenario())


def test_mirror_that_comes_back_between_the_deadlines_commits_those_that_have_time() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            batch = sign_batch(world, "fabric", "ethereum", deadlines=(80, 400, 400))
            world.nodes["ethereum"].is_up = False
            accepted = await batch.bring()
            await world.until(lambda: State.LOCKED in batch.states("fabric", accepted.root))
            world.clock.advance(90)
            for _ in range(4):
                await world.step()
            world.nodes["ethereum"].is_up = True
            await world.until(lambda: world.all_at(State.COMMITTED, batch.ids[1]), steps=120)
            await world.until(lambda: world.all_at(State.COMMITTED, batch.ids[2]), steps=120)
            assert world.state("fabric", batch.ids[0]) is State.ABORTED
            assert conserved(world, "fabric")

    run(scenario())


def test_request_takes_the_publication_out_first() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            batch = sign_batch(world, "fabric", "ethereum")
            accepted = await batch.bring()
            await world.until(lambda: batch.all_at(State.COMMITTED, accepted.root))
            keys = await world.relays[0].batches.take_out(batch.ids[1])
            assert len(keys) == 2
            await world.until(lambda: world.all_at(State.COMMITTED, batch.ids[1]))
            calls = world.stores[0].calls_about(batch.ids[1])
            assert [call.purpose for call in calls] == [Purpose.TAKE_OUT, Purpose.TAKE_OUT]
            # Again it is the same calls, and nothing is computed for them.
            assert world.relays[0].batches.take_outs(batch.ids[1]) == []
            assert await world.relays[0].batches.take_out(batch.ids[1]) == keys

    run(scenario())


def test_batch_that_home_refuses_is_given_up_when_no_home_can_lock_it_any_more() -> None:
    async def scenario() -> None:
        with World() as world:
            # The publisher has no balance.
            batch = sign_batch(world, "fabric", "ethereum", deadlines=(100, 100, 100))
            accepted = await batch.bring()
            for _ in range(5):
                await world.step()
            timeline = await world.relays[0].timelines.publication(PublicationId(accepted.root))
            assert timeline is not None
            assert "BatchItem" in timeline.waits_for
            assert timeline.states == {"fabric": "NONE", "ethereum": "LOCKED"}
            world.clock.advance(300)
            await world.until(lambda: not world.stores[0].undecided(batch.publications[0].home))
            row = world.stores[0].publication(PublicationId(accepted.root))
            assert row is not None
            assert row.outcome is State.ABORTED
            assert world.states() == {"fabric": {}, "ethereum": {}}

    run(scenario())


def test_batch_found_on_its_home_is_aborted_as_a_whole() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            batch = sign_batch(world, "fabric", "ethereum", deadlines=(100, 150))
            await world.send("fabric", encode_call("lockBatch", batch.publications, batch.signatures))
            await world.until(lambda: len(world.stores[0].undecided(batch.publications[0].home)) == 1)
            row = world.stores[0].undecided(batch.publications[0].home)[0]
            assert (row.watched, row.deadline) == (Watched.BATCH, batch.publications[0].deadline)
            world.clock.advance(110)
            for _ in range(4):
                await world.step()
            assert State.LOCKED in batch.states("fabric", row.id)
            world.clock.advance(60)
            await world.until(lambda: State.ABORTED in batch.states("fabric", row.id))
            await world.until(lambda: not world.stores[0].undecided(batch.publications[0].home))

    run(scenario())


def test_timeline_of_a_publication_is_that_of_its_batch_until_it_is_taken_out() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            batch = sign_batch(world, "fabric", "ethereum")
            accepted = await batch.bring()
            await world.until(lambda: batch.all_at(State.COMMITTED, accepted.root))
            for _ in range(4):
                await world.step()
            timeline = await world.relays[0].timelines.publication(batch.ids[2])
            assert timeline is not None
            assert timeline.states == {"fabric": "COMMITTED", "ethereum": "COMMITTED"}
            assert timeline.waits_for == "nothing: all lanes have the outcome"
            assert timeline.proof == batch.proof(accepted.root, 2)
            assert timeline.watched is Watched.PUBLICATION
            assert {"event BATCH_LOCKED", "event BATCH_ANSWERED", "event BATCH_OUTCOME"} <= {
                step.what for step in timeline.steps
            }
            whole = await world.relays[0].timelines.publication(PublicationId(accepted.root))
            assert whole is not None
            assert (whole.watched, whole.outcome) == (Watched.BATCH, "COMMITTED")

    run(scenario())


def test_batch_with_an_item_that_is_refused_for_good_is_given_up_at_once() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            first = sign_batch(world, "fabric", "ethereum", count=2)
            accepted = await first.bring()
            await world.until(lambda: first.all_at(State.COMMITTED, accepted.root))
            again = sign_batch(world, "fabric", "ethereum", count=2, nonce=keccak256(b"another"))
            taken = await again.bring()
            for _ in range(3):
                await world.step()
            locks = [c for c in world.stores[0].calls_about(taken.root) if c.lane == world.lane("fabric")]
            assert [(call.state, call.refusal, call.attempts) for call in locks] == [
                (CallState.REFUSED, "BatchItem", 1)
            ]

    run(scenario())
