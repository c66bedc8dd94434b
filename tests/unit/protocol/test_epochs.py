"""Three registries change their validators twice while they work, in random orders of calls (spec 42)."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from caimi.crypto.quorum import quorum_size
from caimi.protocol.epochs import MAX_LANES
from caimi.protocol.publication import State
from caimi.protocol.registry import Registry
from caimi.protocol.registry_state import RegistryConfig
from caimi.types.errors import (
    BadSetChange,
    NotAcknowledged,
    Refusal,
    TooFewSignatures,
    UnknownSet,
    WrongEpoch,
    WrongSigner,
)
from caimi.types.primitives import Address, Bytes32, Epoch, Generation, PublicationId, SignerIndex, UnixSeconds
from caimi.types.records import Certificate, Checkpoint, EpochSet, Item, Kind, Lane, SetChange, Signature
from caimi.wire.codec import Record
from caimi.wire.digests import lane_hash, leaf_hash, typed_digest
from caimi.wire.merkle import merkle_root
from tests.conformance.scenario import Signer, genesis, key, word

NOW = UnixSeconds(1_800_000_000)
LANES = tuple(sorted(Lane(chain=word(f"chain {n}"), registry=word(f"registry {n}")) for n in range(3)))
ROOT, *MIRRORS = LANES
SETS = {
    1: tuple(key(f"validator {n}") for n in range(4)),
    2: tuple(key(f"second {n}") for n in range(7)),
    5: (key("second 2"), *(key(f"third {n}") for n in range(3))),
}
"""By epoch; 3 and 4 are left out."""
F = {1: 1, 2: 2, 5: 1}
FOLLOWING = {1: 2, 2: 5}


def epoch_set(number: int) -> EpochSet:
    return EpochSet(
        epoch=Epoch(number),
        validators=tuple(k.address for k in SETS[number]),
        f=F[number],
        t=F[number] + 1,
        transcript=word(f"transcript {number}"),
    )


@dataclass
class World:
    """The registries and what is asked of them."""

    registries: dict[Lane, Registry] = field(default_factory=dict[Lane, Registry])
    locked: list[PublicationId] = field(default_factory=list[PublicationId])

    def __post_init__(self) -> None:
        for lane in LANES:
            config = RegistryConfig(lane=lane, genesis=genesis(word("root")), min_deposit=1, clock_window=30, root=ROOT)
            self.registries[lane] = Registry.create(config)
        self.network = self.registries[ROOT].network
        self.publisher = Signer(network=self.network, key=key("publisher"), label="publisher")
        for registry in self.registries.values():
            registry.state.balances[self.publisher.address] = 10_000

    @property
    def root(self) -> Registry:
        return self.registries[ROOT]

    def epoch(self, lane: Lane) -> int:
        return self.registries[lane].state.epoch

    def signed(self, epoch: int, record: Record, count: int | None = None) -> tuple[Signature, ...]:
        digest, keys = typed_digest(self.network, record), SETS[epoch]
        many = quorum_size(len(keys), F[epoch]) if count is None else count
        return tuple(keys[n].sign(digest).as_record(SignerIndex(n)) for n in range(many))

    def certificate(self, source: Lane, items: tuple[Item, ...], epoch: int) -> Certificate:
        point = Checkpoint(
            source=source,
            generation=Generation(1),
            epoch=Epoch(epoch),
            first_sequence=items[0].sequence,
            last_sequence=items[-1].sequence,
            root=merkle_root([leaf_hash(source, item) for item in items]),
            height=1,
            block_hash=word("block"),
        )
        return Certificate(checkpoint=point, signatures=self.signed(epoch, point))

    def carry(self, source: Lane, target: Lane, epoch: int, window: slice = slice(None)) -> None:
        items = tuple(self.registries[source].state.events[window])
        if items:
            self.registries[target].apply_run(self.certificate(source, items, epoch), items, (), now=NOW)

    def order(self, ends: int, begins: int, lanes: tuple[Lane, ...] = tuple(MIRRORS)) -> SetChange:
        return SetChange(at=ROOT, epoch=Epoch(ends), next=epoch_set(begins), lanes=lanes)

    def change(self, ends: int, begins: int) -> None:
        order = self.order(ends, begins)
        self.root.change_set(order, self.signed(ends, order), self.signed(begins, order), now=NOW)

    def lock(self, home: Lane, mirror: Lane) -> None:
        number = len(self.locked)
        publication = self.publisher.publication(home=home, mirror=mirror, deadline=NOW + 1000, tag=f"{number}")
        signature = self.publisher.sign(publication)
        for lane in (home, mirror):
            self.registries[lane].lock_model(publication, signature, now=NOW)
        self.locked.append(self.publisher.identifier(publication))


def step(world: World, rng: random.Random) -> None:
    """Some call, which may be refused: nobody plans."""
    source, target = rng.sample(LANES, 2)
    match rng.randrange(8):
        case 0:
            world.change(*rng.choice(tuple(FOLLOWING.items())))
        case 1:
            world.registries[target].enter_set(epoch_set(rng.choice((2, 5))), now=NOW)
        case 2:
            world.registries[target].retire_set(now=NOW)
        case 3 if len(world.locked) < 12:
            world.lock(source, target)
        case _:
            first = rng.randrange(4)
            window = slice(first, first + rng.randrange(1, 8)) if rng.randrange(2) else slice(None)
            world.carry(source, target, rng.choice((1, 2, 5)), window)


def check(world: World) -> None:
    """A registry is never ahead of the root, nor more than the root's set before behind it; retired means entered."""
    epochs = world.root.state.epochs
    allowed = {epochs.present.epoch} | ({epochs.before.epoch} if epochs.before is not None else set[Epoch]())
    assert {world.epoch(lane) for lane in LANES} <= allowed
    for lane in MIRRORS:
        before = world.registries[lane].state.epochs.before
        assert before is None or FOLLOWING[before.epoch] == world.epoch(lane)


