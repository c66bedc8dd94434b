"""A publication runs to one outcome on all its lanes, whatever a relay lives through."""

from __future__ import annotations

from caimi.protocol.publication import State
from caimi.types.records import Lane
from caimi.wire.keccak import keccak256
from tests.unit.relay.world import World, run


def test_publication_commits_on_home_and_mirror() -> None:
    async def scenario() -> None:
        world = World()
        await world.fund("fabric", 100)
        publication, signature, identifier = world.publication("fabric", "ethereum")
        await world.publish(publication, signature)
        await world.until(lambda: world.all_at(State.COMMITTED, identifier))

    run(scenario())


def test_unknown_mirror_runs_to_the_abort_and_the_deposit_comes_back() -> None:
    async def scenario() -> None:
        world = World()
        await world.fund("ethereum", 100)
        nowhere = Lane(chain=keccak256(b"nowhere"), registry=keccak256(b"nowhere"))
        publication, signature, identifier = world.publication("ethereum", "fabric", nowhere)
        await world.publish(publication, signature)
        await world.until(lambda: world.all_at(State.LOCKED, identifier))
        world.clock.advance(130)
        await world.until(lambda: world.all_at(State.ABORTED, identifier))
        assert world.ledgers["ethereum"].tip.registry.state.balances[world.publisher.address] == 100

    run(scenario())
