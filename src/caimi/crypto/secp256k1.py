"""secp256k1 by libsecp256k1, through coincurve's binding (spec 40 §1).

coincurve's own `PublicKey.multiply` is variable-time, so secrets go through `secp256k1_ecdh` with a callback that
returns the raw x || y. That touches coincurve's private module: its version is pinned and a test holds it to that.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, Final

from caimi.crypto.errors import BadPoint, BadSecret
from caimi.crypto.group import POINT_BYTES, SCALAR_BYTES, Group, Point, SecretScalar

__all__ = ["GROUP", "Secp256k1", "recover_point", "sign_compact"]

# The binding has no type information; by importlib it is one Any instead of an unresolved import.
_binding: Final[Any] = importlib.import_module("coincurve._libsecp256k1")
_ffi: Final[Any] = _binding.ffi
_lib: Final[Any] = _binding.lib
_context: Final[Any] = importlib.import_module("coincurve.context").GLOBAL_CONTEXT.ctx


@_ffi.callback("int(unsigned char *, const unsigned char *, const unsigned char *, void *)")
def _raw_coordinates(output: Any, x: Any, y: Any, _data: Any) -> int:
    _ffi.memmove(output, x, 32)
    _ffi.memmove(output + 32, y, 32)
    return 1


def _handle(point: Point) -> Any:
    key = _ffi.new("secp256k1_pubkey *")
    if not _lib.secp256k1_ec_pubkey_parse(_context, key, b"\x04" + point.raw, 65):
        raise BadPoint
    return key


def _point(handle: Any) -> Point:
    output, size = _ffi.new("unsigned char[65]"), _ffi.new("size_t *", 65)
    _lib.secp256k1_ec_pubkey_serialize(_context, output, size, handle, _lib.SECP256K1_EC_UNCOMPRESSED)
    return Point(raw=bytes(_ffi.buffer(output, 65))[1:])


class Secp256k1(Group):
    """The curve y**2 = x**3 + 7 over the field of 2**256 - 2**32 - 977 elements, cofactor 1."""

    order: ClassVar[int] = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
    generator: ClassVar[Point] = Point(
        raw=bytes.fromhex(
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
            "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
        )
    )

    def decode_point(self, data: bytes) -> Point:
        """See `Group.decode_point`."""
        if len(data) != POINT_BYTES or data[0] not in (2, 3):
            raise BadPoint
        key = _ffi.new("secp256k1_pubkey *")
        if not _lib.secp256k1_ec_pubkey_parse(_context, key, bytes(data), POINT_BYTES):
            raise BadPoint
        return _point(key)

    def add(self, *points: Point) -> Point:
        """See `Group.add`."""
        handles = [_handle(point) for point in points if not point.is_infinity]
        if not handles:
            return Point(raw=b"")
        total = _ffi.new("secp256k1_pubkey *")
        # For parsed points the library's only failure is a sum at infinity.
        if not _lib.secp256k1_ec_pubkey_combine(_context, total, handles, len(handles)):
            return Point(raw=b"")
        return _point(total)

    def multiply_public(self, point: Point, factor: int) -> Point:
        """See `Group.multiply_public`."""
        factor %= self.order
        if point.is_infinity or factor == 0:
            return Point(raw=b"")
        encoded = factor.to_bytes(SCALAR_BYTES, "big")
        if point == self.generator:
            return self._base(encoded)
        key = _handle(point)
        if not _lib.secp256k1_ec_pubkey_tweak_mul(_context, key, encoded):
            raise BadPoint
        return _point(key)

    def multiply_secret(self, point: Point, factor: SecretScalar) -> Point:
        """See `Group.multiply_secret`."""
        if point.is_infinity or factor.is_zero:
            return Point(raw=b"")
        if point == self.generator:
            return self._base(factor.reveal())
        output = _ffi.new("unsigned char[64]")
        if not _lib.secp256k1_ecdh(_context, output, _handle(point), factor.reveal(), _raw_coordinates, _ffi.NULL):
            raise BadPoint
        return Point(raw=bytes(_ffi.buffer(output, 64)))

    def add_secrets(self, a: SecretScalar, b: SecretScalar) -> SecretScalar:
        """See `Group.add_secrets`."""
        # The library refuses zero operands and a zero result, so both are handled here.
        if a.is_zero or b.is_zero:
            return b if a.is_zero else a
        output = _ffi.new("unsigned char[32]", a.reveal())
        if not _lib.secp256k1_ec_seckey_tweak_add(_context, output, b.reveal()):
            return SecretScalar(bytes(SCALAR_BYTES))
        return SecretScalar(bytes(_ffi.buffer(output, SCALAR_BYTES)))

    def multiply_secrets(self, a: SecretScalar, b: SecretScalar) -> SecretScalar:
        """See `Group.multiply_secrets`."""
        output = _ffi.new("unsigned char[32]", a.reveal())
        # Fails for a zero operand only: the order is prime.
        if a.is_zero or not _lib.secp256k1_ec_seckey_tweak_mul(_context, output, b.reveal()):
            return SecretScalar(bytes(SCALAR_BYTES))
        return SecretScalar(bytes(_ffi.buffer(output, SCALAR_BYTES)))

    def _base(self, factor: bytes) -> Point:
        key = _ffi.new("secp256k1_pubkey *")
        if not _lib.secp256k1_ec_pubkey_create(_context, key, factor):
            raise BadPoint
        return _point(key)


GROUP: Final[Group] = Secp256k1()
"""The group of this package."""


def sign_compact(digest: bytes, secret: bytes) -> tuple[bytes, int]:
    """ECDSA with the nonce of RFC 6979, low-s.

    Arguments:
        digest: 32 bytes.
        secret: 32 bytes, 0 < secret < order.
    Returns:
        r || s and the recovery id.
    Raises:
        BadSecret: The secret is out of range.
    """
    signature = _ffi.new("secp256k1_ecdsa_recoverable_signature *")
    if not _lib.secp256k1_ecdsa_sign_recoverable(_context, signature, digest, secret, _ffi.NULL, _ffi.NULL):
        raise BadSecret
    output, recovery_id = _ffi.new("unsigned char[64]"), _ffi.new("int *")
    _lib.secp256k1_ecdsa_recoverable_signature_serialize_compact(_context, output, recovery_id, signature)
    return bytes(_ffi.buffer(output, 64)), recovery_id[0]


def recover_point(digest: bytes, compact: bytes, recovery_id: int) -> Point:
    """The public key that made an ECDSA signature.

    Arguments:
        digest: 32 bytes.
        compact: r || s, 64 bytes.
        recovery_id: 0 or 1, the parity of the nonce point's y.
    Raises:
        BadPoint: No key made it: r or s is zero or not below the order, or r is no point's x.
    """
    signature, key = _ffi.new("secp256k1_ecdsa_recoverable_signature *"), _ffi.new("secp256k1_pubkey *")
    if not _lib.secp256k1_ecdsa_recoverable_signature_parse_compact(_context, signature, compact, recovery_id):
        raise BadPoint
    if not _lib.secp256k1_ecdsa_recover(_context, key, signature, digest):
        raise BadPoint
    return _point(key)
