"""A chain takes back final blocks of which nobody signed anything: the relay reads on where the branches part."""

from __future__ import annotations

import asyncio

import pytest

from caimi.ports.chain import FinalEvent
from caimi.ports.relay_store import CallState, DropEvents, RelayStep
from caimi.protocol.publication import State
from caimi.relay.calls import lock_key
from caimi.types.primitives import Bytes32, PublicationId, Sequence, UnixSeconds
from caimi.types.records import Funding
from caimi.validator.attestor import Attestor
from caimi.validator.lane import LaneCondition
from caimi.wire.codec import encode
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.unit.relay.faulty_ports import FaultyPort
from tests.unit.relay.world import START, World, run


class Counting(FaultyPort):
    """Counts what it is asked for."""

    def __init__(self, port: object) -> None:
        super().__init__(port)  # pyright: ignore[reportArgumentType]
        self.hashes = 0
        self.pages = 0

    async def block_hash(self, height: int) -> Bytes32 | None:
        self.hashes += 1
        return await self.port.block_hash(height)

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        self.pages += 1
        return await self.port.events(first, limit)


class Bench:
    """A relay of "ethereum", whose final blocks are two deep, without validators."""

    def __init__(self, *, validators: bool = False) -> None:
        self.world = World()
        self.ports: dict[str, Counting] = {}
        self.world.wrap = self._wrap
        if not validators:
            self.world.peers = []
        self.start()
        self.ledger = self.world.ledgers["ethereum"]
        self.lane = self.world.lane("ethereum")
        self.store = self.world.stores[0]

    def _wrap(self, name: str, port: object) -> Counting:
        self.ports[name] = Counting(port)
        return self.ports[name]

    def start(self) -> None:
        """The relay is started, for the first time or again."""
        self.world.relays[0] = self.world.relay("relay 0", self.world.stores[0])

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.world.__exit__()

    async def lock(self, tag: str, *, mirror: str = "fabric") -> PublicationId:
        """Somebody else locks a publication at home, in a block of its own."""
        publication, signature, identifier = self.world.publication(
            "ethereum", mirror, name=tag, nonce=keccak256(tag.encode()), deadline=START + 1_000
        )
        await self.world.send("ethereum", encode_call("lockModel", publication, signature))
        self.ledger.mine()
        return identifier

    def finish(self, blocks: int = 2) -> None:
        """What is there becomes final."""
        for _ in range(blocks):
            self.world.clock.advance(1)
            self.ledger.mine()

    def take_back_to(self, height: int) -> None:
        """Blocks above `height` are gone, with what was in them."""
        self.ledger.reorganise(self.ledger.tip.height - height)
        self.ledger.drop_pool()

    async def turn(self) -> None:
        """What goes back in one turn reads on in the next."""
        await self.world.relays[0].turn()
        await self.world.relays[0].turn()

    def use(self, port: Counting) -> None:
        """The relay reads the lane through another node."""
        (lane,) = (lane for lane in self.world.relays[0].lanes if lane.name == "ethereum")
        object.__setattr__(lane, "port", port)

    def stored(self) -> list[PublicationId]:
        """Subjects of the stored events."""
        return [PublicationId(f.item.event.subject) for f in self.store.followed(self.lane, Sequence(1), 100)]

    def is_as_the_chain(self) -> bool:
        """Whether what is stored is what is final, block for block."""
        stored = self.store.followed(self.lane, Sequence(1), 100)
        there = self.ledger.events(1, 100, upto=self.ledger.final)
        return [(f.item, f.block_hash) for f in stored] == [(event.item, block.hash) for event, block in there]


async def _three_locked(bench: Bench) -> tuple[list[PublicationId], int]:
    # Their ids, and the height of the first one's block.
    await bench.world.fund("ethereum", 100)
    first = await bench.lock("first")
    height = bench.ledger.tip.height
    ids = [first, await bench.lock("second"), await bench.lock("third")]
    bench.finish()
    await bench.turn()
    assert bench.stored() == ids
    return ids, height


