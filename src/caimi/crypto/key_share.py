"""The validators' public key and one validator's share of its secret (spec 40 §3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caimi.crypto.errors import BadKeyShare, BadThresholdKey
from caimi.crypto.group import POINT_BYTES, SCALAR_BYTES, Point, SecretScalar
from caimi.crypto.polynomial import lagrange
from caimi.crypto.secp256k1 import GROUP
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Epoch

__all__ = ["KeyShare", "ThresholdKey"]

_FORMAT: Final = 1
_HEAD: Final = 1 + 8 + 1 + 1
_MAX_VALIDATORS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdKey:
    """The public side of one epoch's key: what a host needs to judge partials."""

    epoch: Epoch
    threshold: int
    """t: how many valid partials combine, 1 <= t <= n."""
    group_key: Point
    """Y = xG. The same in every epoch of a network."""
    verification_keys: tuple[Point, ...]
    """Of share index 1 to n: the share's value times G."""

    @property
    def n(self) -> int:
        """How many shares there are."""
        return len(self.verification_keys)

    def verify(self) -> None:
        """Check that group key (at 0) and verification keys (at 1 to n) lie on one polynomial of degree below t.

        Raises:
            BadThresholdKey: They do not, t or n is out of bounds, or a key is the point at infinity.
        """
        places = (self.group_key, *self.verification_keys)
        if not 1 <= self.threshold <= self.n <= _MAX_VALIDATORS or any(place.is_infinity for place in places):
            raise BadThresholdKey
        base = range(self.threshold)
        for at in range(self.threshold, self.n + 1):
            terms = (GROUP.multiply_public(places[i], c) for i, c in zip(base, lagrange(base, at), strict=True))
            if GROUP.add(*terms) != places[at]:
                raise BadThresholdKey

    def to_bytes(self) -> bytes:
        """Format u8 (1), epoch u64, n u8, t u8, group key, n verification keys: 44 + 33n bytes."""
        head = bytes((_FORMAT,)) + self.epoch.to_bytes(8, "big") + bytes((self.n, self.threshold))
        return head + b"".join(point.encode() for point in (self.group_key, *self.verification_keys))

    @classmethod
    def from_bytes(cls, data: bytes) -> ThresholdKey:
        """Inverse of `to_bytes`; the key is verified.

        Raises:
            BadEncoding: Another format or length.
            BadPoint: A key is not a point.
            BadThresholdKey: See `verify`.
        """
        if len(data) < _HEAD or data[0] != _FORMAT or len(data) != _HEAD + POINT_BYTES * (1 + data[9]):
            raise BadEncoding
        group_key, *verification_keys = GROUP.decode_points(data[_HEAD:])
        key = cls(
            epoch=Epoch(int.from_bytes(data[1:9], "big")),
            threshold=data[10],
            group_key=group_key,
            verification_keys=tuple(verification_keys),
        )
        key.verify()
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyShare:
    """One validator's share of one epoch's secret key. `repr` hides the secret."""

    epoch: Epoch
    index: int
    """1 <= index <= n."""
    share: SecretScalar
    """Value of the secret polynomial at `index`."""
    group_key: Point
    verification_keys: tuple[Point, ...]
    threshold: int

    @property
    def public(self) -> ThresholdKey:
        """The side that everybody may know."""
        return ThresholdKey(
            epoch=self.epoch,
            threshold=self.threshold,
            group_key=self.group_key,
            verification_keys=self.verification_keys,
        )

    @property
    def verification_key(self) -> Point:
        """This share's own public key."""
        return self.verification_keys[self.index - 1]

    def verify(self) -> None:
        """Check the public side, and that the share belongs to its verification key.

        Raises:
            BadThresholdKey: See `ThresholdKey.verify`.
            BadKeyShare: The index is out of range or the share is another one's.
        """
        self.public.verify()
        if not 1 <= self.index <= len(self.verification_keys):
            raise BadKeyShare
        if GROUP.base_multiply(self.share) != self.verification_key:
            raise BadKeyShare

    def to_bytes(self) -> bytes:
        """Index u8, share 32 bytes, then the public side. SECRET: to be stored encrypted."""
        return bytes((self.index,)) + self.share.reveal() + self.public.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> KeyShare:
        """Inverse of `to_bytes`; the share is verified.

        Raises:
            BadEncoding, BadPoint, BadThresholdKey: See `ThresholdKey.from_bytes`.
            BadSecret, BadKeyShare: The share is cut, no scalar or another one's.
        """
        share = GROUP.decode_secret(data[1 : 1 + SCALAR_BYTES])
        public = ThresholdKey.from_bytes(data[1 + SCALAR_BYTES :])
        result = cls(
            epoch=public.epoch,
            index=data[0],
            share=share,
            group_key=public.group_key,
            verification_keys=public.verification_keys,
            threshold=public.threshold,
        )
        result.verify()
        return result
