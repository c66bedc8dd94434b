"""Inputs and outputs of an inference: salted commitments, sealed to one reader (spec 60 §4, §5)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from caimi.crypto.sealing import SEAL_OVERHEAD, SealingKey, seal
from caimi.types.errors import BadLength
from caimi.types.primitives import Bytes32, bytes32
from caimi.wire.keccak import Tag, tagged_hash

__all__ = [
    "INFERENCE_OVERHEAD",
    "Salted",
    "input_commitment",
    "open_input",
    "open_output",
    "output_commitment",
    "seal_input",
    "seal_output",
]

_SALT: Final = 32
INFERENCE_OVERHEAD: Final = SEAL_OVERHEAD + _SALT
"""How much longer sealed bytes are than their payload: 80."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Salted:
    """A payload and the salt that hides it behind its commitment. `repr` shows neither."""

    salt: Bytes32 = field(repr=False)
    """32 uniformly random bytes, fresh for each payload."""
    payload: bytes = field(repr=False)


def input_commitment(salted: Salted) -> Bytes32:
    """tagged_hash(INPUT, salt, sha256(payload)): what a request names."""
    return tagged_hash(Tag.INPUT, salted.salt, hashlib.sha256(salted.payload).digest())


def output_commitment(salted: Salted) -> Bytes32:
    """tagged_hash(OUTPUT, salt, sha256(payload)): what a receipt names."""
    return tagged_hash(Tag.OUTPUT, salted.salt, hashlib.sha256(salted.payload).digest())


def seal_input(salted: Salted, *, host: Bytes32, publication: Bytes32) -> bytes:
    """Seal an input to a host's X25519 key, for one publication: 80 bytes more than the payload.

    Raises:
        BadLength: The salt is not 32 bytes.
        BadSealingKey: `host` is no sealing key.
    """
    return _seal(salted, recipient=host, info=Tag.INPUT_SEAL.bytes32 + bytes32(publication))


def open_input(sealed: bytes, *, key: SealingKey, publication: Bytes32) -> Salted:
    """Inverse of `seal_input`.

    Raises:
        SealNotOpened: Changed, for another key, or for another publication.
        BadLength: What was inside is shorter than a salt.
    """
    return _open(key.open(sealed, info=Tag.INPUT_SEAL.bytes32 + bytes32(publication)))


def seal_output(salted: Salted, *, client: Bytes32, request: Bytes32) -> bytes:
    """Seal an output to the X25519 key that a request names: 80 bytes more than the payload. Raises as `seal_input`."""
    return _seal(salted, recipient=client, info=Tag.OUTPUT_SEAL.bytes32 + bytes32(request))


def open_output(sealed: bytes, *, key: SealingKey, request: Bytes32) -> Salted:
    """Inverse of `seal_output`. Raises as `open_input`."""
    return _open(key.open(sealed, info=Tag.OUTPUT_SEAL.bytes32 + bytes32(request)))


def _seal(salted: Salted, *, recipient: Bytes32, info: bytes) -> bytes:
    return seal(bytes32(salted.salt) + salted.payload, recipient=recipient, info=info)


def _open(opened: bytes) -> Salted:
    if len(opened) < _SALT:
        raise BadLength(_SALT, len(opened))
    return Salted(salt=Bytes32(opened[:_SALT]), payload=opened[_SALT:])
