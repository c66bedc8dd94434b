"""What a relay takes as a batch: everything that home would refuse is refused here, with the item that is to blame."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from caimi.crypto.errors import MalformedCapsule
from caimi.ports.key_release import ForeignCapsule
from caimi.relay.lanes import UnknownLane
from caimi.types import errors
from caimi.types.failure import Refusal
from caimi.types.primitives import UnixSeconds
from caimi.types.records import Lane, Publication
from caimi.wire.codec import encode_values
from caimi.wire.digests import publication_id
from caimi.wire.functions import FUNCTIONS
from caimi.wire.keccak import keccak256
from tests.unit.relay.batch_world import SignedBatch, sign_batch
from tests.unit.relay.world import World, key, run

NOWHERE = Lane(chain=keccak256(b"nowhere"), registry=keccak256(b"nowhere"))


def encoded(publications: tuple[Publication, ...], signatures: tuple[bytes, ...]) -> bytes:
    return encode_values(FUNCTIONS["lockBatch"], (publications, signatures))


def changed(batch: SignedBatch, **fields: Any) -> bytes:
    """The batch with its second publication changed and signed again."""
    second = dataclasses.replace(batch.publications[1], **fields)
    signature = batch.world.publisher.sign(publication_id(batch.world.network, second)).to_bytes()
    return encoded((batch.publications[0], second), (batch.signatures[0], signature))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"format": 2}, errors.UnsupportedFormat),
        ({"version": 0}, errors.BadVersion),
        ({"name": "Bad Name"}, errors.BadName),
        ({"home": NOWHERE}, errors.NotHome),
        ({"mirrors": (NOWHERE,)}, errors.BadMirrors),
        ({"deadline": UnixSeconds(1)}, errors.PastDeadline),
        ({"publisher": key("stranger").address}, errors.WrongSigner),
    ],
)
def test_unlawful_item_is_named(fields: dict[str, Any], error: type[Refusal]) -> None:
    async def scenario() -> None:
        with World() as world:
            batch = sign_batch(world, "fabric", "ethereum", count=2)
            await world.step()
            with pytest.raises(errors.BatchItem) as caught:
                await world.relays[0].batches.publish(changed(batch, **fields))
            assert caught.value.values == (1, error.code)
            assert not world.stores[0].publications(10)

    run(scenario())


def test_the_same_publication_twice_is_refused() -> None:
    async def scenario() -> None:
        with World() as world:
            batch = sign_batch(world, "fabric", "ethereum", count=1)
            with pytest.raises(errors.BatchItem) as caught:
                await world.relays[0].batches.publish(encoded(batch.publications * 2, batch.signatures * 2))
            assert caught.value.values == (1, errors.KnownPublication.code)

    run(scenario())


Shape = Callable[[SignedBatch], bytes]
_SHAPES: list[tuple[Shape, type[Refusal]]] = [
    (lambda b: encoded((), ()), errors.EmptyBatch),
    (lambda b: encoded(b.publications, b.signatures[:1]), errors.BadEncoding),
    (lambda b: encoded(b.publications * 86, b.signatures * 86), errors.BatchTooLong),
    (lambda b: b.encoded[:-1], errors.BadEncoding),
    (lambda b: b.encoded + bytes(32), errors.BadEncoding),
    (lambda b: bytes((1 << 20) + 1), errors.BadEncoding),
]


@pytest.mark.parametrize(
    ("make", "error"),
    _SHAPES,
    ids=["empty", "a signature too few", "258 publications", "cut", "longer", "huge"],
)
def test_what_is_no_batch_is_refused(make: Shape, error: type[Refusal]) -> None:
    async def scenario() -> None:
        with World() as world:
            batch = sign_batch(world, "fabric", "ethereum", count=3)
            with pytest.raises(error):
                await world.relays[0].batches.publish(make(batch))
            assert not world.stores[0].publications(10)

    run(scenario())


def test_unknown_home_is_refused() -> None:
    async def scenario() -> None:
        with World() as world:
            batch = sign_batch(world, "fabric", "ethereum", count=1)
            elsewhere = (dataclasses.replace(batch.publications[0], home=NOWHERE),)
            with pytest.raises(UnknownLane):
                await world.relays[0].batches.publish(encoded(elsewhere, batch.signatures))

    run(scenario())


def test_foreign_and_malformed_capsules_are_refused() -> None:
    async def scenario() -> None:
        with World() as world:
            batch = sign_batch(world, "fabric", "ethereum", count=2)
            for capsules, error in ((bytes(195), ForeignCapsule), (bytes(390), MalformedCapsule)):
                with pytest.raises(error):
                    await world.relays[0].batches.publish(batch.encoded, capsules)
            assert not world.stores[0].publications(10)

    run(scenario())


def test_taking_out_what_is_in_no_batch_is_refused() -> None:
    async def scenario() -> None:
        with World() as world:
            _, _, identifier = world.publication("fabric", "ethereum")
            with pytest.raises(errors.UnknownPublication):
                await world.relays[0].batches.take_out(identifier)

    run(scenario())