def test_event_that_was_replaced_is_dropped_though_no_event_follows_it() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            ids, height = await _three_locked(bench)
            bench.take_back_to(height)
            other = [await bench.lock("other-second"), await bench.lock("other-third")]
            bench.finish(3)
            await bench.turn()
            assert bench.stored() == [ids[0], *other]
            assert bench.is_as_the_chain()
            assert bench.store.followed_about(ids[1]) == ()
            assert bench.world.observer.named("relay.blocks-gone") == [{"lane": "ethereum", "kept": height}]

    run(scenario())


def test_event_that_vanished_is_dropped_and_one_that_comes_in_another_block_is_stored_anew() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            ids, height = await _three_locked(bench)
            bench.take_back_to(height)
            bench.finish(6)
            await bench.turn()
            assert bench.stored() == ids[:1]
            again = await bench.lock("second")
            bench.finish()
            await bench.turn()
            assert again == ids[1]
            assert bench.stored() == ids[:2]
            assert bench.is_as_the_chain()

    run(scenario())


def test_the_same_events_in_other_blocks_are_read_again() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            ids, height = await _three_locked(bench)
            # Their transactions are in the pool, and go into one block.
            bench.ledger.reorganise(bench.ledger.tip.height - height)
            bench.finish(5)
            await bench.turn()
            assert bench.stored() == ids
            assert bench.is_as_the_chain()

    run(scenario())


def test_everything_goes_when_the_first_event_is_gone() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            await _three_locked(bench)
            bench.take_back_to(0)
            bench.finish(9)
            await bench.turn()
            assert bench.stored() == []
            assert bench.store.cursor(bench.lane, bench.world.lane("fabric")) == 0

    run(scenario())


def test_node_that_lags_takes_nothing_back() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            ids, _ = await _three_locked(bench)
            bench.world.nodes["ethereum"].behind = 3
            bench.finish(1)
            await bench.turn()
            assert bench.stored() == ids
            assert not bench.world.observer.named("relay.blocks-gone")
            bench.world.nodes["ethereum"].behind = 0
            await bench.turn()
            assert bench.stored() == ids

    run(scenario())


class KnowsNoBlock(Counting):
    """Behind one address there are several nodes: those asked for blocks and events lag."""

    async def block_hash(self, height: int) -> Bytes32 | None:
        return None

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        return ()


def test_block_that_a_node_does_not_know_is_not_gone() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            ids, _ = await _three_locked(bench)
            bench.use(KnowsNoBlock(bench.ports["ethereum"].port))
            for _ in range(3):
                bench.finish(1)
                await bench.turn()
            assert bench.stored() == ids
            assert not bench.world.observer.named("relay.blocks-gone")

    run(scenario())


class ToAndFro(Counting):
    """Several nodes on different branches: no block is ever the one that was told of before."""

    async def block_hash(self, height: int) -> Bytes32 | None:
        await super().block_hash(height)
        return keccak256(self.hashes.to_bytes(4, "big"))


def test_node_that_goes_to_and_fro_keeps_no_turn_busy() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            ids, _ = await _three_locked(bench)
            port = ToAndFro(bench.ports["ethereum"].port)
            bench.use(port)
            bench.finish(1)
            await asyncio.wait_for(bench.turn(), 5)
            assert 0 < port.hashes <= 2
            assert bench.stored() == ids

    run(scenario())


class KnowsTheOldBranch(Counting):
    """Behind one address there are two nodes: the one that is asked for single blocks is on the old branch."""

    old: dict[int, Bytes32]

    async def block_hash(self, height: int) -> Bytes32 | None:
        return self.old[height]


def test_block_that_is_gone_is_not_kept_whatever_is_said_of_it_alone() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            await bench.world.fund("ethereum", 100)
            bench.finish()
            height = bench.ledger.tip.height
            for tag in ("one", "two"):
                publication, signature, _ = bench.world.publication(
                    "ethereum", "fabric", name=tag, nonce=keccak256(tag.encode()), deadline=START + 1_000
                )
                await bench.world.send("ethereum", encode_call("lockModel", publication, signature), sender=tag)
            bench.finish(3)
            await bench.turn()
            stored = bench.store.followed(bench.lane, Sequence(1), 9)
            assert len({event.block_hash for event in stored}) == 1 < len(stored)
            port = KnowsTheOldBranch(bench.ports["ethereum"].port)
            port.old = {block.height: block.hash for block in bench.ledger.blocks}
            bench.use(port)
            bench.ledger.reorganise(bench.ledger.tip.height - height)
            bench.finish(3)
            await asyncio.wait_for(bench.turn(), 5)
            assert len(bench.stored()) == 2
            assert bench.is_as_the_chain()

    run(scenario())


