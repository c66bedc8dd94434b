"""What a validator signs, and what it never signs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from caimi.crypto.ecdsa import EcdsaSignature, recover
from caimi.ports.agreement import AgreeingReader
from caimi.ports.attestation_store import LaneLife, ValidatorStep
from caimi.ports.chain import FinalEvent
from caimi.ports.crash import NoCrash
from caimi.ports.metrics import FINALITY_ALARMS
from caimi.ports.validators import Abstains, NotYet
from caimi.simulators.chain import SimulatedNode
from caimi.storage.sqlite_attestations import SqliteAttestationStore
from caimi.types.errors import CaimiError, EmptyRun, RunTooLong, WrongGeneration
from caimi.types.primitives import Bytes32, Epoch, Generation, Sequence, SignerIndex
from caimi.types.records import Checkpoint, Signature
from caimi.validator.attestor import Attestor, Seat
from caimi.validator.lane import LaneCondition, LaneStatus, SourceLane
from caimi.wire.digests import leaf_hash, typed_digest
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from caimi.wire.merkle import merkle_root
from tests.unit.relay.faulty_ports import FaultyPort
from tests.unit.relay.world import Crashed, Stop, World, run

ONE = Generation(1)


class Bench:
    """A world whose "ethereum" holds some events, and one validator that reads it."""

    def __init__(self, world: World, *, reader: Any = None, path: str = ":memory:", crash: Any = None) -> None:
        self.world = world
        self.reader = reader or world.port("ethereum", "v")
        self.path = path
        self.lane = world.lane("ethereum")
        self.ledger = world.ledgers["ethereum"]
        self.open(crash)

    def open(self, crash: Any = None) -> None:
        if hasattr(self, "store"):
            self.store.close()
        self.store = SqliteAttestationStore(self.path, crash=crash or NoCrash())
        self.world.attestation_stores.append(self.store)
        source = SourceLane(name="ethereum", reader=self.reader, generation=ONE, sources=1, note="a note")
        self.attestor = Attestor(
            Seat(network=self.world.network, epoch=Epoch(1), signer=SignerIndex(2), root=self.world.lane("fabric")),
            key=self.world.validator_keys[2],
            sources=[source],
            store=self.store,
            clock=self.world.clock,
            observer=self.world.observer,
        )

    async def events(self, count: int, *, tag: bytes = b"") -> None:
        """Lock `count` publications as a mirror, one in each block, and make them final."""
        for number in range(count):
            nonce = keccak256(tag + number.to_bytes(2, "big"))
            publication, signature, _ = self.world.publication("fabric", "ethereum", nonce=nonce)
            await self.world.send("ethereum", encode_call("lockModel", publication, signature))
            self.ledger.mine()
        self.ledger.mine()
        self.ledger.mine()

    async def sign(self, first: int, last: int, generation: Generation = ONE) -> tuple[Checkpoint, Signature]:
        return await self.attestor.checkpoint(self.lane, generation, Sequence(first), Sequence(last))

    def status(self) -> LaneStatus:
        return self.attestor.status().lanes[0]


def test_signed_root_is_that_of_the_range() -> None:
    async def scenario() -> None:
        with World() as world:
            bench = Bench(world)
            await bench.events(5)
            checkpoint, signature = await bench.sign(2, 4)
            items = bench.ledger.tip.registry.state.events[1:4]
            block = next(b for b in bench.ledger.blocks if items[2] in [e.item for e in b.events])
            assert checkpoint == Checkpoint(
                source=bench.lane,
                generation=ONE,
                epoch=Epoch(1),
                first_sequence=Sequence(2),
                last_sequence=Sequence(4),
                root=merkle_root([leaf_hash(bench.lane, item) for item in items]),
                height=block.height,
                block_hash=block.hash,
            )
            digest = typed_digest(world.network, checkpoint)
            assert recover(digest, EcdsaSignature.from_record(signature)) == world.validator_keys[2].address
            assert signature.signer == 2

    run(scenario())


def test_repeated_and_overlapping_ranges_give_equal_bytes() -> None:
    async def scenario() -> None:
        with World() as world:
            bench = Bench(world)
            await bench.events(6)
            first = await bench.sign(1, 4)
            await bench.sign(3, 6)
            await bench.sign(2, 2)
            assert await bench.sign(1, 4) == first
            bench.open()
            assert await bench.sign(1, 4) == first

    run(scenario())


@pytest.mark.parametrize(
    ("first", "last", "generation", "error"),
    [
        (0, 1, 1, EmptyRun),
        (3, 2, 1, EmptyRun),
        (1, 1025, 1, RunTooLong),
        (1, 1, 2, WrongGeneration),
        (1, 1, 0, WrongGeneration),
    ],
)
def test_rejects_range(first: int, last: int, generation: int, error: type[CaimiError]) -> None:
    async def scenario() -> None:
        with World() as world:
            bench = Bench(world)
            await bench.events(1)
            with pytest.raises(error):
                await bench.sign(first, last, Generation(generation))

    run(scenario())


def test_rejects_lane_that_is_not_read() -> None:
    async def scenario() -> None:
        with World() as world:
            bench = Bench(world)
            with pytest.raises(Abstains):
                await bench.attestor.checkpoint(world.lane("fabric"), ONE, Sequence(1), Sequence(1))

    run(scenario())


def test_what_is_not_final_is_not_signed() -> None:
    async def scenario() -> None:
        with World() as world:
            bench = Bench(world)
            await bench.events(2)
            await bench.sign(1, 2)
            publication, signature, _ = world.publication("fabric", "ethereum", nonce=keccak256(b"late"))
            await world.send("ethereum", encode_call("lockModel", publication, signature))
            bench.ledger.mine()
            for _ in range(2):
                with pytest.raises(NotYet):
                    await bench.sign(1, 3)
                bench.ledger.mine()
            assert (await bench.sign(1, 3))[0].last_sequence == 3

    run(scenario())


def test_nothing_is_recorded_for_a_range_that_is_not_final() -> None:
    async def scenario() -> None:
        with World() as world:
            bench = Bench(world)
            await bench.events(2)
            with pytest.raises(NotYet):
                await bench.sign(1, 3)
            life = LaneLife(lane=bench.lane, generation=ONE)
            assert bench.store.highest_attested(life) is None
            assert not bench.store.attested_leaves(life, Sequence(1), Sequence(9))

    run(scenario())


def test_final_block_that_was_not_signed_may_change() -> None:
    async def scenario() -> None:
        with World() as world:
            bench = Bench(world)
            await bench.events(3)
            await bench.attestor.turn()
            bench.ledger.reorganise(5)
            bench.ledger.drop_pool()
            await bench.events(3, tag=b"other")
            with pytest.raises(NotYet, match="not on the chain"):
                await bench.sign(1, 3)
            checkpoint, _ = await bench.sign(1, 3)
            items = bench.ledger.tip.registry.state.events
            assert checkpoint.root == merkle_root([leaf_hash(bench.lane, item) for item in items])

    run(scenario())


def test_index_never_mixes_two_branches() -> None:
    async def scenario() -> None:
        with World() as world:
            bench = Bench(world)
            await bench.events(3)
            await bench.attestor.turn()
            bench.ledger.reorganise(5)
            bench.ledger.drop_pool()
            await bench.events(5, tag=b"other")
            await bench.attestor.turn()
            checkpoint, _ = await bench.sign(1, 5)
            items = bench.ledger.tip.registry.state.events
            assert checkpoint.root == merkle_root([leaf_hash(bench.lane, item) for item in items])

    run(scenario())


def test_chain_that_breaks_signed_finality_halts_the_lane_for_good(tmp_path: Path) -> None:
    async def scenario() -> None:
        with World() as world:
            bench = Bench(world, path=str(tmp_path / "validator.sqlite"))
            await bench.events(3)
            first = await bench.sign(1, 3)
            bench.ledger.reorganise(5)
            bench.ledger.drop_pool()
            await bench.events(3, tag=b"other")
            await bench.attestor.turn()
            status = bench.status()
            assert status.condition is LaneCondition.HALTED
            assert f"block {first[0].height}: 0x{first[0].block_hash.hex()} was signed" in status.cause
            for bounds in ((1, 3), (1, 1)):
                with pytest.raises(Abstains, match="halted"):
                    await bench.sign(*bounds)
            # Neither time nor a restart ends it.
            for _ in range(3):
                bench.ledger.mine()
                await bench.attestor.turn()
            bench.open()
            assert bench.status().condition is LaneCondition.HALTED
            with pytest.raises(Abstains, match="halted"):
                await bench.sign(1, 3)
            assert (FINALITY_ALARMS, {"lane": "ethereum"}) in world.observer.counts

    run(scenario())


def test_other_leaf_for_a_signed_number_is_refused_even_on_a_matching_block() -> None:
    # A node that keeps block hashes but changes an event: the branch check cannot see it, the record of leaves can.
    class Changes(FaultyPort):
        changes = False

        async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
            events = await self.port.events(first, limit)
            if not type(self).changes:
                return events
            return tuple(
                dataclasses.replace(
                    e,
                    item=dataclasses.replace(
                        e.item, event=dataclasses.replace(e.item.event, subject=keccak256(e.item.event.subject))
                    ),
                )
                if e.item.sequence == 2
                else e
                for e in events
            )

    async def scenario() -> None:
        with World() as world:
            bench = Bench(world, reader=Changes(world.port("ethereum", "v")))
            await bench.events(3)
            await bench.sign(1, 2)
            Changes.changes = True
            bench.store.rewind(ValidatorStep.REWOUND, LaneLife(lane=bench.lane, generation=ONE))
            bench.ledger.mine()
            with pytest.raises(Abstains, match="event 2: "):
                await bench.sign(1, 3)
            with pytest.raises(Abstains, match="halted"):
                await bench.sign(1, 1)
            assert bench.status().condition is LaneCondition.HALTED
            life = LaneLife(lane=bench.lane, generation=ONE)
            assert set(bench.store.attested_leaves(life, Sequence(1), Sequence(9))) == {1, 2}

    run(scenario())


def test_other_hash_for_a_signed_height_is_refused() -> None:
    # Two events of one block, of which a node tells two hashes, each time consistently.
    class TwoFaced(FaultyPort):
        lies = False

        async def block_hash(self, height: int) -> Bytes32 | None:
            there = await self.port.block_hash(height)
            return keccak256(there) if type(self).lies and there and height == type(self).height else there

        height = -1

        async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
            events = await self.port.events(first, limit)
            hashes = [await self.block_hash(e.height) or e.block_hash for e in events]
            return tuple(dataclasses.replace(e, block_hash=h) for e, h in zip(events, hashes, strict=True))

    async def scenario() -> None:
        with World() as world:
            bench = Bench(world, reader=TwoFaced(world.port("ethereum", "v")))
            await bench.events(4)
            low, _ = await bench.sign(1, 2)
            await bench.sign(3, 4)
            TwoFaced.height, TwoFaced.lies = low.height, True
            bench.store.rewind(ValidatorStep.REWOUND, LaneLife(lane=bench.lane, generation=ONE))
            bench.ledger.mine()
            with pytest.raises(Abstains, match=f"block {low.height}: "):
                await bench.sign(2, 2)
            assert bench.status().condition is LaneCondition.HALTED

    run(scenario())


def test_chain_below_the_signed_height_stalls_and_recovers() -> None:
    async def scenario() -> None:
        with World() as world:
            node = SimulatedNode(ledger=world.ledgers["ethereum"])
            world.nodes["ethereum"] = node
            bench = Bench(world)
            await bench.events(3)
            signed = await bench.sign(1, 3)
            node.behind = 4
            await bench.attestor.turn()
            assert bench.status().condition is LaneCondition.STALLED
            with pytest.raises(NotYet):
                await bench.sign(1, 3)
            node.behind = 0
            await bench.attestor.turn()
            assert bench.status().condition is LaneCondition.FOLLOWING
            assert await bench.sign(1, 3) == signed

    run(scenario())


class Liar(FaultyPort):
    """A second node that, while told to, shows another event 2."""

    lies = False

    async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        events = await self.port.events(first, limit)
        if not self.lies:
            return events
        return tuple(
            dataclasses.replace(e, block_hash=keccak256(e.block_hash)) if e.item.sequence == 2 else e for e in events
        )


def test_disagreeing_sources_make_it_abstain_until_they_agree_again() -> None:
    async def scenario() -> None:
        with World() as world:
            liar = Liar(world.port("ethereum", "liar"))
            liar.lies = True
            reader: Any = AgreeingReader([world.port("ethereum", "v"), liar])  # pyright: ignore[reportArgumentType]
            bench = Bench(world, reader=reader)
            await bench.events(3)
            await bench.attestor.turn()
            assert bench.status().condition is LaneCondition.ABSTAINING
            assert "SourcesDisagree" in bench.status().cause
            with pytest.raises(Abstains, match="SourcesDisagree"):
                await bench.sign(1, 3)
            life = LaneLife(lane=bench.lane, generation=ONE)
            assert bench.store.highest_attested(life) is None
            liar.lies = False
            assert (await bench.sign(1, 3))[0].last_sequence == 3
            assert bench.status().condition is LaneCondition.FOLLOWING
            assert bench.status().cause == ""

    run(scenario())


def test_one_bad_lane_does_not_keep_the_others_from_being_signed() -> None:
    async def scenario() -> None:
        with World() as world:
            await world.fund("fabric", 100)
            publication, signature, _ = world.publication("fabric", "ethereum")
            await world.send("fabric", encode_call("lockModel", publication, signature))
            world.ledgers["fabric"].mine()
            world.nodes["ethereum"].is_up = False
            attestor = world.attestor(0)
            await attestor.turn()
            conditions = {lane.name: lane.condition for lane in attestor.status().lanes}
            assert conditions == {"fabric": LaneCondition.FOLLOWING, "ethereum": LaneCondition.UNREACHABLE}
            await attestor.checkpoint(world.lane("fabric"), ONE, Sequence(1), Sequence(1))
            with pytest.raises(Abstains):
                await attestor.checkpoint(world.lane("ethereum"), ONE, Sequence(1), Sequence(1))

    run(scenario())


def test_gap_in_a_nodes_answer_is_not_indexed() -> None:
    class Withholds(FaultyPort):
        async def events(self, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
            return tuple(e for e in await self.port.events(first, limit) if e.item.sequence != 2)

    async def scenario() -> None:
        with World() as world:
            bench = Bench(world, reader=Withholds(world.port("ethereum", "v")))
            await bench.events(3)
            with pytest.raises(Abstains, match="gapless"):
                await bench.sign(1, 1)
            assert bench.store.tail(LaneLife(lane=bench.lane, generation=ONE)) is None

    run(scenario())


@pytest.mark.parametrize("step", list(ValidatorStep), ids=lambda step: step.value)
def test_validator_killed_at_a_step_signs_the_same_or_nothing(step: ValidatorStep, tmp_path: Path) -> None:
    async def scenario() -> None:
        with World() as world:
            stop = Stop(step.value)
            bench = Bench(world, path=str(tmp_path / "validator.sqlite"), crash=stop)

            async def survive(first: int, last: int) -> tuple[Checkpoint, Signature] | None:
                try:
                    return await bench.sign(first, last)
                except Crashed:
                    bench.open(stop)
                except (NotYet, Abstains):
                    pass
                return None

            await bench.events(3)
            signed = [await survive(1, 2) for _ in range(3)]
            assert len({s for s in signed if s}) == 1
            # Final blocks that were signed are taken back, then the chain is as before but for its hashes.
            bench.ledger.reorganise(5)
            after = [await survive(1, 3) for _ in range(4)]
            await bench.events(2, tag=b"more")
            after += [await survive(1, 3) for _ in range(4)]
            assert set(after) == {None}
            assert bench.status().condition is LaneCondition.HALTED
            assert stop.left <= 0, f"{step.value} was not reached: {stop.seen}"

    run(scenario())
