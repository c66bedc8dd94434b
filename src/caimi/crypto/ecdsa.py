"""Account signatures: ECDSA on secp256k1 over 32-byte digests, recoverable, low-s (spec 20 §3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn

from caimi.crypto.errors import BadPoint
from caimi.crypto.secp256k1 import GROUP, recover_point, sign_compact
from caimi.types.errors import BadLength, BadSignature, HighS, WrongSigner
from caimi.types.primitives import Address, Bytes32, SignerIndex
from caimi.types.records import Signature
from caimi.wire.keccak import keccak256

__all__ = ["HALF_ORDER", "SIGNATURE_BYTES", "EcdsaSignature", "SigningKey", "address_of", "recover", "verify_signer"]

SIGNATURE_BYTES: Final = 65
"""r || s || v."""
HALF_ORDER: Final = GROUP.order // 2
"""Largest s that is accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EcdsaSignature:
    """A recoverable signature. Made by `SigningKey.sign` or taken apart by `from_bytes`; checked by `recover`."""

    r: Bytes32
    s: Bytes32
    v: int
    """27 or 28 if it is sound, 0 <= v < 256."""

    def to_bytes(self) -> bytes:
        """r || s || v, 65 bytes."""
        return self.r + self.s + bytes((self.v,))

    @classmethod
    def from_bytes(cls, data: bytes) -> EcdsaSignature:
        """Take 65 bytes apart; nothing but the length is checked.

        Raises:
            BadSignature: Not 65 bytes.
        """
        if len(data) != SIGNATURE_BYTES:
            raise BadSignature
        return cls(r=Bytes32(bytes(data[:32])), s=Bytes32(bytes(data[32:64])), v=data[64])

    @classmethod
    def from_record(cls, record: Signature) -> EcdsaSignature:
        """The signature of a certificate's entry; nothing is checked."""
        return cls(r=record.r, s=record.s, v=record.v)

    def as_record(self, signer: SignerIndex) -> Signature:
        """The entry of a certificate, for the validator at place `signer` of the set."""
        return Signature(signer=signer, v=self.v, r=self.r, s=self.s)


class SigningKey:
    """An account's secret key. Shows its address and never the secret in `repr`; does not pickle."""

    __slots__ = ("_secret", "address", "public_key")

    def __init__(self, secret: bytes) -> None:
        """Take over a secret of 32 bytes, 0 < secret < order of secp256k1.

        Raises:
            BadSecret: It is anything else.
        """
        self._secret = GROUP.decode_secret(secret)
        self.public_key: bytes = GROUP.base_multiply(self._secret).encode()
        """33 bytes, compressed."""
        self.address: Address = address_of(self.public_key)
        """20 bytes."""

    @classmethod
    def from_entropy(cls, entropy: Bytes32) -> SigningKey:
        """A new key, derived from 32 fresh random bytes.

        Raises:
            BadLength: `entropy` is not 32 bytes.
        """
        if len(entropy) != 32:
            raise BadLength(32, len(entropy))
        return cls(GROUP.derive_secret(b"signing-key", entropy).reveal())

    def reveal(self) -> bytes:
        """The 32 secret bytes, for encrypted storage only."""
        return self._secret.reveal()

    def sign(self, digest: Bytes32) -> EcdsaSignature:
        """Sign a digest; deterministic (RFC 6979) and low-s.

        Raises:
            BadLength: The digest is not 32 bytes.
        """
        if len(digest) != 32:
            raise BadLength(32, len(digest))
        compact, recovery_id = sign_compact(digest, self._secret.reveal())
        return EcdsaSignature(r=Bytes32(compact[:32]), s=Bytes32(compact[32:]), v=27 + recovery_id)

    def __repr__(self) -> str:
        return f"SigningKey(0x{self.address.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is stored encrypted, never pickled")


def address_of(public_key: bytes) -> Address:
    """The account of a public key: the last 20 bytes of keccak256(x || y).

    Arguments:
        public_key: 33 bytes, compressed.
    Raises:
        BadPoint: It is not a point in that form.
    """
    return Address(keccak256(GROUP.decode_point(public_key).raw)[12:])


def recover(digest: Bytes32, signature: bytes | EcdsaSignature) -> Address:
    """The account that made a signature. Checked in this order: length, v, s, then recovery (spec 20 §3).

    Arguments:
        digest: 32 bytes.
        signature: 65 bytes r || s || v, or the same taken apart.
    Raises:
        BadLength: The digest is not 32 bytes.
        BadSignature: Not 65 bytes, v neither 27 nor 28, or no account can be recovered.
        HighS: s is above half the group order.
    """
    if len(digest) != 32:
        raise BadLength(32, len(digest))
    parts = signature if isinstance(signature, EcdsaSignature) else EcdsaSignature.from_bytes(signature)
    # The library reads 64 bytes whatever it is given.
    if len(parts.r) != 32 or len(parts.s) != 32:
        raise BadSignature
    if parts.v not in (27, 28):
        raise BadSignature
    if int.from_bytes(parts.s, "big") > HALF_ORDER:
        raise HighS
    try:
        key = recover_point(digest, parts.r + parts.s, parts.v - 27)
    except BadPoint as error:
        raise BadSignature from error
    return Address(keccak256(key.raw)[12:])


def verify_signer(digest: Bytes32, signature: bytes | EcdsaSignature, expected: Address) -> None:
    """Check that `expected` made the signature.

    Raises:
        BadLength, BadSignature, HighS: See `recover`.
        WrongSigner: Another account made it.
    """
    actual = recover(digest, signature)
    if actual != expected:
        raise WrongSigner(expected, actual)
