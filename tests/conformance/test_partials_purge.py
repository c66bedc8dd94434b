"""Sealed partials leave the peers by themselves (spec 30 §8): a real network whose collection lives for few blocks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from caimi.chains.fabric.board import FabricBoard
from caimi.chains.fabric.client import FabricGateway
from caimi.chains.fabric.registry import FabricRegistry
from caimi.devnet.fabric.network import CollectionPlan
from caimi.types import errors as e
from caimi.types.primitives import Bytes32
from caimi.wire.digests import typed_digest
from tests.conformance.test_fabric_chain import Desk, FabricSite, play_board, running_site

pytestmark = [pytest.mark.devnet, pytest.mark.slow, pytest.mark.timeout(240)]

_BLOCKS_TO_LIVE = 3
_SEALED = b"a sealed partial"


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FabricSite]:
    """A network of its own: the purge is a matter of blocks, which nobody else may add."""
    with running_site(tmp_path_factory.mktemp("purge"), CollectionPlan(block_to_live=_BLOCKS_TO_LIVE)) as made:
        yield made


async def _blocks(site: FabricSite) -> int:
    # By the word of the peer that the board uses: a reader's may be of a moment ago.
    async with site.gateway(2) as gateway:
        return (await gateway.chain_info()).height


async def _has(gateway: FabricGateway, blocks: int) -> None:
    while True:
        if (await gateway.chain_info()).height >= blocks:
            return
        await asyncio.sleep(0.02)


async def _seen_by_peers(site: FabricSite, lease: Bytes32) -> list[tuple[bytes, ...]]:
    seen: list[tuple[bytes, ...]] = []
    blocks = await _blocks(site)
    for organisation in range(len(site.network.peers)):
        async with site.gateway(organisation) as gateway:
            await _has(gateway, blocks)
            registry = FabricRegistry(gateway, lane=site.lane, chaincode=site.chaincode)
            seen.append(await FabricBoard(gateway, registry, chaincode=site.chaincode).partials(lease))
            await registry.close()
    return seen


def test_sealed_partial_is_purged_after_its_blocks_and_its_hash_stays(site: FabricSite) -> None:
    async def scene(desk: Desk) -> None:
        lease, call = await desk.lease()
        identifier = typed_digest(desk.world.network, lease)
        await desk.board.post(call)
        posted = desk.partial(identifier, 1, _SEALED)
        await desk.board.post_partial(posted, _SEALED)
        before = await _blocks(site)
        assert await _seen_by_peers(site, identifier) == [(_SEALED, b"", b"", b"")] * 4

        for number in range(_BLOCKS_TO_LIVE):
            await desk.board.post(desk.message(1 + number, 1, b"a block"))
        assert await _blocks(site) == before + _BLOCKS_TO_LIVE
        assert (await _seen_by_peers(site, identifier))[0] == (_SEALED, b"", b"", b"")

        for number in range(2):
            await desk.board.post(desk.message(1 + number, 2, b"a block"))
        assert await _seen_by_peers(site, identifier) == [(b"",) * 4] * 4

        # What was posted is remembered: the same again is a repetition and brings nothing back, another is refused.
        await desk.board.post_partial(posted, _SEALED)
        assert await _seen_by_peers(site, identifier) == [(b"",) * 4] * 4
        with pytest.raises(e.AlreadyPosted):
            await desk.board.post_partial(desk.partial(identifier, 1, b"another"), b"another")

    play_board(site, "purge", scene)
