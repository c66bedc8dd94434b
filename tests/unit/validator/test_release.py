"""Release of partials: t open the key, t-1 do not, and every reason to refuse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from caimi.crypto.capsule import Capsule, capsule_hash, seal_key
from caimi.crypto.errors import InvalidCapsule, MalformedCapsule, NotEnoughPartials
from caimi.ports.chain import ChainUnavailable
from caimi.ports.key_release import ForeignCapsule, ForeignPublication, NoShareYet, UnreadHome
from caimi.ports.key_vault import KeyStep
from caimi.ports.metrics import RELEASES
from caimi.protocol.publication import State
from caimi.types.errors import BadLease, LeaseEnded, NotCommitted, UnknownLease, WrongEpoch, WrongRegistry
from caimi.types.primitives import ZERO32, Bytes32, Epoch, PublicationId, UnixSeconds
from caimi.types.records import Publication
from caimi.validator.keys import ValidatorKeys
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call
from tests.unit.relay.world import Crashed, Stop, run
from tests.unit.validator.key_world import DATA_KEY, EPOCH, KeyWorld

Scenario = Callable[[KeyWorld, Bytes32, Publication, Capsule], Coroutine[Any, Any, None]]


def with_lease(scenario: Scenario, folder: Path | None = None) -> None:
    """Run on a network with a key, a committed publication and a lease for it."""

    async def play() -> None:
        with KeyWorld(folder) as world:
            await world.generate()
            publication, identifier, capsule = await world.committed()
            await scenario(world, world.open_lease(identifier), publication, capsule)

    run(play())


def test_t_partials_open_the_key_and_fewer_do_not() -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        assert world.key.threshold == 2
        await world.validators[0].release().release(lease, publication, capsule.to_bytes())
        with pytest.raises(NotEnoughPartials) as caught:
            world.combine(lease, publication, capsule)
        assert caught.value.faults == ()
        await world.validators[2].release().release(lease, publication, capsule.to_bytes())
        combined = world.combine(lease, publication, capsule)
        assert (combined.data_key, combined.used) == (DATA_KEY, (1, 3))

    with_lease(scenario)


def test_a_repetition_posts_the_same_bytes(tmp_path: Path) -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        validator = world.validators[0]
        release = validator.release()
        await release.release(lease, publication, capsule.to_bytes())
        first = world.board.partials[lease, 1]
        await release.release(lease, publication, capsule.to_bytes())
        assert (world.board.partials[lease, 1], release.releases) == (first, 1)
        # Even when the board lost it and the process is another one.
        del world.board.partials[lease, 1]
        validator.restart()
        await validator.release().release(lease, publication, capsule.to_bytes())
        assert world.board.partials[lease, 1] == first

    with_lease(scenario, tmp_path)


def test_a_validator_killed_after_recording_posts_what_it_recorded(tmp_path: Path) -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        validator = world.validators[0]
        validator.restart(Stop(KeyStep.RELEASE_RECORDED.value))
        with pytest.raises(Crashed):
            await validator.release().release(lease, publication, capsule.to_bytes())
        assert world.board.partials == {}
        recorded = validator.vault.released(lease)
        validator.restart()
        await validator.release().release(lease, publication, capsule.to_bytes())
        assert world.board.partials == {(lease, 1): recorded}

    with_lease(scenario, tmp_path)


def test_a_lost_answer_of_the_board_is_safe_to_repeat() -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        validator = world.validators[0]
        validator.node.answers = False
        release = validator.release()
        with pytest.raises(ChainUnavailable):
            await release.release(lease, publication, capsule.to_bytes())
        validator.node.answers = True
        await release.release(lease, publication, capsule.to_bytes())
        assert len(world.board.partials) == 1

    with_lease(scenario)


def refused(
    world: KeyWorld, error: type[Exception], *, homes: tuple[str, ...] = ("fabric", "ethereum")
) -> Callable[[Bytes32, Publication, bytes], Coroutine[Any, Any, None]]:
    """Ask the first validator; it must refuse with `error`, record nothing and post nothing."""

    async def ask(lease: Bytes32, publication: Publication, capsule: bytes) -> None:
        validator = world.validators[0]
        with pytest.raises(error) as caught:
            await validator.release(homes).release(lease, publication, capsule)
        assert type(caught.value) is error
        assert world.board.partials == {}
        assert validator.vault.releases() == 0

    return ask


def test_rejects_an_unknown_lease() -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        unknown = Bytes32(bytes(31) + b"\1")
        await refused(world, UnknownLease)(unknown, publication, capsule.to_bytes())
        # A board that shows another record under the id is not believed either.
        world.board.leases[unknown] = world.board.leases[lease]
        await refused(world, UnknownLease)(unknown, publication, capsule.to_bytes())

    with_lease(scenario)


@pytest.mark.parametrize(
    ("error", "change"),
    [
        (WrongEpoch, {"epoch": Epoch(2)}),
        (BadLease, {"purpose": 2}),
        (LeaseEnded, {"end": UnixSeconds(1_700_000_000)}),
        (WrongRegistry, {"at": "ethereum"}),
    ],
)
def test_rejects_a_lease_that_is_not_for_serving_now(error: type[Exception], change: dict[str, Any]) -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        fields = {k: world.chains.lane(v) if isinstance(v, str) else v for k, v in change.items()}
        # A board that took such a lease against its own rules.
        changed = dataclasses.replace(world.board.leases[lease], **fields)
        identifier = typed_digest(world.chains.network, changed)
        world.board.leases[identifier] = changed
        await refused(world, error)(identifier, publication, capsule.to_bytes())

    with_lease(scenario)


def test_rejects_a_lease_after_its_end() -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        world.chains.clock.advance(601)
        await refused(world, LeaseEnded)(lease, publication, capsule.to_bytes())

    with_lease(scenario)


def test_rejects_a_publication_that_is_not_committed_yet() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            await world.generate()
            await world.chains.fund("fabric", 500)
            publication, signature, identifier, capsule = world.publication()
            lease = world.open_lease(identifier)
            await refused(world, NotCommitted)(lease, publication, capsule.to_bytes())
            await world.chains.send("fabric", encode_call("lockModel", publication, signature))
            world.chains.ledgers["fabric"].mine()
            assert world.chains.state("fabric", identifier) is State.LOCKED
            await refused(world, NotCommitted)(lease, publication, capsule.to_bytes())

    run(scenario())


def test_rejects_an_aborted_publication() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            await world.generate()
            await world.chains.fund("fabric", 500)
            publication, signature, identifier, capsule = world.publication()
            lease = world.open_lease(identifier)
            await world.chains.send("fabric", encode_call("lockModel", publication, signature))
            world.chains.ledgers["fabric"].mine()
            world.chains.clock.advance(121)
            await world.chains.send("fabric", encode_call("abort", identifier))
            world.chains.ledgers["fabric"].mine()
            assert world.chains.state("fabric", identifier) is State.ABORTED
            await refused(world, NotCommitted)(lease, publication, capsule.to_bytes())

    run(scenario())


def test_rejects_a_superseded_publication_also_when_recorded_before(tmp_path: Path) -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        recorded = world.validators[1]
        recorded.restart(Stop(KeyStep.RELEASE_RECORDED.value))
        with pytest.raises(Crashed):
            await recorded.release().release(lease, publication, capsule.to_bytes())
        recorded.restart()
        await world.generate()
        await world.committed(version=2, nonce=ZERO32)
        await refused(world, NotCommitted)(lease, publication, capsule.to_bytes())
        with pytest.raises(NotCommitted):
            await recorded.release().release(lease, publication, capsule.to_bytes())
        assert world.board.partials == {}

    with_lease(scenario, tmp_path)


def test_rejects_a_publication_whose_outcome_is_not_final() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            await world.generate()
            publication, identifier, capsule = await world.committed()
            lease = world.open_lease(identifier)
            # Committed at the tip, but this node's final blocks do not have it.
            ledger = world.chains.ledgers["fabric"]
            ledger.depth = len(ledger.blocks)
            await refused(world, NotCommitted)(lease, publication, capsule.to_bytes())

    run(scenario())


def test_rejects_a_publication_that_the_tip_takes_away() -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        state = world.chains.ledgers["fabric"].tip.registry.state
        (record,) = state.publications.values()
        record.state = State.SUPERSEDED
        await refused(world, NotCommitted)(lease, publication, capsule.to_bytes())

    with_lease(scenario)


@pytest.mark.parametrize("taken_by", ["fabric", "ethereum"])
def test_rejects_what_a_registry_tells_is_revoked_before_it_is_carried(taken_by: str) -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        identifier = PublicationId(typed_digest(world.chains.network, publication))
        await world.chains.send(taken_by, world.chains.revocation(taken_by, identifier))
        for _ in range(4):
            world.chains.ledgers[taken_by].mine()
        with pytest.raises(NotCommitted) as caught:
            await world.validators[0].release().release(lease, publication, capsule.to_bytes())
        assert caught.value.values == (State.REVOKED,)
        assert world.board.partials == {}

    with_lease(scenario)


def test_a_mirror_that_is_down_stops_nobody_but_what_it_told_counts() -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        identifier = PublicationId(typed_digest(world.chains.network, publication))
        mirror, early, late = (
            world.chains.nodes["ethereum"],
            world.validators[0].release(),
            world.validators[1].release(),
        )
        mirror.is_up = False
        await early.release(lease, publication, capsule.to_bytes())
        mirror.is_up = True
        await world.chains.send("ethereum", world.chains.revocation("ethereum", identifier))
        for _ in range(4):
            world.chains.ledgers["ethereum"].mine()
        with pytest.raises(NotCommitted):
            await early.release(lease, publication, capsule.to_bytes())
        mirror.is_up = False
        with pytest.raises(NotCommitted):
            await early.release(lease, publication, capsule.to_bytes())
        await late.release(lease, publication, capsule.to_bytes())

    with_lease(scenario)


def test_rejects_bytes_of_another_publication() -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        other = dataclasses.replace(publication, version=7)
        await refused(world, ForeignPublication)(lease, other, capsule.to_bytes())

    with_lease(scenario)


def test_rejects_foreign_and_malformed_capsules() -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        label = Bytes32(b"\7" * 32)
        other = seal_key(world.key.group_key, label=label, data_key=DATA_KEY, entropy=ZERO32)
        await refused(world, ForeignCapsule)(lease, publication, other.to_bytes())
        await refused(world, MalformedCapsule)(lease, publication, capsule.to_bytes()[:-1])

    with_lease(scenario)


def test_rejects_a_capsule_that_was_sealed_under_another_label() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            await world.generate()
            # Another publisher republishes a capsule that is not made for his publication.
            foreign = seal_key(world.key.group_key, label=Bytes32(b"\7" * 32), data_key=DATA_KEY, entropy=ZERO32)
            await world.chains.fund("fabric", 500)
            record, signature, identifier = world.chains.publication(
                "fabric", "ethereum", capsule_hash=capsule_hash(foreign)
            )
            await world.commit(record, signature, identifier)
            await refused(world, InvalidCapsule)(world.open_lease(identifier), record, foreign.to_bytes())

    run(scenario())


def test_rejects_a_home_that_the_validator_does_not_read() -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        await refused(world, UnreadHome, homes=("ethereum",))(lease, publication, capsule.to_bytes())

    with_lease(scenario)


def test_rejects_while_the_home_or_the_board_is_down() -> None:
    async def scenario(world: KeyWorld, lease: Bytes32, publication: Publication, capsule: Capsule) -> None:
        world.chains.nodes["fabric"].is_up = False
        await refused(world, ChainUnavailable)(lease, publication, capsule.to_bytes())
        world.chains.nodes["fabric"].is_up = True
        world.validators[0].node.is_up = False
        await refused(world, ChainUnavailable)(lease, publication, capsule.to_bytes())

    with_lease(scenario)


def test_rejects_before_there_is_a_share() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            world.start_validators()
            validator = world.validators[0]
            keys = ValidatorKeys(
                validator.generation,
                epoch=EPOCH,
                vault=validator.vault,
                make_release=lambda share: validator.release(),
                clock=world.chains.clock,
                observer=world.chains.observer,
            )
            with pytest.raises(NoShareYet):
                keys.public()
            publication, _, _ = world.chains.publication("fabric", "ethereum")
            with pytest.raises(NoShareYet):
                await keys.release(ZERO32, publication, b"")
            assert world.chains.observer.counts[-1] == (RELEASES, {"result": "NoShareYet"})
            assert keys.status().generation.phase == "starting"
            await world.generate()
            await keys.run()
            assert keys.public().key == world.key
            assert keys.status().group_key == world.key.group_key.encode()
            with pytest.raises(UnknownLease):
                await keys.release(ZERO32, publication, b"")
            assert world.chains.observer.counts[-1] == (RELEASES, {"result": "UnknownLease"})

    run(scenario())
