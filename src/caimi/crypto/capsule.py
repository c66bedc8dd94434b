"""The capsule: a model key sealed to the validators under a label (TDH2 with a key commitment; spec 40 §4)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from caimi.crypto.dleq import PROOF_BYTES, Proof, prove, verify_proof
from caimi.crypto.errors import (
    BadPoint,
    BadScalar,
    InvalidCapsule,
    InvalidProof,
    MalformedCapsule,
    PointAtInfinity,
    WrongKeyCommitment,
)
from caimi.crypto.group import POINT_BYTES, Point
from caimi.crypto.secp256k1 import GROUP
from caimi.types.primitives import Bytes32, bytes32
from caimi.wire.keccak import Tag, tagged_hash

__all__ = ["CAPSULE_BYTES", "DATA_KEY_BYTES", "Capsule", "capsule_hash", "check_capsule", "open_capsule", "seal_key"]

DATA_KEY_BYTES: Final = 32
"""Length of the model key inside."""
_FORMAT: Final = 1
_TWIN: Final = 1 + POINT_BYTES
_MASKED: Final = _TWIN + POINT_BYTES
_COMMITMENT: Final = _MASKED + DATA_KEY_BYTES
_PROOF: Final = _COMMITMENT + 32
CAPSULE_BYTES: Final = _PROOF + PROOF_BYTES
"""Length of an encoded capsule: 195."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capsule:
    """A sealed model key. Nothing in it is secret."""

    ephemeral: Point
    """U = rG."""
    twin: Point
    """rH, H the second generator: lets the proof be simulated, which makes the scheme CCA secure."""
    masked_key: Bytes32
    """data key XOR tagged_hash(CAPSULE_KEY, label, U, rY)."""
    commitment: Bytes32
    """tagged_hash(KEY_COMMITMENT, label, U, data key)."""
    proof: Proof
    """That U and the twin have one logarithm; its context is label, group key, masked key and commitment."""

    def to_bytes(self) -> bytes:
        """Format u8 (1), U, twin, masked key, commitment, proof: 195 bytes."""
        points = self.ephemeral.encode() + self.twin.encode()
        return bytes((_FORMAT,)) + points + self.masked_key + self.commitment + self.proof.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Capsule:
        """Inverse of `to_bytes`. The proof is not checked: see `check_capsule`.

        Raises:
            MalformedCapsule: Another length or format, or a part that is not canonical.
        """
        if len(data) != CAPSULE_BYTES or data[0] != _FORMAT:
            raise MalformedCapsule
        try:
            return cls(
                ephemeral=GROUP.decode_point(data[1:_TWIN]),
                twin=GROUP.decode_point(data[_TWIN:_MASKED]),
                masked_key=Bytes32(bytes(data[_MASKED:_COMMITMENT])),
                commitment=Bytes32(bytes(data[_COMMITMENT:_PROOF])),
                proof=Proof.from_bytes(data[_PROOF:]),
            )
        except (BadPoint, BadScalar) as error:
            raise MalformedCapsule from error


def capsule_hash(capsule: Capsule) -> Bytes32:
    """What a publication names: tagged_hash(CAPSULE, encoded capsule)."""
    return tagged_hash(Tag.CAPSULE, capsule.to_bytes())


def _mask(label: Bytes32, ephemeral: Point, shared: Point) -> bytes:
    return tagged_hash(Tag.CAPSULE_KEY, label, ephemeral.encode(), shared.encode())


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def _commitment(label: Bytes32, ephemeral: Point, data_key: bytes) -> Bytes32:
    return tagged_hash(Tag.KEY_COMMITMENT, label, ephemeral.encode(), data_key)


def _context(label: Bytes32, group_key: Point, masked_key: bytes, commitment: bytes) -> tuple[bytes, ...]:
    return label, group_key.encode(), masked_key, commitment


def seal_key(group_key: Point, *, label: Bytes32, data_key: bytes, entropy: Bytes32) -> Capsule:
    """Seal a model key so that t validators together, under this label only, can open it.

    Arguments:
        group_key: Y, the validators' public key.
        label: 32 bytes, `caimi.wire.digests.capsule_label`.
        data_key: 32 uniformly random bytes.
        entropy: 32 fresh random bytes; hashed with everything else, so that a repeat of it alone leaks nothing.
    Raises:
        BadLength: An argument has another length.
        PointAtInfinity: The group key is the point at infinity.
    """
    for value in (label, data_key, entropy):
        bytes32(value)
    secret = GROUP.derive_secret(b"capsule", entropy, group_key.encode(), label, data_key)
    ephemeral = GROUP.base_multiply(secret)
    twin = GROUP.multiply_secret(GROUP.second_generator, secret)
    shared = GROUP.multiply_secret(group_key, secret)
    masked_key = Bytes32(_xor(data_key, _mask(label, ephemeral, shared)))
    commitment = _commitment(label, ephemeral, data_key)
    proof = prove(
        Tag.CAPSULE_PROOF,
        context=_context(label, group_key, masked_key, commitment),
        bases=(GROUP.generator, GROUP.second_generator),
        images=(ephemeral, twin),
        secret=secret,
        entropy=entropy,
    )
    return Capsule(ephemeral=ephemeral, twin=twin, masked_key=masked_key, commitment=commitment, proof=proof)


def check_capsule(capsule: Capsule, *, label: Bytes32, group_key: Point) -> None:
    """Check that a capsule was made for this label and group key. Nobody makes a partial before this.

    Raises:
        InvalidCapsule: It was not, or was changed.
    """
    try:
        verify_proof(
            Tag.CAPSULE_PROOF,
            context=_context(label, group_key, capsule.masked_key, capsule.commitment),
            bases=(GROUP.generator, GROUP.second_generator),
            images=(capsule.ephemeral, capsule.twin),
            proof=capsule.proof,
        )
    except (InvalidProof, PointAtInfinity) as error:
        raise InvalidCapsule from error


def open_capsule(capsule: Capsule, *, label: Bytes32, shared: Point) -> bytes:
    """Unmask the data key with xU, which `caimi.crypto.partial.combine` puts together.

    Returns:
        The 32 bytes that the publisher sealed, never others.
    Raises:
        WrongKeyCommitment: The result is not the key that the capsule commits to.
        PointAtInfinity: `shared` is the point at infinity.
    """
    data_key = _xor(capsule.masked_key, _mask(label, capsule.ephemeral, shared))
    if not hmac.compare_digest(_commitment(label, capsule.ephemeral, data_key), capsule.commitment):
        raise WrongKeyCommitment
    return data_key
