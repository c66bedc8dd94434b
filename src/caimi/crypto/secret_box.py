"""Many secrets under one password: scrypt once, then AES-256-GCM for each (spec 40 §8)."""

from __future__ import annotations

from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from caimi.crypto.errors import WrongPassword
from caimi.crypto.keystore import MAX_COST, MIN_COST
from caimi.types.errors import BadLength, OutOfRange
from caimi.types.primitives import Bytes32, bytes32

__all__ = ["BOX_OVERHEAD", "SecretBox"]

_NONCE: Final = 12
_TAG: Final = 16
BOX_OVERHEAD: Final = _NONCE + _TAG
"""How much longer a closed secret is: the nonce in front, the tag behind."""


class SecretBox:
    """A key that was derived from a password; seals and opens. `repr` hides it; does not pickle."""

    __slots__ = ("_cipher",)

    def __init__(self, password: bytes, *, salt: Bytes32, cost: int) -> None:
        """Derive the key: takes as long as `cost` says.

        Arguments:
            salt: 32 random bytes, made once for the box and kept with it.
            cost: binary logarithm of scrypt's N, 14 to 18; r = 8, p = 1.
        Raises:
            BadLength: The salt is not 32 bytes.
            OutOfRange: The cost is outside its bounds.
        """
        if not MIN_COST <= cost <= MAX_COST:
            raise OutOfRange(8, cost)
        key = Scrypt(salt=bytes32(salt), length=32, n=1 << cost, r=8, p=1).derive(password)
        self._cipher = AESGCM(key)

    def seal(self, secret: bytes, *, purpose: bytes, nonce: bytes) -> bytes:
        """Encrypt one secret.

        Arguments:
            purpose: what and whose it is; has to be the same to open.
            nonce: 12 fresh random bytes; at most 2^32 secrets are sealed by one box.
        Returns:
            Nonce, ciphertext, tag: 28 bytes more than the secret.
        Raises:
            BadLength: The nonce is not 12 bytes.
        """
        if len(nonce) != _NONCE:
            raise BadLength(_NONCE, len(nonce))
        return nonce + self._cipher.encrypt(nonce, secret, purpose)

    def open(self, sealed: bytes, *, purpose: bytes) -> bytes:
        """Inverse of `seal`.

        Raises:
            WrongPassword: Password, salt, cost or purpose differ, or the bytes were changed.
        """
        if len(sealed) < BOX_OVERHEAD:
            raise WrongPassword
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], purpose)
        except InvalidTag as error:
            raise WrongPassword from error

    def __repr__(self) -> str:
        return "SecretBox()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is stored encrypted, never pickled")
