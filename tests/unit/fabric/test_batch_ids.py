"""The ids of a batch by its root: those of new batches, those read again, those that do not make it."""

from __future__ import annotations

import pytest

from caimi.chains.fabric.block_index import BlockIndex
from caimi.chains.fabric.errors import (
    ValidationCode,
)
from caimi.chains.fabric.port_errors import BrokenLedger
from caimi.protocol.batches import batch_root
from tests.unit.fabric.event_json import batch_of, event_of, ids_of, payload_of
from tests.unit.fabric.fake_peer import FakePeer, block_of, follow, transaction_of


def test_ids_of_batches_are_found_by_root() -> None:
    peer = FakePeer(
        block_of(0),
        block_of(1, transaction_of(0, payload_of(event_of(1), batches=[batch_of(5, 6), batch_of(7)]))),
        block_of(2, transaction_of(0, payload_of(batches=[batch_of(8)]), code=ValidationCode.MVCC_READ_CONFLICT)),
    )

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        assert await index.batch_ids(batch_root(ids_of(5, 6))) == ids_of(5, 6)
        assert await index.batch_ids(batch_root(ids_of(7))) == ids_of(7)
        assert await index.batch_ids(batch_root(ids_of(8))) is None
        await index.forget(1)
        assert await index.batch_ids(batch_root(ids_of(7))) is None
        await index.advance()
        assert await index.batch_ids(batch_root(ids_of(7))) == ids_of(7)

    follow(peer, scene)


def test_rejects_ids_that_do_not_make_their_root() -> None:
    root = batch_root(ids_of(5, 6))
    peer = FakePeer(block_of(0), block_of(1, transaction_of(0, payload_of(batches=[batch_of(6, 5, root=root)]))))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        with pytest.raises(BrokenLedger):
            await index.batch_ids(root)

    follow(peer, scene)


def test_ids_of_older_batches_are_read_again_from_their_blocks() -> None:
    batches = [block_of(n, transaction_of(0, payload_of(batches=[batch_of(n)]))) for n in range(1, 100)]
    peer = FakePeer(block_of(0), *batches)

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        assert await index.batch_ids(batch_root(ids_of(99))) == ids_of(99)
        assert peer.seeks == [0]
        assert await index.batch_ids(batch_root(ids_of(3))) == ids_of(3)
        assert peer.seeks == [0, 3]
        # Many batches of one block: also those of which the list was not kept.
        many = transaction_of(0, payload_of(batches=[batch_of(n) for n in range(1_000, 1_099)]))
        peer.blocks_known.append(block_of(100, many))
        await index.advance()
        for n in range(1_000, 1_099):
            assert await index.batch_ids(batch_root(ids_of(n))) == ids_of(n)
        peer.blocks_known[4] = block_of(4)
        with pytest.raises(BrokenLedger):
            await index.batch_ids(batch_root(ids_of(4)))

    follow(peer, scene)
