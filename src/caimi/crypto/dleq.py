"""Chaum-Pedersen proofs: one secret is the logarithm of each image to its base (spec 40 §2).

With one base this is a Schnorr proof of possession, with two a proof of equal discrete logarithms. The challenge hashes
every public value, so a proof holds for one statement, one context and one use (tag) only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from caimi.crypto.errors import InvalidProof, PointAtInfinity
from caimi.crypto.group import SCALAR_BYTES, Point, SecretScalar
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import BadLength
from caimi.types.primitives import Bytes32
from caimi.wire.keccak import Tag

__all__ = ["PROOF_BYTES", "Proof", "prove", "verify_proof"]

PROOF_BYTES: Final = 2 * SCALAR_BYTES
"""Length of an encoded proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Challenge and response of a non-interactive proof."""

    challenge: int
    """Below the group order."""
    response: int
    """Below the group order."""

    def to_bytes(self) -> bytes:
        """challenge || response, 32 bytes big-endian each."""
        return self.challenge.to_bytes(SCALAR_BYTES, "big") + self.response.to_bytes(SCALAR_BYTES, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> Proof:
        """Inverse of `to_bytes`.

        Raises:
            BadLength: Not 64 bytes.
            BadScalar: A half is not below the group order.
        """
        if len(data) != PROOF_BYTES:
            raise BadLength(PROOF_BYTES, len(data))
        return cls(
            challenge=GROUP.decode_scalar(data[:SCALAR_BYTES]), response=GROUP.decode_scalar(data[SCALAR_BYTES:])
        )


def _challenge(
    tag: Tag, context: Sequence[bytes], bases: Sequence[Point], images: Sequence[Point], nonces: Sequence[Point]
) -> int:
    # Both counts first: the parts cannot be read in two ways.
    counts = bytes((len(context), len(bases)))
    points = (point.encode() for row in zip(bases, images, nonces, strict=True) for point in row)
    return GROUP.hash_to_scalar(tag, counts, *context, *points)


def prove(
    tag: Tag,
    *,
    context: Sequence[bytes],
    bases: Sequence[Point],
    images: Sequence[Point],
    secret: SecretScalar,
    entropy: Bytes32,
) -> Proof:
    """Prove that every image is `secret` times its base.

    The nonce hashes the secret, the whole statement and `entropy`: even with no entropy at all (a restored snapshot) it
    never repeats for another statement.

    Arguments:
        context: at most 255 parts that name where the proof counts.
        bases, images: equally many, at most 255, none at infinity.
        entropy: 32 fresh random bytes.
    Raises:
        BadLength: `entropy` is not 32 bytes.
        PointAtInfinity: A base or an image is the point at infinity.
    """
    if len(entropy) != 32:
        raise BadLength(32, len(entropy))
    statement = b"".join(point.encode() for point in (*bases, *images))
    nonce = GROUP.derive_secret(
        b"proof-nonce", secret.reveal(), entropy, tag.bytes32, bytes((len(context),)), *context, statement
    )
    nonces = [GROUP.multiply_secret(base, nonce) for base in bases]
    challenge = _challenge(tag, context, bases, images, nonces)
    response = GROUP.add_secrets(nonce, GROUP.multiply_secrets(GROUP.secret_of(challenge), secret))
    return Proof(challenge=challenge, response=int.from_bytes(response.reveal(), "big"))


def verify_proof(
    tag: Tag, *, context: Sequence[bytes], bases: Sequence[Point], images: Sequence[Point], proof: Proof
) -> None:
    """Check a proof against its public statement.

    Raises:
        InvalidProof: It does not hold, or a value is the point at infinity.
    """
    nonces = [
        GROUP.subtract(GROUP.multiply_public(base, proof.response), GROUP.multiply_public(image, proof.challenge))
        for base, image in zip(bases, images, strict=True)
    ]
    try:
        expected = _challenge(tag, context, bases, images, nonces)
    except PointAtInfinity as error:
        raise InvalidProof from error
    if expected != proof.challenge:
        raise InvalidProof
