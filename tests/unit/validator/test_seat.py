"""Whether a validator may start: network, set and bounds of every registry."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from caimi.types.errors import BadQuorum, BadValidatorSet, CaimiError, WrongEpoch
from caimi.types.primitives import Bytes32, Epoch, SignerIndex
from caimi.types.records import Lane
from caimi.validator.attestor import Seat
from caimi.validator.seat import NotInSet, RootsDiffer, WrongNetwork, take_seat
from caimi.wire.keccak import keccak256
from tests.unit.relay.faulty_ports import FaultyPort
from tests.unit.relay.world import World, key, run


class Site(FaultyPort):
    """A registry that says of which network it is."""

    def __init__(self, world: World, name: str, **answers: Any) -> None:
        super().__init__(world.port(name, "v"))
        self.network = answers.pop("network", world.network)
        self.answers = answers

    async def verify_site(self) -> Bytes32:
        return self.network

    async def validator_set(self) -> Any:
        return dataclasses.replace(await self.port.validator_set(), **self.answers)


class OwnRoot(Site):
    """A registry that was created with itself as the root."""

    async def root(self) -> Lane:
        return self.port.lane


async def _seat(world: World, *sites: Site, who: str = "validator 3") -> Seat:
    registries: Any = sites
    return await take_seat(registries, network=world.network, address=key(who).address)


def test_seat_is_the_place_in_the_set() -> None:
    async def scenario() -> None:
        with World() as world:
            seat = await _seat(world, Site(world, "fabric"), Site(world, "ethereum"))
            assert seat == Seat(network=world.network, epoch=Epoch(1), signer=SignerIndex(3), root=world.lane("fabric"))

    run(scenario())


def test_registries_that_name_different_roots_are_no_network() -> None:
    async def scenario() -> None:
        with World() as world, pytest.raises(RootsDiffer):
            await _seat(world, Site(world, "fabric"), OwnRoot(world, "ethereum"))

    run(scenario())


@pytest.mark.parametrize(
    ("answers", "who", "error"),
    [
        ({"network": keccak256(b"another")}, "validator 3", WrongNetwork),
        ({}, "somebody", NotInSet),
        ({"f": 2}, "validator 3", BadQuorum),
        ({"f": 0}, "validator 3", BadQuorum),
        ({"t": 1}, "validator 3", BadQuorum),
        ({"t": 4}, "validator 3", BadQuorum),
        ({"t": 3}, "validator 3", BadValidatorSet),
        ({"epoch": Epoch(2)}, "validator 3", WrongEpoch),
        ({"validators": tuple(key(f"validator {i}").address for i in (0, 1, 3, 3))}, "validator 3", BadValidatorSet),
        ({"validators": tuple(key(f"validator {i}").address for i in (1, 0, 2, 3))}, "validator 3", BadValidatorSet),
        ({"validators": tuple(key(f"validator {i}").address for i in (0, 1, 3))}, "validator 3", BadQuorum),
    ],
)
def test_rejects_seat(answers: dict[str, Any], who: str, error: type[CaimiError]) -> None:
    async def scenario() -> None:
        with World() as world, pytest.raises(error):
            await _seat(world, Site(world, "fabric"), Site(world, "ethereum", **answers), who=who)

    run(scenario())


def test_rejects_a_validator_without_registries() -> None:
    async def scenario() -> None:
        with World() as world, pytest.raises(BadValidatorSet):
            await _seat(world)

    run(scenario())
