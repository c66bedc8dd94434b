"""A certificate is made of exactly q valid, equal answers; every other answer names its validator."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from caimi.crypto.quorum import ValidatorSet, verify_certificate
from caimi.ports.metrics import DISSENTS
from caimi.ports.validators import Abstains, NotYet, ValidatorUnavailable
from caimi.relay.certifier import Certifier, NoQuorum, Range, ValidatorPeer
from caimi.types.errors import CaimiError
from caimi.types.primitives import ZERO32, Bytes32, Epoch, Generation, Sequence, SignerIndex
from caimi.types.records import Certificate, Checkpoint, Lane, Signature
from caimi.wire.digests import typed_digest
from caimi.wire.keccak import keccak256
from tests.unit.relay.world import Recorder, StepClock, key, run

NETWORK = keccak256(b"network")
KEYS = [key(f"validator {i}") for i in range(4)]
VALIDATORS = ValidatorSet(validators=tuple(k.address for k in KEYS), f=1, t=2)
LANE = Lane(chain=keccak256(b"chain"), registry=keccak256(b"registry"))
WANTED = Range(source=LANE, generation=Generation(1), first=Sequence(3), last=Sequence(5))
HONEST = Checkpoint(
    source=LANE,
    generation=Generation(1),
    epoch=Epoch(1),
    first_sequence=Sequence(3),
    last_sequence=Sequence(5),
    root=keccak256(b"root"),
    height=9,
    block_hash=keccak256(b"block"),
)


class Answers:
    """A validator that signs one checkpoint with one key."""

    def __init__(self, signer: int, checkpoint: Checkpoint = HONEST, *, signs: int | None = None) -> None:
        self.checkpoint_ = checkpoint
        digest = typed_digest(NETWORK, checkpoint)
        self.signature = KEYS[signer if signs is None else signs].sign(digest).as_record(SignerIndex(signer))

    async def checkpoint(
        self, source: Lane, generation: Generation, first: Sequence, last: Sequence
    ) -> tuple[Checkpoint, Signature]:
        return self.checkpoint_, self.signature


class Says:
    """A validator that answers with an error."""

    def __init__(self, error: CaimiError) -> None:
        self.error = error

    async def checkpoint(
        self, source: Lane, generation: Generation, first: Sequence, last: Sequence
    ) -> tuple[Checkpoint, Signature]:
        raise self.error


class Hangs:
    """A validator that never answers."""

    async def checkpoint(
        self, source: Lane, generation: Generation, first: Sequence, last: Sequence
    ) -> tuple[Checkpoint, Signature]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


Port = Answers | Says | Hangs


async def _certify(ports: list[Port], observer: Recorder, *, seconds: float = 0.0) -> Certificate:
    clock = StepClock()
    peers = [ValidatorPeer(signer=SignerIndex(i), port=port) for i, port in enumerate(ports)]
    certifier = Certifier(NETWORK, peers, clock=clock, observer=observer, answer_seconds=10.0)
    asking = asyncio.create_task(certifier.certify(WANTED, validators=VALIDATORS, epoch=Epoch(1)))
    for _ in range(20):
        await asyncio.sleep(0)
    clock.advance(seconds)
    return await asking


def _valid(certificate: Certificate) -> list[int]:
    verify_certificate(certificate, network=NETWORK, validator_set=VALIDATORS, epoch=Epoch(1))
    return [signature.signer for signature in certificate.signatures]


def test_four_honest_answers_give_three_signatures_in_order() -> None:
    async def scenario() -> None:
        certificate = await _certify([Answers(i) for i in range(4)], Recorder())
        assert len(_valid(certificate)) == 3
        assert certificate.checkpoint == HONEST

    run(scenario())


def test_hanging_validator_is_not_waited_for() -> None:
    async def scenario() -> None:
        ports: list[Port] = [Hangs(), Answers(1), Answers(2), Answers(3)]
        assert _valid(await _certify(ports, Recorder())) == [1, 2, 3]

    run(scenario())


def test_two_hanging_validators_end_the_asking_in_time() -> None:
    async def scenario() -> None:
        ports: list[Port] = [Hangs(), Hangs(), Answers(2), Answers(3)]
        with pytest.raises(NoQuorum):
            await _certify(ports, Recorder(), seconds=10.5)

    run(scenario())


@pytest.mark.parametrize(
    "change",
    [
        {"root": keccak256(b"lie")},
        {"block_hash": keccak256(b"lie")},
        {"height": 8},
    ],
)
def test_validator_that_signs_another_checkpoint_is_named_and_not_counted(change: dict[str, Any]) -> None:
    async def scenario() -> None:
        observer = Recorder()
        ports: list[Port] = [Answers(0, dataclasses.replace(HONEST, **change)), Answers(1), Answers(2), Answers(3)]
        certificate = await _certify(ports, observer)
        assert _valid(certificate) == [1, 2, 3]
        assert certificate.checkpoint == HONEST
        assert [fields["signer"] for fields in observer.named("relay.validator-dissents")] == [0]
        assert [labels for metric, labels in observer.counts if metric is DISSENTS] == [{"validator": "1"}]

    run(scenario())


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"last_sequence": Sequence(6)}, "OtherRange"),
        ({"first_sequence": Sequence(2)}, "OtherRange"),
        ({"generation": Generation(2)}, "OtherRange"),
        ({"source": Lane(chain=ZERO32, registry=ZERO32)}, "OtherRange"),
        ({"epoch": Epoch(2)}, "WrongEpoch"),
    ],
)
def test_answer_about_something_else_is_refused(change: dict[str, Any], error: str) -> None:
    async def scenario() -> None:
        observer = Recorder()
        ports: list[Port] = [Answers(0, dataclasses.replace(HONEST, **change)), Answers(1), Answers(2), Answers(3)]
        assert _valid(await _certify(ports, observer)) == [1, 2, 3]
        assert [(f["signer"], f["error"]) for f in observer.named("relay.validator")] == [(0, error)]

    run(scenario())


def test_signature_of_another_key_is_refused_and_named() -> None:
    async def scenario() -> None:
        observer = Recorder()
        ports: list[Port] = [Answers(0, signs=1), Answers(1), Answers(2), Answers(3)]
        assert _valid(await _certify(ports, observer)) == [1, 2, 3]
        assert [(f["signer"], f["error"]) for f in observer.named("relay.validator")] == [(0, "WrongSigner")]

    run(scenario())


def test_high_s_is_refused_and_named() -> None:
    async def scenario() -> None:
        observer = Recorder()
        twisted = Answers(0)
        order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
        high = Bytes32((order - int.from_bytes(twisted.signature.s, "big")).to_bytes(32, "big"))
        twisted.signature = dataclasses.replace(twisted.signature, s=high, v=55 - twisted.signature.v)
        ports: list[Port] = [twisted, Answers(1), Answers(2), Answers(3)]
        assert _valid(await _certify(ports, observer)) == [1, 2, 3]
        assert [(f["signer"], f["error"]) for f in observer.named("relay.validator")] == [(0, "HighS")]

    run(scenario())


def test_one_validator_under_two_places_counts_once() -> None:
    async def scenario() -> None:
        observer = Recorder()
        ports: list[Port] = [Answers(0), Answers(1), Answers(1), Answers(1)]
        with pytest.raises(NoQuorum):
            await _certify(ports, observer)
        assert [f["error"] for f in observer.named("relay.validator")] == ["UnknownSigner", "UnknownSigner"]

    run(scenario())


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ((NotYet("x"), NotYet("x")), NotYet),
        ((Abstains("x"), Abstains("x")), NoQuorum),
        ((NotYet("x"), Abstains("x")), NoQuorum),
        ((ValidatorUnavailable("x"), ValidatorUnavailable("x")), NoQuorum),
    ],
)
def test_too_few_answers_say_why(answers: tuple[CaimiError, CaimiError], error: type[CaimiError]) -> None:
    async def scenario() -> None:
        ports: list[Port] = [Answers(0), Answers(1), Says(answers[0]), Says(answers[1])]
        with pytest.raises(error) as caught:
            await _certify(ports, Recorder())
        assert type(caught.value) is error

    run(scenario())


def test_two_and_two_give_no_certificate() -> None:
    async def scenario() -> None:
        other = dataclasses.replace(HONEST, root=keccak256(b"other"))
        ports: list[Port] = [Answers(0), Answers(1), Answers(2, other), Answers(3, other)]
        with pytest.raises(NoQuorum, match="2 of 3 equal checkpoints, 2 different"):
            await _certify(ports, Recorder())

    run(scenario())