def test_chain_that_is_shorter_takes_nothing_back_until_it_is_as_high_again() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            ids, height = await _three_locked(bench)
            bench.take_back_to(height)
            await bench.turn()
            assert bench.stored() == ids
            bench.finish(2)
            await bench.turn()
            assert bench.stored() == ids
            bench.finish(4)
            await bench.turn()
            assert bench.stored() == ids[:1]

    run(scenario())


def test_a_relay_that_starts_finds_out_by_the_last_event_alone() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            ids, height = await _three_locked(bench)
            bench.take_back_to(height)
            bench.finish(6)
            bench.start()
            await bench.turn()
            assert bench.stored() == ids[:1]

    run(scenario())


async def _funded(bench: Bench, amount: int) -> int:
    # By a call of the relay's, whose block tells no event and is final; the height below it.
    world = bench.world
    funding = Funding(
        at=bench.lane,
        account=world.publisher.address,
        amount=amount,
        nonce=keccak256(b"again"),
        deadline=UnixSeconds(START + 1_000),
    )
    signature = world.publisher.sign(typed_digest(world.network, funding)).to_bytes()
    await world.relays[0].intake.call(bench.lane, encode_call("fund", funding, signature))
    await bench.turn()
    below = bench.ledger.tip.height
    bench.finish(3)
    await bench.turn()
    assert bench.store.call_counts(bench.lane) == {CallState.DONE: 1}
    return below


async def _balance(bench: Bench) -> int:
    return await bench.world.port("ethereum", "v").balance(bench.world.publisher.address)


async def _is_done_again(bench: Bench, amount: int) -> None:
    assert await _balance(bench) == amount - 7
    for _ in range(4):
        await bench.turn()
        bench.finish(1)
    assert await _balance(bench) == amount


@pytest.mark.parametrize("blocks", [3, 4], ids=["as high as before", "higher"])
@pytest.mark.parametrize("has_events", [True, False])
def test_what_was_done_in_a_block_that_is_gone_is_done_again_though_no_event_told_of_it(
    has_events: bool, blocks: int
) -> None:
    async def scenario() -> None:
        with Bench() as bench:
            await bench.world.fund("ethereum", 100)
            if has_events:
                await bench.lock("below")
            bench.finish()
            below = await _funded(bench, 7)
            bench.take_back_to(below)
            bench.finish(blocks)
            await _is_done_again(bench, 97 if has_events else 107)

    run(scenario())


def test_node_that_lagged_meanwhile_hides_nothing() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            await bench.world.fund("ethereum", 100)
            below = await _funded(bench, 7)
            bench.world.nodes["ethereum"].behind = bench.ledger.final.height - below
            await bench.turn()
            bench.world.nodes["ethereum"].behind = 0
            bench.take_back_to(below)
            bench.finish(4)
            await _is_done_again(bench, 107)

    run(scenario())


def test_outcome_that_is_gone_decides_nothing_any_more() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            await bench.world.fund("ethereum", 100)
            publication, signature, identifier = bench.world.publication("ethereum", "fabric")
            await bench.world.relays[0].intake.publish(encode(publication), signature)
            await bench.turn()
            bench.finish(3)
            await bench.turn()
            height = bench.ledger.tip.height
            bench.world.clock.advance(500)
            await bench.world.send("ethereum", encode_call("abort", identifier))
            bench.finish(3)
            await bench.turn()
            row = bench.store.publication(identifier)
            assert row is not None
            assert row.outcome is State.ABORTED
            bench.take_back_to(height)
            bench.finish(4)
            await bench.turn()
            row = bench.store.publication(identifier)
            assert row is not None
            assert row.outcome is None
            assert bench.store.call(lock_key(identifier, "ethereum")) is not None

    run(scenario())


