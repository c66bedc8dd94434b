"""The audit of a key from the ledger's messages: what it finds, whom it names, and what it does not believe."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from caimi.cli.key_commands import _attempt_json, _attempt_lines, _held_line
from caimi.crypto.dkg_messages import Phase
from caimi.crypto.dkg_record import Outcome
from caimi.ports.chain import BoardMessage
from caimi.sdk.connections import Connections
from caimi.sdk.errors import ServiceAnswer, ServiceUnavailable, UnprovenKey
from caimi.sdk.json_fields import Fields
from caimi.sdk.key_audit import AuditedAttempt, audit_key, made_key
from caimi.sdk.network_keys import audit_network, held_keys
from caimi.types.failure import Certainty
from caimi.types.records import Lane
from caimi.wire.keccak import keccak256
from tests.unit.relay.world import run
from tests.unit.sdk.network_fixture import a_network
from tests.unit.validator.key_world import EPOCH, KeyWorld


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A ledger after a key generation."""

    world: KeyWorld
    messages: tuple[BoardMessage, ...]

    def audit(self, *messages: BoardMessage) -> tuple[AuditedAttempt, ...]:
        return audit_key(self.world.session, messages or self.messages, board=self.world.board.lane)


def made(*garbage: tuple[int, int]) -> Made:
    """A key generation before which somebody posted garbage, by phase and index."""

    async def scenario() -> Made:
        with KeyWorld() as world:
            world.start_validators()
            for phase, index in garbage:
                world.post(phase, index, b"garbage")
            await world.generate()
            return Made(world=world, messages=await world.validators[0].node.posts(EPOCH))

    found: list[Made] = []

    async def kept() -> None:
        found.append(await scenario())

    run(kept())
    return found[0]


@pytest.fixture(scope="module")
def honest() -> Made:
    return made()


def test_the_audit_finds_the_key_that_the_validators_hold(honest: Made) -> None:
    (attempt,) = honest.audit()
    assert (attempt.outcome, attempt.messages, attempt.faults, attempt.waits_for) == (Outcome.DONE, 16, (), ())
    assert attempt.qualified == attempt.receivers == (1, 2, 3, 4)
    assert attempt.key == made_key((attempt,)) == honest.world.key
    assert honest.world.key.group_key.encode().hex() in " ".join(_attempt_lines(attempt))
    assert _attempt_json(attempt)["group_key"] == "0x" + honest.world.key.group_key.encode().hex()


@pytest.mark.parametrize(
    ("count", "phase"), [(3, Phase.COMMIT), (4, Phase.REVEAL), (9, Phase.COMPLAINT), (14, Phase.CLOSE)]
)
def test_the_audit_of_a_run_under_way_tells_whom_it_waits_for(honest: Made, count: int, phase: Phase) -> None:
    (attempt,) = honest.audit(*honest.messages[:count])
    assert (attempt.outcome, attempt.phase, attempt.key) == (Outcome.RUNNING, phase, None)
    assert attempt.waits_for == tuple(
        i for i in range(1, 5) if i not in {m.index for m in honest.messages[count - count % 4 : count]}
    )
    assert f"waits for {attempt.waits_for[0]}" in " ".join(_attempt_lines(attempt))


def test_an_empty_board_is_an_attempt_that_waits_for_everybody(honest: Made) -> None:
    (attempt,) = audit_key(honest.world.session, (), board=honest.world.board.lane)
    assert (attempt.waits_for, attempt.messages, made_key((attempt,))) == ((1, 2, 3, 4), 0, None)


def test_the_audit_names_culprits_and_goes_on_to_the_next_attempt() -> None:
    first, second = made((Phase.COMMIT, 2), (Phase.COMMIT, 3)).audit()
    assert (first.outcome, second.outcome) == (Outcome.FAILED, Outcome.DONE)
    assert [(f.culprit, type(f).__name__, f.certainty) for f in first.faults] == [
        (2, "MalformedMessage", Certainty.PROVEN),
        (3, "MalformedMessage", Certainty.PROVEN),
    ]
    assert _attempt_json(first)["failure"] == "TooFewDealers"
    assert "seat 2" in " ".join(_attempt_lines(first))
    assert second.faults == ()


