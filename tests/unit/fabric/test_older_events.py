"""What an index does not hold any more is read again from its blocks, and only from those."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from caimi.chains.fabric.block_index import BlockIndex
from caimi.chains.fabric.errors import (
    DeliverRefused,
)
from caimi.chains.fabric.port_errors import BrokenLedger
from caimi.ports.chain import ChainUnavailable
from tests.unit.fabric.event_json import event_of, hash_of, payload_of
from tests.unit.fabric.fake_peer import FakePeer, block_of, follow, transaction_of, until


def _long() -> FakePeer:
    # Events 1 to 8 in blocks 1, 3, 5 and 7.
    pairs = {n: transaction_of(0, payload_of(event_of(n), event_of(n + 1)), seconds=100 + n) for n in range(1, 9, 2)}
    return FakePeer(*(block_of(n, *([pairs[n]] if n in pairs else [])) for n in range(9)))


def test_older_events_are_read_again_from_their_blocks() -> None:
    peer = _long()

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        newest = await index.events(7, 9)
        assert ([event.item.sequence for event in newest], peer.seeks) == ([7, 8], [0])
        for first in range(1, 10):
            events = await index.events(first, 2)
            assert [event.item.sequence for event in events] == list(range(first, min(first + 2, 9)))
            assert [event.item.event for event in events] == [event_of(event.item.sequence) for event in events]
            assert [event.block_hash for event in events] == [hash_of(event.height) for event in events]
            assert [event.height for event in events] == [(event.item.sequence - 1) // 2 * 2 + 1 for event in events]
            assert [event.time for event in events] == [100 + event.height for event in events]
        assert await index.events(7, 9) == newest
        assert len(await index.events(1, 99)) == 2

    follow(peer, scene, kept=2, answer=2)
    assert set(peer.seeks) == {0, 1, 3, 5, 7}


def test_what_was_read_again_is_held_like_the_newest() -> None:
    peer = _long()

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        assert await index.events(1, 2) == await index.events(1, 2)

    follow(peer, scene, kept=2, answer=2)
    assert peer.seeks == [0, 1]


@pytest.mark.parametrize("height", [3, 4, 5])
def test_rejects_blocks_read_again_that_are_other_ones(height: int) -> None:
    peer = _long()

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known[height] = replace(peer.blocks_known[height], hash=hash_of(height, 9))
        with pytest.raises(BrokenLedger):
            await index.events(3, 4)
        assert len(await index.events(1, 2)) == 2

    follow(peer, scene, kept=4, answer=4)


@pytest.mark.parametrize("payload", [payload_of(event_of(3)), payload_of(*map(event_of, range(3, 9)))])
def test_rejects_other_events_in_blocks_of_the_same_hash(payload: bytes) -> None:
    # Which transactions are valid is not under a block's hash.
    peer = _long()

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known[3] = block_of(3, transaction_of(0, payload))
        with pytest.raises(BrokenLedger):
            await index.events(3, 2)

    follow(peer, scene, kept=2, answer=2)


def test_older_events_of_a_peer_that_stalls_are_unavailable() -> None:
    peer = _long()

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.stalls_at = 3
        with pytest.raises(ChainUnavailable):
            await index.events(1, 4)
        peer.stalls_at, peer.failure = None, DeliverRefused("x")
        with pytest.raises(BrokenLedger):
            await index.events(1, 4)
        peer.failure = None
        assert len(await index.events(1, 4)) == 4

    follow(peer, scene, kept=4, answer=4)


def test_older_events_that_are_forgotten_meanwhile_are_unavailable() -> None:
    peer = _long()

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.stalls_at = 3
        reading = asyncio.ensure_future(index.events(1, 4))
        await until(lambda: peer.seeks == [0, 1])
        await index.forget(3)
        peer.stalls_at = None
        with pytest.raises(ChainUnavailable):
            await reading
        await index.advance()
        assert len(await index.events(1, 9)) == 4

    follow(peer, scene, kept=4, answer=4)
