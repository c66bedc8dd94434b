"""Sealing to a process's X25519 key: HPKE base mode, X25519, HKDF-SHA256, AES-256-GCM (RFC 9180; spec 40 §6).

The one exception to "entropy is an argument" in this package: the library draws the ephemeral key of `seal` itself.
"""

from __future__ import annotations

from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from caimi.crypto.errors import BadSealingKey, SealNotOpened
from caimi.types.primitives import Bytes32, bytes32

__all__ = ["SEAL_OVERHEAD", "SealingKey", "seal"]

SEAL_OVERHEAD: Final = 32 + 16
"""How much longer sealed bytes are: the encapsulated key, which comes first, and the tag."""
_SUITE: Final = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


class SealingKey:
    """An X25519 secret key. Shows its public key and never the secret in `repr`; does not pickle."""

    __slots__ = ("_key", "public_key")

    def __init__(self, secret: bytes) -> None:
        """Take over 32 secret, uniformly random bytes.

        Raises:
            BadLength: Not 32 bytes.
        """
        self._key = X25519PrivateKey.from_private_bytes(bytes32(secret))
        self.public_key = Bytes32(self._key.public_key().public_bytes_raw())
        """32 bytes, to be announced."""

    def reveal(self) -> bytes:
        """The 32 secret bytes, for encrypted storage only."""
        return self._key.private_bytes_raw()

    def open(self, sealed: bytes, *, info: bytes) -> bytes:
        """Inverse of `seal` with the same `info`.

        Raises:
            SealNotOpened: Changed, for another key, or under another `info`.
        """
        try:
            return _SUITE.decrypt(sealed, self._key, info)
        except (InvalidTag, ValueError) as error:
            raise SealNotOpened from error

    def __repr__(self) -> str:
        return f"SealingKey({self.public_key.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is stored encrypted, never pickled")


def seal(plaintext: bytes, *, recipient: Bytes32, info: bytes) -> bytes:
    """Seal bytes to a public key; the result differs at each call.

    Arguments:
        recipient: X25519 public key.
        info: fixed-length parts that say what this is for: a domain tag and the ids that it belongs to.
    Returns:
        Encapsulated key (32), ciphertext, tag (16).
    Raises:
        BadSealingKey: The key is not 32 bytes, or has small order.
    """
    try:
        return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(recipient), info)
    except ValueError as error:
        raise BadSealingKey from error
