"""Requests that are not answered: each with its reason, at its place, and nothing half done."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from caimi.bundle.signature import DType, TensorSpec
from caimi.bundle.tensors import Tensor, encode_tensors
from caimi.crypto.capsule import capsule_hash, seal_key
from caimi.host.shelf import ShelfLimits
from caimi.host.telling import public_text
from caimi.ports.content import AllSourcesFailed
from caimi.ports.host_relay import PublicationUnknown, PublishedBytes
from caimi.ports.host_store import RequestState
from caimi.ports.model_runtime import RuntimeRefused
from caimi.types.errors import CaimiError
from caimi.types.primitives import ZERO32, Bytes32, UnixSeconds
from caimi.types.records import Cid
from caimi.wire.codec import encode
from tests.unit.bundle.onnx_models import make_node, model, value
from tests.unit.host.host_world import INPUT, SIGNATURE, WEIGHTS, HostWorld
from tests.unit.validator.key_world import DATA_KEY


async def refused(world: HostWorld, publication: Bytes32, reason: str, **fields: Any) -> None:
    """Ask once; the request ends as REFUSED for `reason`, and no answer leaves."""
    asked = await world.ask(publication, **fields)
    (row,) = await world.until_settled(asked)
    assert (row.state, row.reason) == (RequestState.REFUSED, reason)
    assert row.signed is None
    assert world.relay.answers == []


async def waits(world: HostWorld, publication: Bytes32, error: type[CaimiError], **fields: Any) -> CaimiError:
    """Ask once; the request stays open because of `error`."""
    asked = await world.ask(publication, **fields)
    await world.turns(2)
    assert world.row(asked).state is RequestState.SEEN
    trouble = world.host.trouble(asked.id)
    assert type(trouble) is error
    assert trouble is not None
    assert world.relay.answers == []
    return trouble


def float_tensors(values: Any, dtype: DType = DType.FLOAT32, name: str = "x") -> bytes:
    array = np.asarray(values, dtype=dtype.value)
    return encode_tensors({name: Tensor(dtype=dtype, shape=array.shape, data=array.tobytes())})


@pytest.mark.parametrize(
    ("reason", "payload"),
    [
        ("WrongTensorNames", float_tensors(INPUT, name="z")),
        ("WrongElementType", float_tensors(INPUT, DType.FLOAT64)),
        ("WrongShape", float_tensors(INPUT[:, :3])),
        ("WrongShape", float_tensors(INPUT[0])),
        ("WrongShape", float_tensors(INPUT[:0])),
        ("NotFinite", float_tensors(INPUT * np.nan)),
        ("NotFinite", float_tensors(np.full((1, 4), np.inf))),
        ("MalformedTensors", b"\x08" + bytes(20)),
        ("TensorsTooLarge", float_tensors(np.zeros((2_000, 4)))),
    ],
)
def test_rejects_wrong_tensors(reason: str, payload: bytes) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            if reason == "TensorsTooLarge":
                # The tree of blocks tells its size before a byte of it is read.
                await refused(world, publication, "DagTooLarge", payload=payload)
            else:
                await refused(world, publication, reason, payload=payload)

    asyncio.run(scenario())


def test_rejects_an_input_that_is_not_the_one_committed_to() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            await refused(world, await world.publish(), "InputMismatch", input_commitment=Bytes32(b"\1" * 32))
            assert world.keys.board.leases == {}

    asyncio.run(scenario())


def test_rejects_a_client_key_to_which_nothing_can_be_sealed() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            await refused(world, await world.publish(), "BadSealingKey", client_key=ZERO32)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "fields",
    [
        {"sealed_for": ZERO32},
        {"host": Bytes32(b"\x09" + bytes(31))},
        {"sealed": b"too short"},
    ],
    ids=["another publication", "another host", "no seal"],
)
def test_an_input_that_these_keys_do_not_open_is_unreadable(fields: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            asked = await world.ask(await world.publish(), **fields)
            (row,) = await world.until_settled(asked)
            assert (row.state, row.reason) == (RequestState.UNREADABLE, "NotForThisHost")
            # It cost no lease.
            assert world.keys.board.leases == {}

    asyncio.run(scenario())


def test_waits_for_an_input_that_nobody_has_and_gives_up_at_the_deadline() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            missing = Cid(codec=0x55, digest=Bytes32(b"\5" * 32))
            deadline = UnixSeconds(world.clock.now() + 60)
            asked = await world.ask(publication, input=missing, deadline=deadline)
            await world.turns(2)
            assert type(world.host.trouble(asked.id)) is AllSourcesFailed
            world.keys.chains.clock.advance(61)
            (row,) = await world.until_settled(asked)
            assert (row.state, row.reason) == (RequestState.EXPIRED, "AllSourcesFailed")
            assert world.host.trouble(asked.id) is None

    asyncio.run(scenario())


def test_rejects_a_tampered_block_and_answers_once_it_is_there() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            (cid,) = [one for one in world.blocks._blocks if len(world.blocks._blocks[one]) > 300]
            good = world.blocks._blocks[cid]
            world.blocks._blocks[cid] = good[:-1] + bytes([good[-1] ^ 1])
            trouble = await waits(world, publication, AllSourcesFailed)
            assert "BlockMismatch" in str(trouble)
            assert world.runtime.given == []
            world.blocks._blocks[cid] = good
            world.keys.chains.clock.advance(30)
            await world.turns(6)
            assert [row.state for row in world.store.requests(RequestState.ANSWERED, 9)] == [RequestState.ANSWERED]

    asyncio.run(scenario())


def flipped(place: int) -> Callable[[bytes], bytes]:
    """Changes one bit of the byte at `place`."""

    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[place] ^= 1
        return bytes(changed)

    return change


def cut_to(length: int) -> Callable[[bytes], bytes]:
    """Keeps the first bytes, or all but the last ones."""
    return lambda data: data[:length]


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        # One segment: nothing else opened, so that a wrong key cannot be told from changed bytes.
        ("WrongContentKey", flipped(100)),
        ("WrongContentKey", cut_to(-1)),
        ("MalformedHeader", flipped(0)),
        ("TruncatedStream", cut_to(41)),
    ],
)
def test_rejects_a_ciphertext_that_its_publisher_spoilt(reason: str, change: Callable[[bytes], bytes]) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish(change=change)
            await refused(world, publication, reason)
            # It is known now: the next request costs neither key nor download.
            world.blocks._blocks.clear()
            await refused(world, publication, reason)
            assert world.runtime.given == []

    asyncio.run(scenario())


def test_rejects_a_tampered_later_segment() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            large = b"x" * (3 << 19)
            publication = await world.publish(large, signature=SIGNATURE, change=flipped(-1))
            await refused(world, publication, "TamperedSegment")

    asyncio.run(scenario())


def test_rejects_another_manifest_than_the_one_committed_to() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            # The commitment is part of what opens the stream.
            publication = await world.publish(manifest_commitment=Bytes32(b"\2" * 32))
            await refused(world, publication, "WrongContentKey")

    asyncio.run(scenario())


def test_rejects_models_that_no_runtime_may_see() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            foreign = model([make_node("Foo", ["x"], ["y"], domain="evil")], opsets={"": 17, "evil": 1})
            publication = await world.publish(foreign.SerializeToString())
            await refused(world, publication, "CustomOperator")
            assert world.runtime.models == []
            # What was opened is overwritten all the same.
            assert not any(any(given) for given in world.runtime.given)

    asyncio.run(scenario())


def test_rejects_a_model_with_another_signature_than_announced() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            other = model(inputs=[value("x", ["N", 4])], outputs=[value("y", ["N", 4])])
            await refused(world, await world.publish(other.SerializeToString()), "SignatureMismatch")

    asyncio.run(scenario())


def test_rejects_an_oversize_model_before_reading_it() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            world.shelf_limits = ShelfLimits(content_bytes=100)
            await world.restart()
            await refused(world, publication, "DagTooLarge")

    asyncio.run(scenario())


def test_rejects_publications_that_are_no_models() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            await refused(world, await world.publish(kind=2), "NotAModel")
            # A dataset inside of what is published as a model.
            hidden = await world.publish(b"rows", signature=None, version=2, nonce=Bytes32(b"\3" * 32))
            await refused(world, hidden, "NotAModel")

    asyncio.run(scenario())


def test_names_the_refusals_when_the_capsule_has_another_label() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            foreign = seal_key(world.keys.key.group_key, label=Bytes32(b"\7" * 32), data_key=DATA_KEY, entropy=ZERO32)
            record, signature, identifier = world.keys.chains.publication(
                "fabric", "ethereum", capsule_hash=capsule_hash(foreign)
            )
            await world.commit(record, signature, identifier, foreign)
            # The host's own check comes with the first look at the partials.
            await refused(world, identifier, "InvalidCapsule")
            assert world.keys.board.partials == {}

    asyncio.run(scenario())


def test_rejects_what_the_relay_makes_up() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            true = await world.relay.publication(publication)
            other = world.keys.publication(name="other")[0]
            world.relay.given[publication] = PublishedBytes(publication=encode(other), capsule=true.capsule)
            asked = await world.ask(publication)
            await world.turns(2)
            assert type(world.host.trouble(asked.id)).__name__ == "WrongPublication"
            world.relay.given[publication] = PublishedBytes(publication=b"nothing", capsule=true.capsule)
            world.keys.chains.clock.advance(30)
            await world.turns(1)
            assert type(world.host.trouble(asked.id)).__name__ == "WrongPublication"
            assert world.keys.board.leases == {}
            del world.relay.given[publication]
            world.keys.chains.clock.advance(30)
            (row,) = await world.until_settled(asked)
            assert row.state is RequestState.ANSWERED

    asyncio.run(scenario())


@pytest.mark.parametrize(("reason", "length"), [("MalformedCapsule", 194), ("ForeignCapsule", 195)])
def test_rejects_another_capsule_from_the_relay(reason: str, length: int) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            true = await world.relay.publication(publication)
            other = seal_key(world.keys.key.group_key, label=ZERO32, data_key=DATA_KEY, entropy=ZERO32)
            world.relay.given[publication] = dataclasses.replace(true, capsule=other.to_bytes()[:length])
            await refused(world, publication, reason)

    asyncio.run(scenario())


def test_waits_while_the_relay_lacks_the_capsule() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            record, signature, identifier, capsule = world.keys.publication()
            del capsule
            await world.keys.commit(record, signature, identifier)
            await waits(world, identifier, PublicationUnknown)

    asyncio.run(scenario())


def test_rejects_after_the_runtime_failed_too_often_and_loads_again_before() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            world.runtime.crashes = 1
            asked = await world.ask(publication)
            (row,) = await world.until_settled(asked)
            assert row.state is RequestState.ANSWERED
            assert len(world.runtime.models) == 2
            assert np.array_equal(await world.output(asked), INPUT @ WEIGHTS)
            world.relay.answers.clear()
            world.runtime.crashes = world.tuning.crashes
            await refused(world, publication, "RuntimeFailed")
            assert world.runtime.crashes == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"other": Tensor(dtype=DType.FLOAT32, shape=(1,), data=bytes(4))},
        {"y": Tensor(dtype=DType.INT8, shape=(4,), data=bytes(4))},
        {"y": Tensor(dtype=DType.FLOAT32, shape=(2,), data=bytes(4))},
        {"y": Tensor(dtype=DType.FLOAT32, shape=(2000,), data=bytes(8000))},
    ],
)
def test_rejects_outputs_that_are_not_the_models(nonsense: dict[str, Tensor]) -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            world.runtime.nonsense = nonsense
            await refused(world, await world.publish(), "RuntimeFailed")

    asyncio.run(scenario())


def test_many_requests_that_wait_do_not_hide_another() -> None:
    async def scenario() -> None:
        async with HostWorld() as world:
            publication = await world.publish()
            missing = [
                await world.ask(publication, input=Cid(codec=0x55, digest=Bytes32(bytes([n + 1]) * 32)))
                for n in range(3)
            ]
            await world.turns(1)
            assert all(world.host.trouble(one.id) for one in missing)
            good = await world.ask(publication)
            (row,) = await world.until_settled(good)
            assert row.state is RequestState.ANSWERED

    asyncio.run(scenario())


def test_what_plaintext_says_is_not_told() -> None:
    spec = TensorSpec(name="secret", dtype=DType.FLOAT32, shape=())
    assert "secret" not in public_text(RuntimeRefused(f"node {spec.name}"))
    told = AllSourcesFailed(Cid(codec=0x55, digest=ZERO32), ())
    assert public_text(told) == str(told)
