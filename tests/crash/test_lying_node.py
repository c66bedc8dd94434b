"""A node that lies to one validator, then to two: who sees a contradiction abstains, and nothing false is signed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from caimi.apps.validator_client import ValidatorClient
from caimi.crypto.ecdsa import EcdsaSignature, recover
from caimi.ports.validators import Abstains, NotYet
from caimi.protocol.publication import State
from caimi.sdk.publishing import SignedPublication
from caimi.types.errors import CaimiError
from caimi.types.primitives import Generation
from caimi.types.records import Checkpoint, Item, Kind
from caimi.wire.digests import leaf_hash, typed_digest
from caimi.wire.merkle import merkle_root
from tests.crash.devnet_fixture import Devnet, until
from tests.crash.lying_node import Lie, LyingNode
from tests.crash.publications import histories, judge, settle, signed_publication, submit

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(900)]

_LIARS = (1, 2)
_STALL_S = 15.0
"""Several times what a publication takes while nobody lies."""


@pytest.fixture(scope="module")
def nodes(devnet: Devnet) -> Iterator[dict[int, LyingNode]]:
    """A proxy as the second Ethereum endpoint of two validators; honest at first."""
    with LyingNode(devnet.ledgers.ethereum_url) as first, LyingNode(devnet.ledgers.ethereum_url) as second:
        found: dict[int, LyingNode] = dict(zip(_LIARS, (first, second), strict=True))
        for index, node in found.items():
            _read_through(devnet, index, node.url)
        devnet.run(_until_conditions(devnet, dict.fromkeys("1234", "following")))
        yield found
        for index in found:
            _read_through(devnet, index, devnet.ledgers.ethereum_url)


def _read_through(devnet: Devnet, index: int, url: str) -> None:
    def second(config: dict[str, Any]) -> None:
        for lane in config["lanes"]:
            if lane["kind"] == "ethereum":
                lane["endpoints"][1] = url

    devnet.configure(f"validator-{index}", second)
    devnet.run(devnet.restart(f"validator-{index}"))


async def _until_conditions(devnet: Devnet, expected: dict[str, str]) -> None:
    async def are_there() -> bool:
        return await devnet.conditions("ethereum") == expected

    await until(are_there, what=f"conditions {expected}")


@pytest.mark.parametrize("lie", [Lie.EVENTS, Lie.BLOCKS])
def test_a_node_that_lies_to_one_validator_makes_it_abstain_and_the_others_go_on(
    devnet: Devnet, nodes: dict[int, LyingNode], lie: Lie
) -> None:
    async def scenario() -> None:
        nodes[1].lie = lie
        try:
            signed = await signed_publication(devnet, "fabric", "ethereum")
            await submit(devnet, signed)
            await settle(devnet, signed, State.COMMITTED)
            await _until_conditions(devnet, {"1": "abstaining", "2": "following", "3": "following", "4": "following"})
            assert nodes[1].told > 0
            item = await _mirrors_lock(devnet, signed)
            assert isinstance(await _ask(devnet, 1, item), Abstains)
            await judge(devnet, {signed.id: State.COMMITTED})
        finally:
            nodes[1].lie = Lie.NONE
        await _until_conditions(devnet, dict.fromkeys("1234", "following"))
        await _all_sign_the_truth(devnet, item)

    devnet.run(scenario())


def test_nodes_that_lie_to_two_validators_stall_the_lane_until_they_are_honest_again(
    devnet: Devnet, nodes: dict[int, LyingNode]
) -> None:
    async def scenario() -> None:
        for node in nodes.values():
            node.lie = Lie.EVENTS
        try:
            signed = await signed_publication(devnet, "fabric", "ethereum")
            await submit(devnet, signed)
            item = await _mirrors_lock(devnet, signed)
            await _until_conditions(devnet, {"1": "abstaining", "2": "abstaining", "3": "following", "4": "following"})
            await asyncio.sleep(_STALL_S)
            await _nothing_false_is_signed(devnet, signed, item)
        finally:
            for node in nodes.values():
                node.lie = Lie.NONE
        await settle(devnet, signed, State.COMMITTED)
        await _all_sign_the_truth(devnet, item)
        await judge(devnet, {signed.id: State.COMMITTED})

    devnet.run(scenario())


async def _nothing_false_is_signed(devnet: Devnet, signed: SignedPublication, item: Item) -> None:
    # No certificate came to be: home has not moved, though the mirror has long locked it.
    home = await devnet.connections.reader("fabric").publication(signed.id)
    assert home is not None and home.state is State.LOCKED
    for index in (site.index for site in devnet.network.validators):
        answer = await _ask(devnet, index, item)
        if index in _LIARS:
            assert isinstance(answer, Abstains | NotYet), answer
        else:
            assert isinstance(answer, Checkpoint) and answer.root == _root(devnet, item)


async def _all_sign_the_truth(devnet: Devnet, item: Item) -> None:
    for index in (site.index for site in devnet.network.validators):

        async def signs(index: int = index) -> bool:
            answer = await _ask(devnet, index, item)
            if isinstance(answer, CaimiError):
                return False
            assert answer.root == _root(devnet, item)
            return True

        await until(signs, what=f"validator {index} signs again")


async def _ask(devnet: Devnet, index: int, item: Item) -> Checkpoint | CaimiError:
    # What the validator says about that one event; a signature that is not its own fails here.
    site = devnet.network.validators[index - 1]
    source = devnet.network.lane("ethereum").lane
    async with httpx2.AsyncClient(timeout=30.0, trust_env=False) as client:
        port = ValidatorClient(site.url, client)
        try:
            checkpoint, signature = await port.checkpoint(source, Generation(1), item.sequence, item.sequence)
        except CaimiError as error:
            return error
    digest = typed_digest(devnet.network.id, checkpoint)
    assert recover(digest, EcdsaSignature.from_record(signature)) == site.address
    return checkpoint


def _root(devnet: Devnet, item: Item) -> bytes:
    return merkle_root([leaf_hash(devnet.network.lane("ethereum").lane, item)])


async def _mirrors_lock(devnet: Devnet, signed: SignedPublication) -> Item:
    found: list[Item] = []

    async def is_final() -> bool:
        (mirror,) = [h for h in await histories(devnet) if h.name == "ethereum"]
        found[:] = [i for i in mirror.items if i.event.subject == signed.id and i.event.kind == Kind.LOCKED]
        return bool(found)

    await until(is_final, what="locked on the mirror, final")
    return found[0]
