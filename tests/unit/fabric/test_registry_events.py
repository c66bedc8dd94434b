"""From blocks to numbered events: what counts, what is refused, what a restart and a break change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace

import pytest

from caimi.chains.fabric.block_index import BlockIndex
from caimi.chains.fabric.blocks import ChaincodeEvent, FabricBlock, FabricTransaction
from caimi.chains.fabric.errors import (
    BrokenBlockChain,
    DeliverRefused,
    EvaluateUnavailable,
    FabricError,
    ValidationCode,
)
from caimi.chains.fabric.port_errors import BrokenLedger
from caimi.chains.fabric.transaction import ChainInfo
from caimi.ports.chain import ChainUnavailable
from caimi.protocol.batches import batch_root
from caimi.types.errors import WrongChain
from caimi.types.primitives import Bytes32
from caimi.wire.chain_ids import chain_hash, fabric_chain_id
from caimi.wire.keccak import keccak256
from tests.unit.fabric.event_json import batch_of, event_of, hash_of, ids_of, payload_of

_SECOND = 1_000_000_000
_CHAIN = chain_hash(fabric_chain_id(hash_of(0)))


def _transaction(
    index: int,
    payload: bytes | None,
    *,
    code: ValidationCode = ValidationCode.VALID,
    chaincode: str = "caimi",
    name: str = "caimi",
    seconds: int = 100,
) -> FabricTransaction:
    event = None if payload is None else ChaincodeEvent(chaincode=chaincode, name=name, payload=payload)
    return FabricTransaction(
        index=index,
        tx_id=f"transaction {index} of {name}",
        code=code,
        kind=3,
        timestamp_ns=seconds * _SECOND + 5,
        chaincode=chaincode,
        event=event,
    )


def _block(number: int, *transactions: FabricTransaction, branch: int = 0) -> FabricBlock:
    return FabricBlock(
        number=number,
        previous_hash=hash_of(number - 1, branch) if number else b"",
        data_hash=bytes(32),
        hash=hash_of(number, branch),
        transactions=transactions,
    )


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  what is waited for has no event of its own
        await asyncio.sleep(0)


class _Peer:
    def __init__(self, *blocks: FabricBlock) -> None:
        self.blocks_known = list(blocks)
        self.seeks: list[int] = []
        self.failure: FabricError | None = None
        self.stalls_at: int | None = None
        self.asked = 0

    async def chain_info(self) -> ChainInfo:
        self.asked += 1
        if isinstance(self.failure, EvaluateUnavailable):
            raise self.failure
        newest = self.blocks_known[-1]
        return ChainInfo(height=newest.number + 1, head_hash=newest.hash, previous_hash=newest.previous_hash)

    async def blocks(self, start: int, *, previous_hash: bytes | None = None) -> AsyncGenerator[FabricBlock, None]:
        self.seeks.append(start)
        assert (previous_hash is None) == (start == 0)
        number = start
        while True:
            await _until(lambda: number != self.stalls_at and number < len(self.blocks_known))  # noqa: B023
            if self.failure is not None:
                raise self.failure
            block = self.blocks_known[number]
            if previous_hash is not None and block.previous_hash != previous_hash:
                raise BrokenBlockChain(f"block {number} does not follow")
            yield block
            number, previous_hash = number + 1, block.hash


def _follow(
    peer: _Peer,
    scene: Callable[[BlockIndex], Awaitable[None]],
    *,
    chain: Bytes32 = _CHAIN,
    tip_seconds: float = 0.0,
    time: list[float] | None = None,
    kept: int = 1_024,
    answer: int = 1_024,
) -> None:
    seconds = time or [0.0]

    async def act() -> None:
        index = BlockIndex(
            peer,
            peer,
            chaincode="caimi",
            chain=chain,
            block_seconds=0.05,
            tip_seconds=tip_seconds,
            kept=kept,
            answer=answer,
            monotonic=lambda: seconds[0],
        )
        await scene(index)
        await index.close()

    asyncio.run(act())


def test_events_are_numbered_in_channel_order() -> None:
    peer = _Peer(
        _block(0),
        _block(
            1,
            _transaction(0, payload_of(event_of(1), event_of(2))),
            _transaction(1, None),
            _transaction(2, payload_of(event_of(3))),
        ),
        _block(2),
        _block(3, _transaction(0, payload_of(event_of(4)), seconds=90)),
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

    _follow(peer, scene)


def _long() -> _Peer:
    # Events 1 to 8 in blocks 1, 3, 5 and 7.
    pairs = {n: _transaction(0, payload_of(event_of(n), event_of(n + 1)), seconds=100 + n) for n in range(1, 9, 2)}
    return _Peer(*(_block(n, *([pairs[n]] if n in pairs else [])) for n in range(9)))


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

    _follow(peer, scene, kept=0, answer=2)
    assert set(peer.seeks) == {0, 1, 3, 5, 7}


def test_what_was_read_again_is_held_like_the_newest() -> None:
    peer = _long()

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        assert await index.events(1, 2) == await index.events(1, 2)

    _follow(peer, scene, kept=0, answer=2)
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

    _follow(peer, scene, kept=0, answer=4)


@pytest.mark.parametrize("payload", [payload_of(event_of(3)), payload_of(*map(event_of, range(3, 9)))])
def test_rejects_other_events_in_blocks_of_the_same_hash(payload: bytes) -> None:
    # Which transactions are valid is not under a block's hash.
    peer = _long()

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known[3] = _block(3, _transaction(0, payload))
        with pytest.raises(BrokenLedger):
            await index.events(3, 2)

    _follow(peer, scene, kept=0, answer=2)


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

    _follow(peer, scene, kept=0, answer=4)


def test_older_events_that_are_forgotten_meanwhile_are_unavailable() -> None:
    peer = _long()

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.stalls_at = 3
        reading = asyncio.ensure_future(index.events(1, 4))
        await _until(lambda: peer.seeks == [0, 1])
        await index.forget(3)
        peer.stalls_at = None
        with pytest.raises(ChainUnavailable):
            await reading
        await index.advance()
        assert len(await index.events(1, 9)) == 4

    _follow(peer, scene, kept=0, answer=4)


@pytest.mark.parametrize(
    "transaction",
    [
        _transaction(0, payload_of(event_of(9)), code=ValidationCode.MVCC_READ_CONFLICT),
        _transaction(0, payload_of(event_of(9)), code=ValidationCode.ENDORSEMENT_POLICY_FAILURE),
        _transaction(0, b"garbage", code=ValidationCode.BAD_PAYLOAD),
        _transaction(0, b"something else", chaincode="another"),
        _transaction(0, None),
    ],
    ids=["conflict", "policy", "garbage", "another chaincode", "no event"],
)
def test_what_is_no_event_of_the_registry_has_no_number(transaction: FabricTransaction) -> None:
    peer = _Peer(_block(0), _block(1, transaction, _transaction(1, payload_of(event_of(1)))))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        assert [event.item.event for event in await index.events(1, 9)] == [event_of(1)]

    _follow(peer, scene)


def test_time_is_never_that_of_an_invalid_transaction() -> None:
    late = _transaction(1, None, code=ValidationCode.MVCC_READ_CONFLICT, seconds=10**9)
    peer = _Peer(_block(0), _block(1, _transaction(0, None, seconds=100), late))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        assert index.time == 100

    _follow(peer, scene)


def test_stream_stays_open_between_readings() -> None:
    peer = _Peer(_block(0), _block(1))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known.append(_block(2, _transaction(0, payload_of(event_of(1)))))
        await index.advance()
        await index.advance()
        assert (len(await index.events(1, 9)), index.height) == (1, 2)

    _follow(peer, scene)
    assert peer.seeks == [0]


def test_open_stream_brings_blocks_without_a_question() -> None:
    peer, time = _Peer(_block(0), _block(1)), [0.0]

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known.append(_block(2, _transaction(0, payload_of(event_of(1)))))
        await index.reach(2)
        await index.advance()
        assert (len(await index.events(1, 9)), index.height, peer.asked) == (1, 2, 1)
        # A stream that stands still is no proof that the peer does.
        peer.stalls_at, time[0] = 3, 2.0
        peer.blocks_known.append(_block(3))
        with pytest.raises(ChainUnavailable):
            await index.advance()
        assert peer.asked == 2

    _follow(peer, scene, tip_seconds=2.0, time=time)


def test_peer_is_asked_after_a_break_also_while_it_is_read() -> None:
    peer = _Peer(_block(0), _block(1))

    async def scene(index: BlockIndex) -> None:
        peer.stalls_at = 1
        reading = asyncio.ensure_future(index.advance())
        await _until(lambda: index.height == 0)
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

    _follow(peer, scene, tip_seconds=2.0)


def test_a_second_reader_waits_for_the_tip_too() -> None:
    peer = _Peer(_block(0), _block(1), _block(2))
    peer.stalls_at = 2

    async def scene(index: BlockIndex) -> None:
        async def read() -> int:
            await index.advance()
            return index.height

        readings = [asyncio.ensure_future(read()) for _ in range(2)]
        await _until(lambda: index.height == 1)
        late = asyncio.ensure_future(read())
        await asyncio.sleep(0)
        peer.stalls_at = None
        assert await asyncio.gather(*readings, late) == [2, 2, 2]

    _follow(peer, scene, tip_seconds=2.0)


def test_what_ends_an_open_stream_is_told_by_the_next_reading() -> None:
    peer = _Peer(_block(0))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known.append(_block(1, _transaction(0, b"{}")))
        for _ in range(10):
            await asyncio.sleep(0)
        for _ in range(2):
            with pytest.raises(BrokenLedger):
                await index.advance()
        assert index.height == 0

    _follow(peer, scene, tip_seconds=2.0)


def _branch(number: int, branch: int, *transactions: FabricTransaction, parent: int) -> FabricBlock:
    # A block of one branch upon a block of another.
    return replace(_block(number, *transactions, branch=branch), previous_hash=hash_of(number - 1, parent))


def test_what_is_forgotten_is_asked_for_again() -> None:
    lease = "0x" + hash_of(7).hex()
    honest = _transaction(0, payload_of(event_of(3)), seconds=130)
    peer = _Peer(
        _block(0),
        _block(1, _transaction(0, payload_of(event_of(1)), seconds=110)),
        _block(2, _transaction(0, payload_of(event_of(2)), seconds=120)),
        _branch(3, 9, _transaction(0, payload_of(event_of(4), event_of(5), leases=[lease]), seconds=900), parent=0),
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

    _follow(peer, scene)
    assert peer.seeks[-1] == 3


def test_what_was_wrong_before_the_events_that_showed_it_is_forgotten_too() -> None:
    event = _transaction(0, payload_of(event_of(1)))
    peer = _Peer(_block(0), _branch(1, 9, parent=0), _branch(2, 9, event, parent=9))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known[1:] = [_block(1), _block(2, event)]
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

    _follow(peer, scene)


def test_forgetting_while_others_read_keeps_the_order() -> None:
    blocks = [_block(0), *(_block(n, _transaction(0, payload_of(event_of(n)))) for n in range(1, 9))]
    peer = _Peer(*blocks)

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        await asyncio.gather(*(index.forget(n) if n % 2 else index.advance() for n in range(1, 9)))
        await index.advance()
        assert [index.hash_at(n) for n in range(9)] == [block.hash for block in blocks]
        assert [e.item.sequence for e in await index.events(1, 99)] == list(range(1, 9))

    _follow(peer, scene)


def test_leases_by_height() -> None:
    words = ["0x" + hash_of(n).hex() for n in range(3)]
    peer = _Peer(
        _block(0),
        _block(1, _transaction(0, payload_of(leases=words[:1]))),
        _block(2),
        _block(3, _transaction(0, payload_of(event_of(1), leases=words[1:]))),
    )

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        expected = {0: [0, 1, 2], 1: [1, 2], 2: [1, 2], 3: [], 9: []}
        for height, numbers in expected.items():
            assert index.leases_above(height) == tuple(hash_of(n) for n in numbers)

    _follow(peer, scene)


def test_ids_of_batches_are_found_by_root() -> None:
    peer = _Peer(
        _block(0),
        _block(1, _transaction(0, payload_of(event_of(1), batches=[batch_of(5, 6), batch_of(7)]))),
        _block(2, _transaction(0, payload_of(batches=[batch_of(8)]), code=ValidationCode.MVCC_READ_CONFLICT)),
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

    _follow(peer, scene)


def test_ids_of_older_batches_are_read_again_from_their_blocks() -> None:
    batches = [_block(n, _transaction(0, payload_of(batches=[batch_of(n)]))) for n in range(1, 100)]
    peer = _Peer(_block(0), *batches)

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        assert await index.batch_ids(batch_root(ids_of(99))) == ids_of(99)
        assert peer.seeks == [0]
        assert await index.batch_ids(batch_root(ids_of(3))) == ids_of(3)
        assert peer.seeks == [0, 3]
        peer.blocks_known[4] = _block(4)
        with pytest.raises(BrokenLedger):
            await index.batch_ids(batch_root(ids_of(4)))

    _follow(peer, scene)


def test_rejects_ids_that_do_not_make_their_root() -> None:
    root = batch_root(ids_of(5, 6))
    peer = _Peer(_block(0), _block(1, _transaction(0, payload_of(batches=[batch_of(6, 5, root=root)]))))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        with pytest.raises(BrokenLedger):
            await index.batch_ids(root)

    _follow(peer, scene)


def test_peer_that_stalls_is_unavailable_and_read_on_later() -> None:
    peer = _Peer(_block(0), _block(1, _transaction(0, payload_of(event_of(1)))), _block(2))
    peer.stalls_at = 2

    async def scene(index: BlockIndex) -> None:
        with pytest.raises(ChainUnavailable):
            await index.advance()
        assert index.height == 1
        peer.stalls_at = None
        await index.advance()
        assert (index.height, len(await index.events(1, 9))) == (2, 1)

    _follow(peer, scene)
    assert peer.seeks == [0, 2]


def test_peer_that_is_down_is_unavailable() -> None:
    peer = _Peer(_block(0))
    peer.failure = EvaluateUnavailable("UNAVAILABLE", "down")

    async def scene(index: BlockIndex) -> None:
        with pytest.raises(ChainUnavailable):
            await index.advance()
        with pytest.raises(ChainUnavailable):
            await index.verify_chain()

    _follow(peer, scene)
    assert peer.seeks == []


def test_peer_that_lags_behind_what_it_showed_is_waited_for() -> None:
    peer = _Peer(_block(0), _block(1, _transaction(0, payload_of(event_of(1)))), _block(2))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known = peer.blocks_known[:2]
        await index.advance()
        assert (index.height, len(await index.events(1, 9))) == (2, 1)

    _follow(peer, scene)


@pytest.mark.parametrize("height", [1, 2])
def test_rejects_a_peer_that_shows_another_branch(height: int) -> None:
    peer = _Peer(_block(0), _block(1), _block(2))

    async def scene(index: BlockIndex) -> None:
        await index.advance()
        peer.blocks_known = [*peer.blocks_known[:height], _block(height, branch=1)]
        with pytest.raises(BrokenLedger):
            await index.advance()

    _follow(peer, scene)


@pytest.mark.parametrize("failure", [BrokenBlockChain("x"), DeliverRefused("x")])
def test_rejects_a_stream_that_no_ledger_has(failure: FabricError) -> None:
    peer = _Peer(_block(0))
    peer.failure = failure

    async def scene(index: BlockIndex) -> None:
        with pytest.raises(BrokenLedger):
            await index.advance()

    _follow(peer, scene)


def test_rejects_another_channel_every_time() -> None:
    peer = _Peer(_block(0), _block(1), _block(2))

    async def scene(index: BlockIndex) -> None:
        for act in (index.advance, index.verify_chain, index.advance):
            with pytest.raises(WrongChain) as caught:
                await act()
            assert caught.value.values == (keccak256(b"another"), _CHAIN)
            assert caught.value.__notes__ == [f"the peer is of {fabric_chain_id(hash_of(0))}"]
            assert index.height == -1

    _follow(peer, scene, chain=keccak256(b"another"))
    assert peer.seeks == [0, 0, 0]


def test_rejects_a_malformed_event_every_time_and_takes_nothing_of_its_block() -> None:
    good, bad = _transaction(0, payload_of(event_of(1), leases=["0x" + hash_of(1).hex()])), _transaction(1, b"{}")
    peer = _Peer(_block(0), _block(1, good, bad), _block(2))

    async def scene(index: BlockIndex) -> None:
        for _ in range(2):
            with pytest.raises(BrokenLedger):
                await index.advance()
            assert (index.height, await index.events(1, 9), index.leases_above(0)) == (0, (), ())

    _follow(peer, scene)


def test_rejects_an_event_of_another_name() -> None:
    peer = _Peer(_block(0), _block(1, _transaction(0, payload_of(event_of(1)), name="Caimi")))

    async def scene(index: BlockIndex) -> None:
        with pytest.raises(BrokenLedger):
            await index.advance()

    _follow(peer, scene)
