"""Two posts for one place: what convicts, and what convicts nobody."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from caimi.crypto.board_evidence import PostEquivocation
from caimi.crypto.dkg_errors import NotEvidence
from caimi.crypto.ecdsa import SigningKey
from caimi.types.primitives import Bytes32, Epoch
from caimi.types.records import BoardPost, Lane
from caimi.wire.digests import typed_digest
from caimi.wire.keccak import keccak256

NETWORK = Bytes32(b"\x07" * 32)
KEYS = [SigningKey(bytes([i + 1]) * 32) for i in range(4)]
SEATS = [key.address for key in KEYS]
FIRST = BoardPost(
    at=Lane(chain=keccak256(b"chain"), registry=keccak256(b"registry")),
    epoch=Epoch(1),
    phase=2,
    index=3,
    body_hash=keccak256(b"one"),
)


def signed(post: BoardPost, *, by: int = 3, network: Bytes32 = NETWORK) -> bytes:
    return KEYS[by - 1].sign(typed_digest(network, post)).to_bytes()


def evidence(*, by: int = 3, network: Bytes32 = NETWORK, **fields: Any) -> PostEquivocation:
    second = dataclasses.replace(FIRST, **({"body_hash": keccak256(b"two")} | fields))
    return PostEquivocation(
        first=FIRST,
        first_signature=signed(FIRST),
        second=second,
        second_signature=signed(second, by=by, network=network),
    )


def test_two_contents_for_one_place_convict_the_seat() -> None:
    assert evidence().verify(network=NETWORK, seats=SEATS) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"body_hash": FIRST.body_hash},
        {"phase": 3},
        {"phase": 18},
        {"index": 4},
        {"epoch": Epoch(2)},
        {"at": Lane(chain=FIRST.at.chain, registry=keccak256(b"other"))},
        {"by": 4},
        {"network": Bytes32(bytes(32))},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_rejects_posts_that_convict_nobody(fields: dict[str, Any]) -> None:
    with pytest.raises(NotEvidence):
        evidence(**fields).verify(network=NETWORK, seats=SEATS)


def test_rejects_a_first_post_of_somebody_else() -> None:
    false = dataclasses.replace(evidence(), first_signature=signed(FIRST, by=1))
    with pytest.raises(NotEvidence):
        false.verify(network=NETWORK, seats=SEATS)


@pytest.mark.parametrize("seats", [[], SEATS[:2]])
def test_rejects_a_seat_that_nobody_has(seats: list[Any]) -> None:
    with pytest.raises(NotEvidence):
        evidence().verify(network=NETWORK, seats=seats)


@pytest.mark.parametrize("signature", [b"", bytes(65), bytes(64) + b"\x1b"])
def test_rejects_a_signature_that_is_none(signature: bytes) -> None:
    with pytest.raises(NotEvidence):
        dataclasses.replace(evidence(), second_signature=signature).verify(network=NETWORK, seats=SEATS)
