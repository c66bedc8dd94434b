"""From blocks to numbered events: what counts, what is refused, what a restart and a break change."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from caimi.chains.fabric.block_index import BlockIndex
from caimi.chains.fabric.blocks import FabricBlock, FabricTransaction
from caimi.chains.fabric.errors import (
    BrokenBlockChain,
    DeliverRefused,
    EvaluateUnavailable,
    FabricError,
    ValidationCode,
)
from caimi.chains.fabric.port_errors import BrokenLedger
from caimi.ports.chain import ChainUnavailable
from caimi.types.errors import WrongChain
from caimi.wire.chain_ids import fabric_chain_id
from caimi.wire.keccak import keccak256
from tests.unit.fabric.event_json import event_of, hash_of, payload_of
from tests.unit.fabric.fake_peer import CHAIN, FakePeer, block_of, follow, transaction_of, until


def test_events_are_numbered_in_channel_order() -> None:
    peer = FakePeer(
        block_of(0),
        block_of(
            1,
            transaction_of(0, payload_of(event_of(1), event_of(2))),
            transaction_of(1, None),
            transaction_of(2, payload_of(event_of(3))),
        ),
        block_of(2),
        block_of(3, transaction_of(0, payload_of(event_of(4)), seconds=90)),
    )

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        events = await index.events(1, 100)
        assert [event.item.sequence for event in events] == [1, 2, 3, 4]
        assert [event.item.event for event in events] == [event_of(n) for n in (1, 2, 3, 4)]
        assert [event.height for event in events] == [1, 1, 1, 3]
        assert [event.block_hash for event in events] == [hash_of(1)] * 3 + [hash_of(3)]
        assert [event.transaction[-1:] for event in events] == ["i"] * 4
        assert [event.time for event in events] == [100, 100, 100, 90]
        assert (index.height, index.time) == (3, 100)
        assert await index.events(3, 1) == events[2:3]
        assert await index.events(5, 1) == ()
        assert [index.hash_at(n) for n in (-1, 0, 3, 4)] == [None, hash_of(0), hash_of(3), None]

    follow(peer, scene)


@pytest.mark.parametrize(
    "transaction",
    [
        transaction_of(0, payload_of(event_of(9)), code=ValidationCode.MVCC_READ_CONFLICT),
        transaction_of(0, payload_of(event_of(9)), code=ValidationCode.ENDORSEMENT_POLICY_FAILURE),
        transaction_of(0, b"garbage", code=ValidationCode.BAD_PAYLOAD),
        transaction_of(0, b"something else", chaincode="another"),
        transaction_of(0, None),
    ],
    ids=["conflict", "policy", "garbage", "another chaincode", "no event"],
)
def test_what_is_no_event_of_the_registry_has_no_number(transaction: FabricTransaction) -> None:
    peer = FakePeer(block_of(0), block_of(1, transaction, transaction_of(1, payload_of(event_of(1)))))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        assert [event.item.event for event in await index.events(1, 9)] == [event_of(1)]

    follow(peer, scene)


def test_time_is_never_that_of_an_invalid_transaction() -> None:
    late = transaction_of(1, None, code=ValidationCode.MVCC_READ_CONFLICT, seconds=10**9)
    peer = FakePeer(block_of(0), block_of(1, transaction_of(0, None, seconds=100), late))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        assert index.time == 100

    follow(peer, scene)


def test_stream_stays_open_between_readings() -> None:
    peer = FakePeer(block_of(0), block_of(1))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known.append(block_of(2, transaction_of(0, payload_of(event_of(1)))))
        await index.advance()
        await index.advance()
        assert (len(await index.events(1, 9)), index.height) == (1, 2)

    follow(peer, scene)
    assert peer.seeks == [0]


def test_open_stream_brings_blocks_without_a_question() -> None:
    peer, time = FakePeer(block_of(0), block_of(1)), [0.0]

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known.append(block_of(2, transaction_of(0, payload_of(event_of(1)))))
        await index.reach(2)
        await index.advance()
        assert (len(await index.events(1, 9)), index.height, peer.asked) == (1, 2, 1)
        # A stream that stands still is no proof that the peer does.
        peer.stalls_at, time[0] = 3, 2.0
        peer.blocks_known.append(block_of(3))
        with pytest.raises(ChainUnavailable):
            await index.advance()
        assert peer.asked == 2

    follow(peer, scene, tip_seconds=2.0, time=time)


def test_peer_is_asked_after_a_break_also_while_it_is_read() -> None:
    peer = FakePeer(block_of(0), block_of(1))

    async def scene(index: BlockIndex) -> None:
        peer.stalls_at = 1
        reading = asyncio.ensure_future(index.advance())
        await until(lambda: index.height == 0)
        index.distrust()
        peer.stalls_at = None
        await reading
        assert peer.asked == 1
        await index.advance()
        await index.advance()
        assert peer.asked == 2
        index.distrust()
        await index.advance()
        assert peer.asked == 3

    follow(peer, scene, tip_seconds=2.0)


def test_a_second_reader_waits_for_the_tip_too() -> None:
    peer = FakePeer(block_of(0), block_of(1), block_of(2))
    peer.stalls_at = 2

    async def scene(index: BlockIndex) -> None:
        async def read() -> int:
            await index.advance()
            return index.height

        readings = [asyncio.ensure_future(read()) for _ in range(2)]
        await until(lambda: index.height == 1)
        late = asyncio.ensure_future(read())
        await asyncio.sleep(0)
        peer.stalls_at = None
        assert await asyncio.gather(*readings, late) == [2, 2, 2]

    follow(peer, scene, tip_seconds=2.0)


def test_what_ends_an_open_stream_is_told_by_the_next_reading() -> None:
    peer = FakePeer(block_of(0))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known.append(block_of(1, transaction_of(0, b"{}")))
        for _ in range(10):
            await asyncio.sleep(0)
        for _ in range(2):
            with pytest.raises(BrokenLedger):
                await index.advance()
        assert index.height == 0

    follow(peer, scene, tip_seconds=2.0)


def _branch(number: int, branch: int, *transactions: FabricTransaction, parent: int) -> FabricBlock:
    # A block of one branch upon a block of another.
    return replace(block_of(number, *transactions, branch=branch), previous_hash=hash_of(number - 1, parent))


def test_what_is_forgotten_is_asked_for_again() -> None:
    lease = "0x" + hash_of(7).hex()
    honest = transaction_of(0, payload_of(event_of(3)), seconds=130)
    peer = FakePeer(
        block_of(0),
        block_of(1, transaction_of(0, payload_of(event_of(1)), seconds=110)),
        block_of(2, transaction_of(0, payload_of(event_of(2)), seconds=120)),
        _branch(3, 9, transaction_of(0, payload_of(event_of(4), event_of(5), leases=[lease]), seconds=900), parent=0),
    )

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        assert (len(await index.events(1, 9)), index.time, index.leases_above(0)) == (4, 900, (hash_of(7),))
        peer.blocks_known[3] = _branch(3, 0, honest, parent=0)
        await index.forget(5)  # nothing is known of it: the lie is still believed
        with pytest.raises(BrokenLedger):
            await index.advance()
        await index.forget(3)
        assert (index.height, index.time, index.leases_above(0)) == (2, 120, ())
        await index.advance()
        assert [e.item.event for e in await index.events(1, 9)] == [event_of(1), event_of(2), event_of(3)]
        assert (index.hash_at(3), index.time) == (hash_of(3), 130)

    follow(peer, scene)
    assert peer.seeks[-1] == 3


def test_what_was_wrong_before_the_events_that_showed_it_is_forgotten_too() -> None:
    event = transaction_of(0, payload_of(event_of(1)))
    peer = FakePeer(block_of(0), _branch(1, 9, parent=0), _branch(2, 9, event, parent=9))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known[1:] = [block_of(1), block_of(2, event)]
        await index.forget(1)
        with pytest.raises(BrokenLedger):
            await index.advance()
        assert index.height == -1
        await index.advance()
        assert (index.hash_at(1), index.hash_at(2)) == (hash_of(1), hash_of(2))
        # Without such a request a peer that changes its mind stays refused.
        peer.blocks_known[1:] = [_branch(1, 9, parent=0), _branch(2, 9, event, parent=9)]
        await index.close()
        for _ in range(2):
            with pytest.raises(BrokenLedger):
                await index.advance()
        assert index.hash_at(2) == hash_of(2)

    follow(peer, scene)


def test_forgetting_while_others_read_keeps_the_order() -> None:
    blocks = [block_of(0), *(block_of(n, transaction_of(0, payload_of(event_of(n)))) for n in range(1, 9))]
    peer = FakePeer(*blocks)

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        await asyncio.gather(*(index.forget(n) if n % 2 else index.advance() for n in range(1, 9)))
        await index.advance()
        assert [index.hash_at(n) for n in range(9)] == [block.hash for block in blocks]
        assert [e.item.sequence for e in await index.events(1, 99)] == list(range(1, 9))

    follow(peer, scene)


def test_leases_by_height() -> None:
    words = ["0x" + hash_of(n).hex() for n in range(3)]
    peer = FakePeer(
        block_of(0),
        block_of(1, transaction_of(0, payload_of(leases=words[:1]))),
        block_of(2),
        block_of(3, transaction_of(0, payload_of(event_of(1), leases=words[1:]))),
    )

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        expected = {0: [0, 1, 2], 1: [1, 2], 2: [1, 2], 3: [], 9: []}
        for height, numbers in expected.items():
            assert index.leases_above(height) == tuple(hash_of(n) for n in numbers)

    follow(peer, scene)


def test_peer_that_stalls_is_unavailable_and_read_on_later() -> None:
    peer = FakePeer(block_of(0), block_of(1, transaction_of(0, payload_of(event_of(1)))), block_of(2))
    peer.stalls_at = 2

    async def scene(index: BlockIndex) -> None:
        with pytest.raises(ChainUnavailable):
            await index.advance()
        assert index.height == 1
        peer.stalls_at = None
        await index.advance()
        assert (index.height, len(await index.events(1, 9))) == (2, 1)

    follow(peer, scene)
    assert peer.seeks == [0, 2]


def test_peer_that_is_down_is_unavailable() -> None:
    peer = FakePeer(block_of(0))
    peer.failure = EvaluateUnavailable("UNAVAILABLE", "down")

    async def scene(index: BlockIndex) -> None:
        with pytest.raises(ChainUnavailable):
            await index.advance()
        with pytest.raises(ChainUnavailable):
            await index.verify_chain()

    follow(peer, scene)
    assert peer.seeks == []


def test_peer_that_lags_behind_what_it_showed_is_waited_for() -> None:
    peer = FakePeer(block_of(0), block_of(1, transaction_of(0, payload_of(event_of(1)))), block_of(2))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known = peer.blocks_known[:2]
        await index.advance()
        assert (index.height, len(await index.events(1, 9))) == (2, 1)

    follow(peer, scene)


@pytest.mark.parametrize("height", [1, 2])
def test_rejects_a_peer_that_shows_another_branch(height: int) -> None:
    peer = FakePeer(block_of(0), block_of(1), block_of(2))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known = [*peer.blocks_known[:height], block_of(height, branch=1)]
        with pytest.raises(BrokenLedger):
            await index.advance()

    follow(peer, scene)


@pytest.mark.parametrize("failure", [BrokenBlockChain("x"), DeliverRefused("x")])
def test_rejects_a_stream_that_no_ledger_has(failure: FabricError) -> None:
    peer = FakePeer(block_of(0))
    peer.failure = failure

    async def scene(index: BlockIndex) -> None:
        with pytest.raises(BrokenLedger):
            await index.advance()

    follow(peer, scene)


def test_rejects_another_channel_every_time() -> None:
    peer = FakePeer(block_of(0), block_of(1), block_of(2))

    async def scene(index: BlockIndex) -> None:
        for act in (index.advance, index.verify_chain, index.advance):
            with pytest.raises(WrongChain) as caught:
                await act()
            assert caught.value.values == (keccak256(b"another"), CHAIN)
            assert caught.value.__notes__ == [f"the peer is of {fabric_chain_id(hash_of(0))}"]
            assert index.height == -1

    follow(peer, scene, chain=keccak256(b"another"))
    assert peer.seeks == [0, 0, 0]


def test_rejects_a_malformed_event_every_time_and_takes_nothing_of_its_block() -> None:
    good, bad = transaction_of(0, payload_of(event_of(1), leases=["0x" + hash_of(1).hex()])), transaction_of(1, b"{}")
    peer = FakePeer(block_of(0), block_of(1, good, bad), block_of(2))

    async def scene(index: BlockIndex) -> None:
        for _ in range(2):
            with pytest.raises(BrokenLedger):
                await index.advance()
            assert (index.height, await index.events(1, 9), index.leases_above(0)) == (0, (), ())

    follow(peer, scene)


def test_rejects_an_event_of_another_name() -> None:
    peer = FakePeer(block_of(0), block_of(1, transaction_of(0, payload_of(event_of(1)), name="Caimi")))

    async def scene(index: BlockIndex) -> None:
        with pytest.raises(BrokenLedger):
            await index.advance()

    follow(peer, scene)
