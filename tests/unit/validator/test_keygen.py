"""Key generation by four validators over a board: faults of the board, kills at every persisted step."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from caimi.crypto.dkg_messages import Phase
from caimi.ports.chain import ChainUnavailable
from caimi.ports.key_vault import KeyStep
from caimi.types.errors import AlreadyPosted, WrongEpoch, WrongRegistry, WrongSigner
from caimi.types.primitives import Epoch
from caimi.types.records import BoardPost
from caimi.wire.digests import typed_digest
from caimi.wire.functions import encode_call
from caimi.wire.keccak import keccak256
from tests.unit.relay.world import Crashed, Stop, key, run
from tests.unit.validator.key_world import EPOCH, KeyWorld

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


def test_rejects_a_second_life_with_another_seed() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            world.start_validators()
            for validator in world.validators:
                await validator.generation.turn()
            lost = world.validators[0]
            lost.vault.close()
            lost.start()
            lost.generation._entropy = type(lost.generation._entropy)("another seed")  # pyright: ignore[reportCallIssue]
            world.board.posts.pop((EPOCH, Phase.COMMIT, 4))
            with pytest.raises(AlreadyPosted):
                await lost.generation.turn()

    run(scenario())


def test_a_message_of_another_session_names_its_sender() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            world.start_validators()
            body = b"\x01\x01" + bytes(32) + b"\x02" + bytes(129)
            world.board.posts[EPOCH, Phase.COMMIT, 2] = body
            first = world.validators[0].generation
            assert await first.turn() is None
            status = first.status()
            assert status.fault is not None
            assert status.fault.startswith("validator 2: ")
            assert 2 in status.waits_for

    run(scenario())


def test_a_node_that_shows_later_messages_first_makes_nobody_a_culprit() -> None:
    async def scenario() -> None:
        with KeyWorld() as played:
            await played.generate()
            posts = dict(played.board.posts)
        with KeyWorld() as world:
            world.start_validators()
            late = posts.pop((EPOCH, Phase.COMMIT, 4))
            world.board.posts.update(posts)
            first = world.validators[0].generation
            assert await first.turn() is None
            assert (first.status().phase, first.status().waits_for, first.status().fault) == ("commit", (4,), None)
            world.board.posts[EPOCH, Phase.COMMIT, 4] = late
            assert await first.turn() is not None

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
