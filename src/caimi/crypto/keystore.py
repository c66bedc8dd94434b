"""A secret under a password: scrypt and AES-256-GCM, one versioned blob (spec 40 §8). Files are handled elsewhere."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from caimi.crypto.errors import MalformedKeystore, WrongPassword
from caimi.types.errors import BadLength, OutOfRange
from caimi.types.primitives import Bytes32, bytes32

__all__ = ["DEFAULT_COST", "MAX_COST", "MIN_COST", "decrypt_secret", "encrypt_secret"]

MIN_COST: Final = 14
"""Least binary logarithm of scrypt's N: 16 MiB, for tests and devnets."""
DEFAULT_COST: Final = 17
"""128 MiB."""
MAX_COST: Final = 18
"""Most that a file may ask for: 256 MiB."""
_MAGIC: Final = b"CAIMIKEY"
_VERSION: Final = 1
_BLOCK: Final = 8
_PARALLEL: Final = 1
_NONCE: Final = 12
_SALT_AT: Final = len(_MAGIC) + 2
_NONCE_AT: Final = _SALT_AT + 32
_BODY_AT: Final = _NONCE_AT + _NONCE
_TAG: Final = 16
_MAX_SECRET: Final = 1 << 20


def _cipher(password: bytes, salt: bytes, cost: int) -> AESGCM:
    return AESGCM(Scrypt(salt=salt, length=32, n=1 << cost, r=_BLOCK, p=_PARALLEL).derive(password))


def encrypt_secret(
    secret: bytes, *, password: bytes, purpose: bytes, salt: Bytes32, nonce: bytes, cost: int = DEFAULT_COST
) -> bytes:
    """Encrypt a secret for storage.

    Arguments:
        secret: at most 1 MiB.
        password: any bytes; what it lacks in entropy only the cost makes up for.
        purpose: names process and use, such as b"validator-2/signing"; has to be the same to decrypt.
        salt: 32 fresh random bytes.
        nonce: 12 fresh random bytes.
        cost: binary logarithm of scrypt's N, 14 to 18; r = 8, p = 1.
    Returns:
        "CAIMIKEY", version u8 (1), cost u8, salt, nonce, ciphertext, tag: 70 bytes more than the secret.
    Raises:
        BadLength: The salt, the nonce or the secret has a wrong length.
        OutOfRange: The cost is outside its bounds.
    """
    bytes32(salt)
    if len(nonce) != _NONCE:
        raise BadLength(_NONCE, len(nonce))
    if len(secret) > _MAX_SECRET:
        raise BadLength(_MAX_SECRET, len(secret))
    if not MIN_COST <= cost <= MAX_COST:
        raise OutOfRange(8, cost)
    # The header has a fixed length, so header + purpose reads in one way only.
    header = _MAGIC + bytes((_VERSION, cost)) + salt + nonce
    return header + _cipher(password, salt, cost).encrypt(nonce, secret, header + purpose)


def decrypt_secret(data: bytes, *, password: bytes, purpose: bytes) -> bytes:
    """Inverse of `encrypt_secret`.

    Raises:
        MalformedKeystore: Another format or version, or a cost outside its bounds; nothing was derived.
        WrongPassword: Password or purpose differ, or the bytes were changed.
    """
    if not _BODY_AT + _TAG <= len(data) <= _BODY_AT + _MAX_SECRET + _TAG or not data.startswith(_MAGIC):
        raise MalformedKeystore
    version, cost = data[len(_MAGIC)], data[len(_MAGIC) + 1]
    if version != _VERSION or not MIN_COST <= cost <= MAX_COST:
        raise MalformedKeystore
    header = data[:_BODY_AT]
    cipher = _cipher(password, data[_SALT_AT:_NONCE_AT], cost)
    try:
        return cipher.decrypt(data[_NONCE_AT:_BODY_AT], data[_BODY_AT:], header + purpose)
    except InvalidTag as error:
        raise WrongPassword from error
