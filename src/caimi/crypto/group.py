"""The prime-order group in which keys live, as an interface (spec 40 §1).

The backend is `caimi.crypto.secp256k1`; everything else uses the interface, so that the curve library can be replaced.
Two kinds of scalars: public ones are plain integers, secret ones are `SecretScalar` and are only touched by the
backend's constant-time operations.
"""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final, NoReturn

from caimi.crypto.errors import BadPoint, BadScalar, BadSecret, PointAtInfinity
from caimi.wire.keccak import Tag, tagged_hash

__all__ = ["POINT_BYTES", "SCALAR_BYTES", "Group", "Point", "SecretScalar"]

POINT_BYTES: Final = 33
"""Length of an encoded point: 02 or 03 by the parity of y, then x big-endian."""
SCALAR_BYTES: Final = 32
"""Length of an encoded scalar, big-endian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """An element of the group. Made by a `Group` only, so it is always on the curve."""

    raw: bytes
    """x || y, 32 bytes big-endian each; empty for the point at infinity."""

    @property
    def is_infinity(self) -> bool:
        """Whether this is the neutral element."""
        return not self.raw

    def encode(self) -> bytes:
        """The 33 bytes of the compressed form.

        Raises:
            PointAtInfinity: It has no encoding.
        """
        if self.is_infinity:
            raise PointAtInfinity
        return bytes((2 | self.raw[63] & 1,)) + self.raw[:32]


class SecretScalar:
    """A secret number modulo the group order. Shows nothing in `repr`, compares in constant time, does not pickle."""

    __slots__ = ("_value",)
    __hash__: ClassVar[None]  # pyright: ignore[reportIncompatibleMethodOverride]  # a secret is never a key of a table

    def __init__(self, value: bytes) -> None:
        # Only a Group makes these: `value` is canonical already.
        self._value = value

    def reveal(self) -> bytes:
        """The 32 bytes themselves, for encrypted storage and for the backend."""
        return self._value

    @property
    def is_zero(self) -> bool:
        """Whether the number is zero: no honest party ever draws it."""
        return not any(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretScalar) and hmac.compare_digest(self._value, other._value)

    def __repr__(self) -> str:
        return "SecretScalar(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is stored encrypted, never pickled")


class Group(ABC):
    """A group of prime order with constant-time operations on secrets."""

    order: ClassVar[int]
    """The number of elements, a prime of 256 bits."""
    generator: ClassVar[Point]
    """G."""

    @abstractmethod
    def decode_point(self, data: bytes) -> Point:
        """Decode the compressed form, the only one accepted.

        Raises:
            BadPoint: Not 33 bytes, another prefix, not on the curve. The point at infinity has no encoding.
        """

    @abstractmethod
    def add(self, *points: Point) -> Point:
        """Sum; of no points, or of opposite ones, the point at infinity."""

    @abstractmethod
    def multiply_public(self, point: Point, factor: int) -> Point:
        """`factor` times `point`, for a public factor: NOT constant-time. Any integer, taken modulo the order."""

    @abstractmethod
    def multiply_secret(self, point: Point, factor: SecretScalar) -> Point:
        """`factor` times `point` in time that does not depend on a nonzero factor."""

    @abstractmethod
    def add_secrets(self, a: SecretScalar, b: SecretScalar) -> SecretScalar:
        """a + b modulo the order, in constant time for nonzero values."""

    @abstractmethod
    def multiply_secrets(self, a: SecretScalar, b: SecretScalar) -> SecretScalar:
        """a b modulo the order, in constant time for nonzero values."""

    def subtract(self, a: Point, b: Point) -> Point:
        """a - b; variable time."""
        return self.add(a, self.multiply_public(b, -1))

    def decode_points(self, data: bytes) -> tuple[Point, ...]:
        """Decode a run of compressed points.

        Raises:
            BadPoint: A part is not a point, or bytes are left over.
        """
        return tuple(self.decode_point(data[i : i + POINT_BYTES]) for i in range(0, len(data), POINT_BYTES))

    def decode_scalar(self, data: bytes) -> int:
        """Decode a public scalar, 0 <= x < order.

        Raises:
            BadScalar: Not 32 bytes, or not below the order.
        """
        value = int.from_bytes(data, "big")
        if len(data) != SCALAR_BYTES or value >= self.order:
            raise BadScalar
        return value

    def decode_secret(self, data: bytes) -> SecretScalar:
        """Decode a secret scalar, 0 < x < order.

        Raises:
            BadSecret: Not 32 bytes, zero, or not below the order.
        """
        # A comparison of integers stops early, but only at the order's leading ones: it tells whether x is refused.
        if len(data) != SCALAR_BYTES or not 0 < int.from_bytes(data, "big") < self.order:
            raise BadSecret
        return SecretScalar(bytes(data))

    def secret_of(self, value: int) -> SecretScalar:
        """A public number, modulo the order, in the form that the secret operations take. May be zero."""
        return SecretScalar((value % self.order).to_bytes(SCALAR_BYTES, "big"))

    def base_multiply(self, factor: SecretScalar) -> Point:
        """`factor` times the generator, in constant time."""
        return self.multiply_secret(self.generator, factor)

    def sum_secrets(self, values: Iterable[SecretScalar]) -> SecretScalar:
        """Sum of secrets; zero of none."""
        total = SecretScalar(bytes(SCALAR_BYTES))
        for value in values:
            total = self.add_secrets(total, value)
        return total

    def hash_to_scalar(self, tag: Tag, *parts: bytes) -> int:
        """`tagged_hash` as a big-endian number modulo the order; its bias is below 2**-127 (spec 40 §1)."""
        return int.from_bytes(tagged_hash(tag, *parts), "big") % self.order

    def derive_secret(self, purpose: bytes, *parts: bytes) -> SecretScalar:
        """A secret from other secrets and entropy: hashes under `Tag.DERIVE` with a counter until one is canonical.

        Arguments:
            purpose: ASCII, another one for each use.
            parts: at least one of them has 256 bits of entropy.
        """
        counter = 0
        while True:
            candidate = tagged_hash(Tag.DERIVE, purpose, bytes((counter,)), *parts)
            try:
                return self.decode_secret(candidate)
            except BadSecret:
                counter += 1

    def hash_to_point(self, tag: Tag, *parts: bytes) -> Point:
        """The first of 02 || tagged_hash(tag, parts, counter u8) that is on the curve. For public input only.

        Raises:
            BadPoint: None of 256 counters gives a point (probability 2**-256).
        """
        for counter in range(256):
            try:
                return self.decode_point(b"\x02" + tagged_hash(tag, *parts, bytes((counter,))))
            except BadPoint:
                continue
        raise BadPoint

    @cached_property
    def second_generator(self) -> Point:
        """H, a point whose logarithm to G nobody knows: `hash_to_point(Tag.GENERATOR)` (spec 40 §1)."""
        return self.hash_to_point(Tag.GENERATOR)
