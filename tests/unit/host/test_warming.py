"""What a start loads of what the last one had loaded, and what it does not."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from caimi.bundle.manifest import Manifest
from caimi.host.publications import Publications
from caimi.host.warming import warm
from caimi.ports.host_store import RequestState, ShelfRow
from caimi.types.primitives import Bytes32, PublicationId, UnixSeconds
from tests.unit.host.host_world import INPUT, WEIGHTS, HostWorld, InlineModel


async def _served(world: HostWorld) -> PublicationId:
    publication = await world.publish()
    (row,) = await world.until_settled(await world.ask(publication))
    assert row.state is RequestState.ANSWERED
    return publication


async def _warm(world: HostWorld) -> None:
    publications = Publications(world.keys.chains.network, world.relay)
    observer = world.keys.chains.observer
    await warm(world.shelf, publications, store=world.store, clock=world.clock, observer=observer)


def test_what_was_loaded_is_loaded_again_under_a_lease_of_its_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with HostWorld(tmp_path) as world:
            publication = await _served(world)
            (before,) = world.shelf.shown()
            await world.restart()
            assert world.shelf.shown() == ()
            await _warm(world)
            (after,) = world.shelf.shown()
            assert after.publication.id == publication
            assert after.lease != before.lease
            assert (after.opening, after.calls_left) == (before.opening, world.terms.calls)
            told = len(world.steps("host.loaded")), len(world.steps("host.lease"))
            asked = await world.ask(publication)
            await world.until_settled(asked)
            assert np.array_equal(await world.output(asked), INPUT @ WEIGHTS)
            assert (len(world.steps("host.loaded")), len(world.steps("host.lease"))) == told, "nothing is waited for"

    asyncio.run(scenario())


def test_model_whose_lease_has_ended_waits_until_it_is_asked_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with HostWorld(tmp_path) as world:
            await _served(world)
            leases = len(world.steps("host.lease"))
            await world.restart()
            (row,) = world.store.shelf()
            world.store.put_shelf([dataclasses.replace(row, lease_end=UnixSeconds(world.clock.now() + 30))])
            await _warm(world)
            assert world.shelf.shown() == ()
            assert len(world.steps("host.lease")) == leases

    asyncio.run(scenario())


def test_model_that_ends_its_host_is_not_loaded_at_every_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with HostWorld(tmp_path) as world:
            await _served(world)
            await world.restart()
            loading = asyncio.Event()

            async def deadly(files: Mapping[str, bytearray], manifest: Manifest) -> InlineModel:
                loading.set()
                await asyncio.Event().wait()
                raise AssertionError

            world.runtime.load = deadly
            dying = asyncio.create_task(_warm(world))
            await loading.wait()
            dying.cancel()
            await asyncio.gather(dying, return_exceptions=True)
            await world.restart()
            assert world.store.shelf() == ()

    asyncio.run(scenario())


def test_model_that_cannot_be_loaded_does_not_keep_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with HostWorld(tmp_path) as world:
            publication = await _served(world)
            (row,) = world.store.shelf()
            unknown = Bytes32(bytes(32))
            world.store.put_shelf([ShelfRow(publication=unknown, opening=row.opening, lease_end=row.lease_end), row])
            await world.restart()
            await _warm(world)
            assert [one.publication.id for one in world.shelf.shown()] == [publication]
            (told,) = world.steps("host.not_warmed")
            assert told["publication"] == "0x" + unknown.hex()
            assert str(told["cause"]).startswith("PublicationUnknown")

    asyncio.run(scenario())
