"""Key generation by four validators over a board: faults of the board, kills at every persisted step."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from caimi.crypto.dkg_errors import BoardRewritten
from caimi.crypto.dkg_messages import Phase
from caimi.ports.chain import ChainUnavailable
from caimi.ports.key_vault import KeyStep
from caimi.types.errors import WrongEpoch, WrongRegistry, WrongSigner
from caimi.types.primitives import Epoch
from caimi.types.records import BoardPost
from caimi.validator.keygen import DEFAULT_PATIENCE_S
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.unit.relay.world import Counter, Crashed, Stop, key, run
from tests.unit.validator.key_world import EPOCH, KeyValidator, KeyWorld

GENERATING = frozenset(KeyStep) - {KeyStep.RELEASE_RECORDED}


def test_four_validators_generate_one_key() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            found = await world.generate()
            found.verify()
            keys = {v.generation.share.public.to_bytes() for v in world.validators if v.generation.share}
            assert keys == {found.to_bytes()}
            assert {v.vault.transcript(EPOCH) for v in world.validators} != {None}
            assert len({v.vault.transcript(EPOCH) for v in world.validators}) == 1
            assert [v.generation.share.index for v in world.validators if v.generation.share] == [1, 2, 3, 4]
            assert {v.generation.status().phase for v in world.validators} == {"done"}

    run(scenario())


def _steps_of_the_first() -> list[tuple[str, int]]:
    # Every (step, how often it was reached) of the first validator in a run without faults.
    seen: list[str] = []

    async def scenario() -> None:
        with KeyWorld() as world:
            stop = Stop("none")
            world.start_validators(first=stop)
            await world.generate()
            seen.extend(stop.seen)

    run(scenario())
    return [(step, seen[: place + 1].count(step)) for place, step in enumerate(seen)]


STEPS = _steps_of_the_first()


def test_every_step_of_the_generation_is_killed_at() -> None:
    assert {step for step, _ in STEPS} == {step.value for step in GENERATING}
    assert len(STEPS) >= 6


@pytest.mark.parametrize(("step", "count"), STEPS, ids=lambda value: str(value))
def test_a_validator_killed_at_a_step_goes_on_and_one_key_comes_out(step: str, count: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        with KeyWorld(tmp_path) as world:
            killed = 0
            try:
                world.start_validators(first=Stop(step, count))
            except Crashed:
                killed, world.validators = 1, []
                world.start_validators()
            first = world.validators[0]
            for _ in range(10):
                for validator in world.validators:
                    try:
                        await validator.generation.turn()
                    except Crashed:
                        killed += 1
                        first.restart()
            assert killed == 1
            keys = {v.generation.share.public.to_bytes() for v in world.validators if v.generation.share}
            assert len(keys) == 1
            assert all(v.generation.share for v in world.validators)
            first.restart()
            assert (await first.generation.turn()) is not None
            assert first.vault.generation_state(EPOCH) is None

    run(scenario())


def test_a_killed_validator_repeats_its_bytes(tmp_path: Path) -> None:
    async def scenario() -> None:
        with KeyWorld(tmp_path) as world:
            world.start_validators()
            for validator in world.validators:
                await validator.generation.turn()
            before = dict(world.board.posts)
            world.board.posts.pop((EPOCH, Phase.COMMIT, 1))
            world.validators[0].restart()
            await world.validators[0].generation.turn()
            assert world.board.posts == before

    run(scenario())


def test_an_unreachable_board_delays_and_loses_nothing() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            world.start_validators()
            node = world.validators[2].node
            node.is_up = False
            with pytest.raises(ChainUnavailable):
                await world.validators[2].generation.turn()
            for _ in range(3):
                for validator in (world.validators[i] for i in (0, 1, 3)):
                    assert await validator.generation.turn() is None
            assert world.validators[0].generation.status().waits_for == (3,)
            assert world.validators[0].generation.status().phase == "commit"
            node.is_up = True
            await world.generate()

    run(scenario())


def test_a_lost_answer_leads_to_a_harmless_repetition() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            world.start_validators()
            world.validators[1].node.answers = False
            for _ in range(10):
                for validator in world.validators:
                    try:
                        await validator.generation.turn()
                    except ChainUnavailable:
                        assert validator.index == 2
            assert all(v.generation.share for v in world.validators)
            # 4 messages of 4 phases: nobody was accused.
            assert len(world.board.posts) == 16

    run(scenario())


def test_a_second_life_with_another_seed_says_nothing_and_is_left_out() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            world.start_validators()
            for validator in world.validators:
                await validator.generation.turn()
            lost = world.validators[0]
            lost.vault.close()
            lost.start()
            lost.generation._entropy = Counter("another seed")
            for _ in range(10):
                world.chains.clock.advance(400)
                for validator in world.validators:
                    await validator.generation.turn()
            status = lost.generation.status()
            assert (status.phase, lost.generation.share) == ("left out", None)
            assert status.fault is not None
            assert "not this participant's" in status.fault
            assert all(v.generation.share for v in world.validators[1:])
            assert {index for _, phase, index in world.board.posts if phase in (2, 3, 5)} == {2, 3, 4}

    run(scenario())


def _alone(world: KeyWorld, *absent: int) -> list[KeyValidator]:
    return [validator for validator in world.validators if validator.index not in absent]


async def _turns(world: KeyWorld, validators: list[KeyValidator], count: int, *, seconds: int = 0) -> None:
    for _ in range(count):
        world.chains.clock.advance(seconds)
        for validator in validators:
            await validator.generation.turn()


def test_an_absent_validator_is_waited_for_as_long_as_the_others_have_patience() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            world.start_validators()
            present = _alone(world, 3)
            await _turns(world, present, 5)
            world.chains.clock.advance(int(DEFAULT_PATIENCE_S) - 1)
            await _turns(world, present, 2)
            assert {(phase, index) for _, phase, index in world.board.posts} == {(1, 1), (1, 2), (1, 4)}
            # The third comes in the last second: nobody votes.
            await _turns(world, world.validators, 8)
            assert all(v.generation.share for v in world.validators)
            assert len(world.board.posts) == 16

    run(scenario())


def test_the_others_vote_and_go_on_without_an_absent_validator() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            world.start_validators()
            present = _alone(world, 3)
            await _turns(world, present, 2)
            await _turns(world, present, 10, seconds=int(DEFAULT_PATIENCE_S))
            shares = [v.generation.share for v in present]
            assert all(shares)
            assert len({share.group_key for share in shares if share}) == 1
            # 3 votes in the first phase only: the later ones ask nothing of the absent one.
            assert sorted(phase for _, phase, _ in world.board.posts) == [1] * 3 + [2] * 3 + [3] * 3 + [5] * 3 + [9] * 3
            late = world.validators[2].generation
            await late.turn()
            assert (late.status().phase, late.share) == ("left out", None)
            assert len(world.board.posts) == 15

    run(scenario())


def test_a_failed_attempt_is_followed_by_the_next() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            world.start_validators()
            # Two of four post garbage: more than f, so the attempt cannot give a key.
            for index in (2, 3):
                world.post(Phase.COMMIT, index, b"garbage")
            found = await world.generate()
            found.verify()
            phases = {(phase // 16, phase % 16) for _, phase, _ in world.board.posts}
            assert phases == {(0, 1), (1, 1), (1, 2), (1, 3), (1, 5)}
            assert all(v.generation.share for v in world.validators)

    run(scenario())


def test_the_board_has_room_for_sixteen_attempts() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            world.start_validators()
            for attempt in range(16):
                for index in (2, 3):
                    world.post(16 * attempt + Phase.COMMIT, index, b"garbage")
            await _turns(world, _alone(world, 2, 3), 20)
            status = world.validators[0].generation.status()
            assert (status.attempt, status.phase, status.waits_for) == (15, "failed", ())
            assert len(world.board.posts) == 64

    run(scenario())


def test_a_message_of_another_session_names_its_sender() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            world.start_validators()
            world.post(Phase.COMMIT, 2, b"\x01\x01" + bytes(32) + b"\x02" + bytes(129))
            first = world.validators[0].generation
            assert await first.turn() is None
            status = first.status()
            assert status.fault == "seat 2: the message belongs to another session"
            assert 2 not in status.waits_for
            first = world.validators[0]
            first.restart()
            assert await first.generation.turn() is None
            assert first.generation.status().fault == status.fault

    run(scenario())


def test_a_node_that_is_behind_is_waited_for() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            world.start_validators()
            await _turns(world, world.validators, 2)
            posts = dict(world.board.posts)
            later = dict(list(posts.items())[5:])
            for place in later:
                world.board.posts.pop(place)
            first = world.validators[0].generation
            before = first._participant
            assert await first.turn() is None
            assert first._participant is before
            assert world.board.posts == dict(list(posts.items())[:5])
            world.board.posts.update(later)
            await world.generate()

    run(scenario())


def test_rejects_a_board_with_another_history() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            world.start_validators()
            await _turns(world, world.validators, 1)
            await world.validators[0].generation.turn()
            posts = list(world.board.posts.items())
            for changed in (posts[1:], [posts[1], posts[0], *posts[2:]]):
                world.board.posts.clear()
                world.board.posts.update(changed)
                with pytest.raises(BoardRewritten):
                    await world.validators[0].generation.turn()

    run(scenario())


@pytest.mark.parametrize(
    ("error", "change"),
    [
        (WrongSigner, {"index": 2}),
        (WrongEpoch, {"epoch": Epoch(2)}),
        (WrongRegistry, {"at": None}),
    ],
)
def test_the_board_rejects_a_post_that_is_not_due(error: type[Exception], change: dict[str, object]) -> None:
    with KeyWorld() as world:
        other = world.chains.lane("ethereum")
        fields: dict[str, object] = {"at": world.board.lane, "epoch": EPOCH, "phase": 1, "index": 1}
        fields |= {name: other if value is None else value for name, value in change.items()}
        post = BoardPost(**fields, body_hash=keccak256(b"x"))  # pyright: ignore[reportArgumentType]
        signature = key("validator 0").sign(typed_digest(world.chains.network, post)).to_bytes()
        with pytest.raises(error):
            world.board.run(encode_call("postBoard", post, signature, b"x"))
        assert world.board.posts == {}


def _vault_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.name.startswith("vault-1"))


def test_no_secret_lies_readable_in_the_vault(tmp_path: Path) -> None:
    async def scenario() -> None:
        with KeyWorld(tmp_path) as world:
            await world.generate()
            share = world.validators[0].generation.share
            assert share is not None
            files = _vault_bytes(tmp_path)
            assert b"validator-1" not in files
            assert share.share.reveal() not in files
            world.validators[0].vault.close()
            connection = sqlite3.connect(tmp_path / "vault-1.sqlite")
            assert connection.execute("SELECT count(*) FROM generation").fetchone() == (0,)
            connection.close()
            world.validators[0].start()

    run(scenario())