_FORGED: dict[str, dict[str, Any]] = {
    "another body": {"body": b"other"},
    "another phase": {"phase": 2},
    "another index": {"index": 2},
    "no such seat": {"index": 5},
    "seat 0": {"index": 0},
    "no signature": {"signature": b""},
    "another signature": {"signature": bytes(64) + b"\x1b"},
}


@pytest.mark.parametrize("change", _FORGED.values(), ids=_FORGED)
def test_rejects_a_message_that_its_seat_did_not_sign(honest: Made, change: dict[str, Any]) -> None:
    forged = dataclasses.replace(honest.messages[0], **change)
    with pytest.raises(UnprovenKey):
        honest.audit(forged, *honest.messages[1:])


def test_rejects_messages_of_another_registry(honest: Made) -> None:
    other = Lane(chain=honest.world.board.lane.chain, registry=keccak256(b"other"))
    with pytest.raises(UnprovenKey):
        audit_key(honest.world.session, honest.messages, board=other)


class _Service:
    def __init__(self, answer: dict[str, Any] | None) -> None:
        self._answer = answer

    async def probe(self, path: str) -> Fields:
        assert path == "/v1/status"
        if self._answer is None:
            raise ServiceUnavailable("down")
        return Fields(self._answer, path, error=ServiceAnswer)


class _Asked:
    # Connections to validators that answer so.
    def __init__(self, folder: Path, *answers: dict[str, Any] | None) -> None:
        self.network = a_network(folder)
        self._answers = {site.url: answer for site, answer in zip(self.network.validators, answers, strict=True)}

    def service(self, url: str) -> _Service:
        return _Service(self._answers[url])


def _keys(**fields: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "attempt": 0,
        "phase": "done",
        "waits_for": [],
        "fault": None,
        "group_key": "0x02" + "ab" * 32,
    }
    return {"keys": told | fields}


def test_the_status_tells_who_holds_a_share(tmp_path: Path) -> None:
    waiting = _keys(attempt=1, phase="reveal", waits_for=[2, 4], fault="seat 4: late", group_key=None)
    answers = (_keys(), waiting, None, {"keys": 1})

    async def act() -> None:
        held = await held_keys(cast("Connections", _Asked(tmp_path, *answers)))
        assert [one.answers for one in held] == [True, True, False, False]
        assert (held[0].group_key, held[1].group_key) == (b"\x02" + b"\xab" * 32, None)
        assert [_held_line(one) for one in held] == [
            "validator 1  holds its share",
            "validator 2  attempt 1, reveal, waits for 2, 4; seat 4: late",
            "validator 3  does not answer",
            "validator 4  does not answer",
        ]

    run(act())


class _Connections:
    def __init__(self, made: Made, group_key: bytes | None) -> None:
        chains = made.world.chains
        self.network = cast(
            "Any", _Network(id=chains.network, genesis=chains.genesis, epoch=EPOCH, group_key=group_key)
        )
        self.board_lane = made.world.board.lane
        self._messages = made.messages

    async def key_messages(self) -> tuple[BoardMessage, ...]:
        return self._messages


@dataclass(frozen=True, slots=True, kw_only=True)
class _Network:
    id: object
    genesis: object
    epoch: object
    group_key: bytes | None


@pytest.mark.parametrize("is_named", [True, False])
def test_the_key_is_compared_with_that_of_the_network_file(honest: Made, is_named: bool) -> None:
    known = honest.world.key.group_key.encode() if is_named else None
    connections = cast("Connections", _Connections(honest, known))

    async def act() -> None:
        (attempt,) = await audit_network(connections)
        assert attempt.key == honest.world.key

    run(act())


def test_rejects_another_key_than_that_of_the_network_file(honest: Made) -> None:
    connections = cast("Connections", _Connections(honest, honest.world.key.verification_keys[0].encode()))

    async def act() -> None:
        with pytest.raises(UnprovenKey, match=r"network\.json"):
            await audit_network(connections)

    run(act())
