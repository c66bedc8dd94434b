"""Sealing of key generation shares: HPKE base mode with DHKEM(secp256k1, HKDF-SHA256), AES-256-GCM (spec 41 §2).

RFC 9180 with KEM 0x0016 of draft-wahby-cfrg-hpke-kem-secp256k1. Not the library's X25519 suite of
`caimi.crypto.sealing`, because a key generation needs what that cannot do: the same bytes again after a restart (so the
ephemeral key is an argument), and a recipient that proves to everybody what it was sent (so the shared point has a
logarithm proof in our group). The encapsulated key travels apart, with a proof of possession: a dealer has one for all
its recipients.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from caimi.crypto.errors import SealNotOpened
from caimi.crypto.group import Point, SecretScalar
from caimi.crypto.secp256k1 import GROUP

__all__ = [
    "BOARD_SEAL_OVERHEAD",
    "KEM_SECP256K1",
    "extract_and_expand",
    "key_schedule",
    "open_with_shared_point",
    "seal_to_board",
]

BOARD_SEAL_OVERHEAD: Final = 16
"""How much longer sealed bytes are: the tag."""
KEM_SECP256K1: Final = 0x0016
"""Number of the KEM."""
_KDF_HKDF_SHA256: Final = 0x0001
_AEAD_AES_256_GCM: Final = 0x0002
_VERSION: Final = b"HPKE-v1"


def _extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return HKDF.extract(SHA256(), salt, _VERSION + suite + label + ikm)


def _expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2, "big") + _VERSION + suite + label + info
    return HKDFExpand(SHA256(), length, labelled).derive(prk)


def extract_and_expand(dh: bytes, kem_context: bytes, *, kem: int = KEM_SECP256K1) -> bytes:
    """The KEM's shared secret, 32 bytes (RFC 9180 §4.1).

    Arguments:
        dh: x coordinate of the Diffie-Hellman point, 32 bytes.
        kem_context: both public keys as the KEM serialises them, encapsulated key first.
    """
    suite = b"KEM" + kem.to_bytes(2, "big")
    return _expand(suite, _extract(suite, b"", b"eae_prk", dh), b"shared_secret", kem_context, 32)


def key_schedule(
    shared_secret: bytes, info: bytes, *, kem: int = KEM_SECP256K1, aead: int = _AEAD_AES_256_GCM
) -> tuple[bytes, bytes]:
    """Key (32 bytes) and nonce (12 bytes) of the first and only message (RFC 9180 §5.1, mode base)."""
    suite = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (kem, _KDF_HKDF_SHA256, aead))
    context = b"\x00" + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    secret = _extract(suite, shared_secret, b"secret", b"")
    return _expand(suite, secret, b"key", context, 32), _expand(suite, secret, b"base_nonce", context, 12)


def _cipher(encapsulated: Point, recipient: Point, shared: Point, info: bytes) -> tuple[AESGCM, bytes]:
    # The KEM serialises keys uncompressed.
    kem_context = b"\x04" + encapsulated.raw + b"\x04" + recipient.raw
    key, nonce = key_schedule(extract_and_expand(shared.raw[:32], kem_context), info)
    return AESGCM(key), nonce


def seal_to_board(plaintext: bytes, *, recipient: Point, info: bytes, ephemeral: SecretScalar) -> bytes:
    """Seal bytes to a validator's key; ciphertext and tag (16).

    Arguments:
        recipient: not the point at infinity.
        info: another one for each plaintext that is sealed with one ephemeral key: cipher key and nonce follow from
            ephemeral, recipient and info.
        ephemeral: secret and nonzero; its point is the encapsulated key.
    """
    encapsulated = GROUP.base_multiply(ephemeral)
    cipher, nonce = _cipher(encapsulated, recipient, GROUP.multiply_secret(recipient, ephemeral), info)
    return cipher.encrypt(nonce, plaintext, b"")


def open_with_shared_point(
    sealed: bytes, *, encapsulated: Point, recipient: Point, shared: Point, info: bytes
) -> bytes:
    """Open sealed bytes, with the shared point instead of the secret, so that everybody who is shown it can.

    Arguments:
        shared: the recipient's secret times `encapsulated`.
    Raises:
        SealNotOpened: Changed, or for another key or `info`.
    """
    cipher, nonce = _cipher(encapsulated, recipient, shared, info)
    try:
        return cipher.decrypt(nonce, sealed, b"")
    except InvalidTag as error:
        raise SealNotOpened from error