def test_one_block_is_asked_for_at_each_new_final_block_and_nothing_without_one() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            await _three_locked(bench)
            port = bench.ports["ethereum"]
            port.hashes = port.pages = 0
            for _ in range(5):
                await bench.turn()
            assert (port.hashes, port.pages) == (0, 0)
            for _ in range(4):
                bench.finish(1)
                await bench.turn()
            assert (port.hashes, port.pages) == (4, 4)

    run(scenario())


def test_the_fork_is_found_with_few_questions() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            await bench.world.fund("ethereum", 1_000)
            heights: list[int] = []
            for number in range(40):
                await bench.lock(f"model-{number}")
                heights.append(bench.ledger.tip.height)
            bench.finish()
            await bench.turn()
            bench.take_back_to(heights[20])
            bench.finish(40)
            port = bench.ports["ethereum"]
            port.hashes = 0
            await bench.turn()
            assert len(bench.stored()) == 21
            assert port.hashes <= 9

    run(scenario())


def test_what_a_node_tells_otherwise_of_the_same_block_is_left_to_a_quorum() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            ids, _ = await _three_locked(bench)
            bench.world.nodes["ethereum"].is_lying = True
            bench.finish(1)
            await bench.turn()
            assert bench.stored() == ids

    run(scenario())


class DropsMeanwhile(Counting):
    """While it is asked for a block, a quorum contradicts what is stored."""

    bench: Bench

    async def block_hash(self, height: int) -> Bytes32 | None:
        self.bench.store.write(RelayStep.REWOUND, DropEvents(lane=self.bench.lane, first=Sequence(1)))
        return await super().block_hash(height)


def test_events_that_are_dropped_while_the_fork_is_looked_for_are_read_again() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            ids, height = await _three_locked(bench)
            drops = DropsMeanwhile(bench.ports["ethereum"].port)
            drops.bench = bench
            bench.use(drops)
            bench.take_back_to(height)
            other = await bench.lock("other-second")
            bench.finish(4)
            await bench.turn()
            assert bench.stored() == [ids[0], other]
            assert bench.is_as_the_chain()

    run(scenario())


class DropsAtPages(Counting):
    """While it is asked for the next events, a quorum contradicts what is stored."""

    bench: Bench

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        page = await super().events(first, limit)
        if self.pages == 1:
            self.bench.store.write(RelayStep.REWOUND, DropEvents(lane=self.bench.lane, first=Sequence(2)))
        return page


def test_events_that_follow_what_was_dropped_meanwhile_are_read_again() -> None:
    async def scenario() -> None:
        with Bench() as bench:
            ids, _ = await _three_locked(bench)
            drops = DropsAtPages(bench.ports["ethereum"].port)
            drops.bench = bench
            bench.use(drops)
            fourth = await bench.lock("fourth")
            bench.finish()
            await bench.turn()
            assert bench.stored() == [*ids, fourth]
            assert bench.is_as_the_chain()

    run(scenario())


def test_a_branch_against_which_validators_signed_is_read_and_never_carried() -> None:
    async def scenario() -> None:
        with Bench(validators=True) as bench:
            world = bench.world
            await world.fund("ethereum", 100)
            height = bench.ledger.tip.height
            publication, signature, signed = world.publication("ethereum", "fabric", deadline=START + 1_000)
            await world.publish(publication, signature)
            await world.until(lambda: world.all_at(State.COMMITTED, signed))
            bench.take_back_to(height)
            other = world.publication("ethereum", "fabric", name="other", deadline=START + 1_000)
            await world.publish(*other[:2])
            await world.until(lambda: world.state("ethereum", other[2]) is State.COMMITTED)
            for _ in range(5):
                await world.step()
            attestor = world.peers[0]
            assert isinstance(attestor, Attestor)
            (lane,) = (lane for lane in attestor.status().lanes if lane.name == "ethereum")
            assert lane.condition is LaneCondition.HALTED
            assert bench.is_as_the_chain()
            assert other[2] in bench.stored()
            assert world.state("fabric", signed) is State.COMMITTED
            assert world.state("fabric", other[2]) is State.LOCKED

    run(scenario())
