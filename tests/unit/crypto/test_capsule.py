from __future__ import annotations

import dataclasses
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caimi.crypto.capsule import CAPSULE_BYTES, Capsule, capsule_hash, check_capsule, open_capsule, seal_key
from caimi.crypto.dleq import prove
from caimi.crypto.errors import CapsuleRefused, InvalidCapsule, MalformedCapsule, PointAtInfinity, WrongKeyCommitment
from caimi.crypto.group import Point
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import BadLength
from caimi.types.primitives import Bytes32
from caimi.wire.keccak import Tag
from tests.unit.crypto.conftest import DATA_KEY, ENTROPY, LABEL

SECRET = GROUP.derive_secret(b"test", b"group key")
GROUP_KEY = GROUP.base_multiply(SECRET)
CAPSULE = seal_key(GROUP_KEY, label=LABEL, data_key=DATA_KEY, entropy=ENTROPY)
ENCODED = CAPSULE.to_bytes()
OTHER = Bytes32(b"\x77" * 32)


def _shared(capsule: Capsule) -> Point:
    return GROUP.multiply_secret(capsule.ephemeral, SECRET)


def test_opens_to_the_key_that_was_sealed() -> None:
    check_capsule(CAPSULE, label=LABEL, group_key=GROUP_KEY)
    assert open_capsule(CAPSULE, label=LABEL, shared=_shared(CAPSULE)) == DATA_KEY


def test_round_trips_in_195_bytes() -> None:
    assert len(ENCODED) == CAPSULE_BYTES == 195
    assert Capsule.from_bytes(ENCODED) == CAPSULE
    assert capsule_hash(Capsule.from_bytes(ENCODED)) == capsule_hash(CAPSULE)


def test_the_key_itself_is_nowhere_in_it() -> None:
    assert all(DATA_KEY[i : i + 4] not in ENCODED for i in range(29))


def test_entropy_label_key_and_group_key_each_change_the_ephemeral_secret() -> None:
    variants = (
        seal_key(GROUP_KEY, label=LABEL, data_key=DATA_KEY, entropy=OTHER),
        seal_key(GROUP_KEY, label=OTHER, data_key=DATA_KEY, entropy=ENTROPY),
        seal_key(GROUP_KEY, label=LABEL, data_key=OTHER, entropy=ENTROPY),
        seal_key(GROUP.generator, label=LABEL, data_key=DATA_KEY, entropy=ENTROPY),
    )
    assert len({capsule.ephemeral for capsule in (CAPSULE, *variants)}) == 5


@pytest.mark.parametrize("place", range(CAPSULE_BYTES))
def test_rejects_every_changed_byte(place: int) -> None:
    for change in (0x01, 0x80, 0xFF):
        mauled = bytearray(ENCODED)
        mauled[place] ^= change
        with pytest.raises((MalformedCapsule, InvalidCapsule)):
            check_capsule(Capsule.from_bytes(bytes(mauled)), label=LABEL, group_key=GROUP_KEY)


def test_rejects_another_label() -> None:
    with pytest.raises(InvalidCapsule):
        check_capsule(CAPSULE, label=OTHER, group_key=GROUP_KEY)


def test_rejects_another_group_key() -> None:
    with pytest.raises(InvalidCapsule):
        check_capsule(CAPSULE, label=LABEL, group_key=GROUP.generator)


def test_rejects_a_group_key_at_infinity() -> None:
    infinity = Point(raw=b"")
    with pytest.raises(InvalidCapsule):
        check_capsule(CAPSULE, label=LABEL, group_key=infinity)
    with pytest.raises(PointAtInfinity):
        seal_key(infinity, label=LABEL, data_key=DATA_KEY, entropy=ENTROPY)


def test_rejects_a_re_randomised_copy() -> None:
    # What makes plain ElGamal malleable: multiply both halves by the same number.
    copy = dataclasses.replace(
        CAPSULE,
        ephemeral=GROUP.multiply_public(CAPSULE.ephemeral, 2),
        twin=GROUP.multiply_public(CAPSULE.twin, 2),
    )
    with pytest.raises(InvalidCapsule):
        check_capsule(copy, label=LABEL, group_key=GROUP_KEY)


@pytest.mark.parametrize("field", ["ephemeral", "twin", "masked_key", "commitment", "proof"])
def test_rejects_a_part_of_another_capsule(field: str) -> None:
    other = seal_key(GROUP_KEY, label=LABEL, data_key=OTHER, entropy=OTHER)
    mixed = dataclasses.replace(CAPSULE, **{field: getattr(other, field)})
    with pytest.raises(InvalidCapsule):
        check_capsule(mixed, label=LABEL, group_key=GROUP_KEY)


def test_a_publisher_that_commits_to_another_key_is_found_out() -> None:
    # A fully valid proof over a commitment that does not fit: only opening can tell.
    secret = GROUP.derive_secret(b"test", b"dishonest")
    bases = (GROUP.generator, GROUP.second_generator)
    images = tuple(GROUP.multiply_secret(base, secret) for base in bases)
    masked, commitment = Bytes32(bytes(32)), OTHER
    proof = prove(
        Tag.CAPSULE_PROOF,
        context=(LABEL, GROUP_KEY.encode(), masked, commitment),
        bases=bases,
        images=images,
        secret=secret,
        entropy=ENTROPY,
    )
    dishonest = Capsule(ephemeral=images[0], twin=images[1], masked_key=masked, commitment=commitment, proof=proof)
    check_capsule(dishonest, label=LABEL, group_key=GROUP_KEY)
    with pytest.raises(WrongKeyCommitment):
        open_capsule(dishonest, label=LABEL, shared=_shared(dishonest))


def test_opening_with_a_wrong_point_or_label_gives_no_key() -> None:
    with pytest.raises(WrongKeyCommitment):
        open_capsule(CAPSULE, label=LABEL, shared=GROUP.generator)
    with pytest.raises(WrongKeyCommitment):
        open_capsule(CAPSULE, label=OTHER, shared=_shared(CAPSULE))
    with pytest.raises(PointAtInfinity):
        open_capsule(CAPSULE, label=LABEL, shared=Point(raw=b""))


@pytest.mark.parametrize("length", [0, 1, 194, 196, 390])
def test_rejects_another_length(length: int) -> None:
    with pytest.raises(MalformedCapsule):
        Capsule.from_bytes((ENCODED * 2)[:length])


@pytest.mark.parametrize("name", ["label", "data_key", "entropy"])
def test_sealing_rejects_an_argument_of_another_length(name: str) -> None:
    arguments: dict[str, Bytes32] = {"label": LABEL, "data_key": Bytes32(DATA_KEY), "entropy": ENTROPY}
    arguments[name] = Bytes32(b"short")
    with pytest.raises(BadLength):
        seal_key(GROUP_KEY, **arguments)


@given(st.one_of(st.binary(max_size=200), st.binary(min_size=194, max_size=194).map(lambda rest: b"\x01" + rest)))
def test_arbitrary_bytes_raise_only_typed_errors(data: bytes) -> None:
    with suppress(CapsuleRefused):
        check_capsule(Capsule.from_bytes(data), label=LABEL, group_key=GROUP_KEY)
        pytest.fail("arbitrary bytes were accepted")
