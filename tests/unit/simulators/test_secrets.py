"""Bad key holders give what a host refuses, simulated models give one output, and the wiretap finds what was said."""

from __future__ import annotations

import asyncio
import random

import pytest

from caimi.bundle.tensors import decode_tensors, encode_tensors
from caimi.crypto.errors import InvalidPartial, PartialRefused, SealNotOpened, UnsignedPartial
from caimi.crypto.partial import open_partial, verify_partial
from caimi.ports.model_runtime import RuntimeFailed
from caimi.ports.validators import ValidatorUnavailable
from caimi.simulators.key_holders import BadKeyHolder, KeyBehaviour
from caimi.simulators.models import NotSimulated, SimulatedModel, SimulatedRuntime, batch, values_of
from caimi.simulators.wiretap import Wiretap
from caimi.types.errors import CaimiError
from caimi.wire.codec import encode
from caimi.wire.digests import capsule_label
from tests.unit.validator.key_world import EPOCH, KeyWorld


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (KeyBehaviour.SILENT, ValidatorUnavailable),
        (KeyBehaviour.GARBAGE, SealNotOpened),
        (KeyBehaviour.OTHER_LABEL, UnsignedPartial),
        (KeyBehaviour.OTHER_LEASE, UnsignedPartial),
        (KeyBehaviour.FALSE_POINT, InvalidPartial),
    ],
)
def test_what_a_bad_holder_gives_is_refused(behaviour: KeyBehaviour, expected: type[CaimiError]) -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            await world.generate()
            record, identifier, capsule = await world.committed()
            lease = world.open_lease(identifier)
            validator = world.validators[2]
            holder = BadKeyHolder(
                behaviour,
                network=world.chains.network,
                key=world.chains.validator_keys[2],
                board=validator.node,
                board_lane=world.board.lane,
                share=lambda: validator.generation.share,
                rng=random.Random(1),
            )
            await holder.release(lease, encode(record), capsule.to_bytes())
            partial = open_partial(world.board.partials[lease, 3], key=world.host, lease=lease, index=3, epoch=EPOCH)
            verify_partial(
                partial,
                capsule=capsule,
                label=capsule_label(world.chains.network, world.key.group_key.encode(), record),
                lease=lease,
                key=world.key,
                validators=world.session.validators,
            )

    with pytest.raises(expected) as caught:
        asyncio.run(scenario())
    if isinstance(caught.value, PartialRefused):
        assert caught.value.index == 3


def test_key_that_a_bad_holder_reports_is_sound_and_false() -> None:
    async def scenario() -> None:
        with KeyWorld() as world:
            await world.generate()
            validator = world.validators[2]
            holder = BadKeyHolder(
                KeyBehaviour.GARBAGE,
                network=world.chains.network,
                key=world.chains.validator_keys[2],
                board=validator.node,
                board_lane=world.board.lane,
                share=lambda: validator.generation.share,
                rng=random.Random(1),
            )
            told = await holder.public_key()
            told.verify()
            assert told != world.key

    asyncio.run(scenario())


def test_model_comes_back_from_its_file_and_gives_the_product() -> None:
    rng = random.Random(1)
    model = SimulatedModel.drawn(rng)
    assert SimulatedModel.from_bytes(model.to_bytes()) == model
    assert model.secret in model.to_bytes()
    given = batch(rng)
    x, w = memoryview(values_of(given)).cast("f").tolist(), list(model.weights)
    product = [sum(x[4 * row + k] * w[2 * k + column] for k in range(4)) for row in range(2) for column in range(2)]
    assert memoryview(values_of(model.run(given))).cast("f").tolist() == product


@pytest.mark.parametrize("data", [b"", b"ONNX" * 12, SimulatedModel(weights=(1.0,) * 8).to_bytes() + b"\0"])
def test_rejects_a_file_that_is_no_simulated_model(data: bytes) -> None:
    with pytest.raises(NotSimulated):
        SimulatedModel.from_bytes(data)


def test_runner_that_ended_is_gone() -> None:
    async def scenario() -> None:
        model = SimulatedModel.drawn(random.Random(1))
        runtime = SimulatedRuntime(rng=random.Random(2))
        loaded = await runtime.load({"model": bytearray(model.to_bytes())}, model.manifest())
        payload = batch(random.Random(3))
        given = decode_tensors(payload, max_bytes=1 << 16)
        assert encode_tensors(await loaded.run(given)) == model.run(payload)
        runtime.failure = 1.0
        with pytest.raises(RuntimeFailed):
            await loaded.run(given)
        runtime.failure = 0.0
        assert not loaded.is_alive
        with pytest.raises(RuntimeFailed):
            await loaded.run(given)

    asyncio.run(scenario())


def test_wiretap_finds_what_was_heard_before_and_after_and_in_text() -> None:
    key, other, shown = b"k" * 32, b"o" * 32, b"s" * 16
    wiretap = Wiretap()
    wiretap.heard(b"..." + key + b"...")
    for name, secret in (("key", key), ("other", other), ("shown", shown)):
        wiretap.protect(name, secret)
    assert wiretap.leaks((), "") == ["key"]
    assert wiretap.leaks((b"x" + other,), "") == ["key", "other"]
    assert wiretap.leaks((), f"it is {shown.hex()}") == ["key", "shown"]


def test_wiretap_does_not_join_what_two_said() -> None:
    wiretap = Wiretap()
    wiretap.protect("key", b"k" * 32)
    wiretap.heard(b"k" * 16)
    wiretap.heard(b"k" * 16)
    assert wiretap.leaks((), "") == []


def test_wiretap_takes_no_secret_that_occurs_by_chance() -> None:
    with pytest.raises(ValueError, match="too short"):
        Wiretap().protect("key", b"k" * 15)
