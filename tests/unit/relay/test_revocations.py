"""A publisher's revocation reaches every registry of the publication, whichever took it and whenever."""

from __future__ import annotations

import pytest

from caimi.protocol.publication import State
from caimi.types.records import Kind
from tests.unit.relay.world import World, conserved, run


@pytest.mark.parametrize("taken_by", ["fabric", "ethereum"])
def test_revocation_is_carried_to_the_others(taken_by: str) -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            record, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(record, signature)
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))
            await world.send(taken_by, world.revocation(taken_by, identifier))
            await world.until(lambda: world.all_at(State.REVOKED, identifier))
            assert world.ledgers["fabric"].tip.registry.state.balances[world.publisher.address] == 100
            assert all(conserved(world, name) for name in world.ledgers)

    run(scenario())


def test_revocations_at_both_at_once_are_told_once_each() -> None:
    async def scenario() -> None:
        with World(relays=2) as world:
            await world.fund("fabric", 100)
            record, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(record, signature)
            await world.until(lambda: world.all_at(State.COMMITTED, identifier))
            for name in world.ledgers:
                await world.send(name, world.revocation(name, identifier))
            await world.until(lambda: world.all_at(State.REVOKED, identifier))
            for _ in range(10):
                await world.step()
            for ledger in world.ledgers.values():
                kinds = [item.event.kind for item in ledger.tip.registry.state.events]
                assert kinds.count(Kind.REVOKED) == 1

    run(scenario())


def test_revocation_of_what_is_still_locked_takes_effect_with_the_commit() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            record, signature, identifier = world.publication("fabric", "ethereum")
            await world.publish(record, signature)
            await world.until(lambda: world.state("ethereum", identifier) is State.LOCKED)
            await world.send("ethereum", world.revocation("ethereum", identifier))
            await world.until(lambda: world.all_at(State.REVOKED, identifier))

    run(scenario())
