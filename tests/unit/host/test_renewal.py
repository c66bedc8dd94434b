"""A lease is renewed before its end, beside the calls: nobody waits for the next one, which needs its own release."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from caimi.host.leases import LeaseTerms
from caimi.host.publications import KnownPublication, Publications
from caimi.types.primitives import ZERO32, Bytes32
from tests.unit.host.host_world import HostWorld


@asynccontextmanager
async def shelved(terms: LeaseTerms) -> AsyncGenerator[tuple[HostWorld, KnownPublication]]:
    async with HostWorld() as world:
        world.terms = terms
        await world.restart()
        publication = await world.publish()
        yield world, await Publications(world.keys.chains.network, world.relay).get(publication)


async def used(world: HostWorld, publication: KnownPublication) -> Bytes32:
    async with world.shelf.use(publication, opening=ZERO32) as leased:
        return leased.lease


async def settled(world: HostWorld) -> None:
    (place,) = world.shelf._places.values()
    if place.renewal is not None:
        await place.renewal


def test_the_last_calls_of_a_lease_bring_the_next_one() -> None:
    async def scenario() -> None:
        async with shelved(LeaseTerms(seconds=3_600, calls=10)) as (world, publication):
            first = [await used(world, publication) for _ in range(8)]
            assert len(set(first)) == 1
            (place,) = world.shelf._places.values()
            assert place.renewal is None
            # Two are left after the eighth; the ninth begins the renewal and does not wait for it.
            assert await used(world, publication) == first[0]
            assert place.renewal is not None
            asked = [validator.asked for validator in world.validators]
            await settled(world)
            assert [validator.asked for validator in world.validators] != asked
            second = await used(world, publication)
            assert second != first[0]
            # Loaded once.
            assert len(world.runtime.models) == 1

    asyncio.run(scenario())


def test_the_last_minutes_of_a_lease_bring_the_next_one() -> None:
    async def scenario() -> None:
        async with shelved(LeaseTerms(seconds=1_000, calls=1_000)) as (world, publication):
            first = await used(world, publication)
            world.keys.chains.clock.advance(700)
            assert await used(world, publication) == first
            await settled(world)
            assert await used(world, publication) == first
            world.keys.chains.clock.advance(120)
            assert await used(world, publication) == first
            await settled(world)
            assert await used(world, publication) != first

    asyncio.run(scenario())


def test_a_renewal_that_fails_ends_nothing_before_its_time() -> None:
    async def scenario() -> None:
        async with shelved(LeaseTerms(seconds=3_600, calls=10)) as (world, publication):
            first = [await used(world, publication) for _ in range(8)]
            for validator in world.validators:
                validator.is_up = False
            assert await used(world, publication) == first[0]
            await settled(world)
            (told,) = world.steps("host.not_renewed")
            assert str(told["cause"]).startswith("KeyNotReleased")
            # Not asked again at once, and the last call of the present lease is served.
            assert await used(world, publication) == first[0]
            (place,) = world.shelf._places.values()
            assert place.renewal is None
            for validator in world.validators:
                validator.is_up = True
            assert await used(world, publication) != first[0]

    asyncio.run(scenario())