def drain(world: World) -> None:
    """Carry everything everywhere, under whatever epoch is taken, until nothing changes."""
    for _ in range(2):
        for source in LANES:
            for target in LANES:
                if source != target:
                    world.carry(source, target, world.epoch(target))
        for lane in MIRRORS:
            announced = world.registries[lane].state.epochs.announced
            if announced is not None:
                world.registries[lane].enter_set(epoch_set(announced.epoch), now=NOW)


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_calls_ends_in_one_epoch_with_every_publication_decided(seed: int) -> None:
    rng, world = random.Random(seed), World()
    for _ in range(120):
        with suppress(Refusal):
            step(world, rng)
        check(world)
    for ends, begins in FOLLOWING.items():
        drain(world)
        if world.root.state.epochs.before is not None:
            world.root.retire_set(now=NOW)
        drain(world)
        if world.epoch(ROOT) == ends:
            world.change(ends, begins)
    drain(world)
    world.root.retire_set(now=NOW)
    drain(world)
    assert {world.epoch(lane) for lane in LANES} == {5}
    assert all(registry.state.epochs.before is None for registry in world.registries.values())
    for registry in world.registries.values():
        assert all(p.state is State.COMMITTED for p in registry.state.publications.values())
    for target in LANES:
        for epoch in (1, 2):
            with pytest.raises(WrongEpoch) as caught:
                world.carry(next(lane for lane in LANES if lane != target), target, epoch)
            assert caught.value.values == (5, epoch)


def test_some_order_meets_both_sets_at_work() -> None:
    # The test above is worth something only if runs of both sets are applied between a change and its retirement.
    world = World()
    world.lock(ROOT, MIRRORS[0])
    world.change(1, 2)
    world.carry(ROOT, MIRRORS[0], 1)
    world.registries[MIRRORS[0]].enter_set(epoch_set(2), now=NOW)
    world.carry(MIRRORS[0], ROOT, 1, slice(0, 1))
    world.carry(ROOT, MIRRORS[0], 2)
    kept = world.registries[MIRRORS[0]].state
    assert [p.state for p in kept.publications.values()] == [State.COMMITTED]
    assert kept.epochs.before is not None


def test_the_old_set_cannot_speak_for_the_new_one() -> None:
    # An entry, or a retirement, under the old certificate leaves no mark: the true one is not lost by it.
    world, mirror = World(), MIRRORS[0]
    world.change(1, 2)
    for lane in MIRRORS:
        world.carry(ROOT, lane, 1)
        world.registries[lane].enter_set(epoch_set(2), now=NOW)
        world.carry(lane, ROOT, 1)
    with pytest.raises(NotAcknowledged) as caught:
        world.root.retire_set(now=NOW)
    assert caught.value.values == (lane_hash(mirror),)
    for lane in MIRRORS:
        world.carry(lane, ROOT, 2)
    world.root.retire_set(now=NOW)
    world.carry(ROOT, mirror, 1)
    assert world.registries[mirror].state.epochs.before is not None
    world.carry(ROOT, mirror, 2)
    assert world.registries[mirror].state.epochs.before is None


def test_a_quorum_of_the_old_set_alone_changes_nothing() -> None:
    world = World()
    order = world.order(1, 2)
    old = world.signed(1, order)
    with pytest.raises(TooFewSignatures) as few:
        world.root.change_set(order, old, world.signed(2, order, 4), now=NOW)
    assert few.value.values == (5, 4)
    thief = key("thief").sign(typed_digest(world.network, order)).as_record(SignerIndex(4))
    with pytest.raises(WrongSigner) as wrong:
        world.root.change_set(order, old, (*world.signed(2, order, 4), thief), now=NOW)
    assert wrong.value.values == (SETS[2][4].address, key("thief").address)
    assert world.epoch(ROOT) == 1
    assert not world.root.state.events


def test_a_set_is_entered_once_the_root_said_so_and_not_before() -> None:
    world = World()
    mirror = world.registries[MIRRORS[0]]
    world.change(1, 2)
    with pytest.raises(UnknownSet):
        mirror.enter_set(epoch_set(2), now=NOW)
    world.carry(ROOT, MIRRORS[0], 1)
    other = Address(bytes(19) + b"\x01")
    with pytest.raises(UnknownSet):
        mirror.enter_set(EpochSet(epoch=Epoch(2), validators=(other,) * 4, f=1, t=2, transcript=word("x")), now=NOW)
    mirror.enter_set(epoch_set(2), now=NOW)
    assert [item.event.kind for item in mirror.state.events] == [Kind.SET_ENTERED]


@pytest.mark.parametrize(("count", "is_lawful"), [(MAX_LANES, True), (MAX_LANES + 1, False)])
def test_how_many_lanes_a_change_waits_for(count: int, is_lawful: bool) -> None:
    world = World()
    lanes = tuple(Lane(chain=word("many"), registry=Bytes32(n.to_bytes(32, "big"))) for n in range(count))
    order = world.order(1, 2, lanes)
    if is_lawful:
        world.root.change_set(order, world.signed(1, order), world.signed(2, order), now=NOW)
        assert world.epoch(ROOT) == 2
        return
    with pytest.raises(BadSetChange):
        world.root.change_set(order, world.signed(1, order), world.signed(2, order), now=NOW)
