from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caimi.crypto.dleq import PROOF_BYTES, Proof, prove, verify_proof
from caimi.crypto.errors import BadScalar, InvalidProof, PointAtInfinity
from caimi.crypto.group import Point, SecretScalar
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import BadLength
from caimi.types.primitives import Bytes32
from caimi.wire.keccak import Tag

TAG = Tag.PARTIAL_PROOF
CONTEXT = (b"label", b"lease")
SECRET = GROUP.derive_secret(b"test", b"secret")
BASES = (GROUP.generator, GROUP.second_generator)
IMAGES = tuple(GROUP.multiply_secret(base, SECRET) for base in BASES)
ENTROPY = Bytes32(b"\x01" * 32)
INFINITY = Point(raw=b"")


def _prove(
    *,
    tag: Tag = TAG,
    context: Sequence[bytes] = CONTEXT,
    images: Sequence[Point] = IMAGES,
    secret: SecretScalar = SECRET,
    entropy: Bytes32 = ENTROPY,
) -> Proof:
    return prove(tag, context=context, bases=BASES, images=images, secret=secret, entropy=entropy)


def _verify(
    proof: Proof,
    *,
    tag: Tag = TAG,
    context: Sequence[bytes] = CONTEXT,
    bases: Sequence[Point] = BASES,
    images: Sequence[Point] = IMAGES,
) -> None:
    verify_proof(tag, context=context, bases=bases, images=images, proof=proof)


PROOF = _prove()


def test_accepts_an_honest_proof() -> None:
    _verify(PROOF)
    _verify(_prove(entropy=Bytes32(b"\x02" * 32)))


def test_one_base_is_a_proof_of_possession() -> None:
    proof = prove(TAG, context=CONTEXT, bases=BASES[:1], images=IMAGES[:1], secret=SECRET, entropy=ENTROPY)
    _verify(proof, bases=BASES[:1], images=IMAGES[:1])
    with pytest.raises(InvalidProof):
        _verify(proof)


def test_rejects_a_wrong_image() -> None:
    wrong = (IMAGES[0], GROUP.add(IMAGES[1], GROUP.generator))
    with pytest.raises(InvalidProof):
        _verify(_prove(images=wrong), images=wrong)


def test_rejects_another_secret() -> None:
    with pytest.raises(InvalidProof):
        _verify(_prove(secret=GROUP.derive_secret(b"test", b"other")))


@pytest.mark.parametrize("context", [(), (b"label",), (b"label", b"other"), (b"labellease",), (b"lease", b"label")])
def test_rejects_another_context(context: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidProof):
        _verify(PROOF, context=context)


def test_rejects_another_use() -> None:
    with pytest.raises(InvalidProof):
        _verify(PROOF, tag=Tag.CAPSULE_PROOF)


def test_rejects_exchanged_bases_or_images() -> None:
    with pytest.raises(InvalidProof):
        _verify(PROOF, bases=BASES[::-1])
    with pytest.raises(InvalidProof):
        _verify(PROOF, bases=BASES[::-1], images=IMAGES[::-1])


@pytest.mark.parametrize("field", ["challenge", "response"])
@pytest.mark.parametrize("change", [1, -1])
def test_rejects_a_changed_half(field: str, change: int) -> None:
    value = (getattr(PROOF, field) + change) % GROUP.order
    with pytest.raises(InvalidProof):
        _verify(dataclasses.replace(PROOF, **{field: value}))


def test_rejects_zeros_as_proof() -> None:
    with pytest.raises(InvalidProof):
        _verify(Proof(challenge=0, response=0))


def test_rejects_infinity_as_a_value() -> None:
    with pytest.raises(InvalidProof):
        _verify(PROOF, images=(INFINITY, INFINITY))
    with pytest.raises(PointAtInfinity):
        _prove(images=(INFINITY, INFINITY))


def test_the_nonce_repeats_only_with_the_whole_statement() -> None:
    assert _prove() == PROOF
    others = (
        _prove(entropy=Bytes32(b"\x02" * 32)),
        _prove(context=(b"label", b"lease2")),
        _prove(tag=Tag.PARTIAL),
        _prove(images=(IMAGES[0], GROUP.generator)),
    )

    def nonce(proof: Proof) -> bytes:
        product = GROUP.multiply_public(IMAGES[0], proof.challenge)
        return GROUP.subtract(GROUP.multiply_public(BASES[0], proof.response), product).encode()

    assert len({nonce(p) for p in (PROOF, *others)}) == 5


def test_rejects_entropy_of_another_length() -> None:
    with pytest.raises(BadLength):
        _prove(entropy=Bytes32(b""))


def test_proofs_round_trip() -> None:
    assert Proof.from_bytes(PROOF.to_bytes()) == PROOF
    assert len(PROOF.to_bytes()) == PROOF_BYTES


@pytest.mark.parametrize("length", [0, 63, 65])
def test_rejects_proof_of_another_length(length: int) -> None:
    with pytest.raises(BadLength):
        Proof.from_bytes(bytes(length))


def test_rejects_a_response_that_is_the_same_modulo_the_order() -> None:
    order = GROUP.order.to_bytes(32, "big")
    with pytest.raises(BadScalar):
        Proof.from_bytes(PROOF.to_bytes()[:32] + order)
    with pytest.raises(BadScalar):
        Proof.from_bytes(order + PROOF.to_bytes()[32:])


@given(st.binary(max_size=70))
def test_arbitrary_bytes_are_a_canonical_proof_or_refused(data: bytes) -> None:
    with contextlib.suppress(BadLength, BadScalar):
        assert Proof.from_bytes(data).to_bytes() == data
