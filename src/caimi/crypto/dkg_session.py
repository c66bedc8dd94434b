"""What one key ceremony is for: who deals, who receives, and under which number (spec 41 §1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from caimi.crypto.errors import BadPoint, BadThresholdKey
from caimi.crypto.group import POINT_BYTES
from caimi.crypto.key_share import ThresholdKey
from caimi.crypto.quorum import ValidatorSet
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Address, Bytes32, Epoch
from caimi.wire.keccak import Tag, tagged_hash

__all__ = ["MAX_ATTEMPTS", "DkgSession", "EarlierKey"]

MAX_ATTEMPTS: Final = 16
"""Attempts of one epoch that the board has room for."""
_HEAD: Final = 32 + 8 + 4 + 1 + 1 + 1
_KEY_HEAD: Final = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierKey:
    """The set that holds the key now, and its public side: what a resharing starts from.

    Raises:
        BadThresholdKey: The key has other numbers than the set.
    """

    validators: ValidatorSet
    key: ThresholdKey

    def __post_init__(self) -> None:
        if (self.key.n, self.key.threshold) != (self.validators.n, self.validators.t):
            raise BadThresholdKey


@dataclass(frozen=True, kw_only=True)
class DkgSession:
    """One run. Its id is in every message, so none counts in another run.

    Raises:
        BadEncoding: The attempt is not below 16, or the earlier key's epoch not below this one.
    """

    network: Bytes32
    epoch: Epoch
    """Of the shares that come out."""
    attempt: int
    """0 to 15: one more when a run had to be given up."""
    validators: ValidatorSet
    """The recipients, by share index."""
    earlier: EarlierKey | None = None
    """None for a generation; the dealers of a resharing."""

    def __post_init__(self) -> None:
        if not 0 <= self.attempt < MAX_ATTEMPTS:
            raise BadEncoding
        if self.earlier is not None and self.earlier.key.epoch >= self.epoch:
            raise BadEncoding

    @property
    def dealing(self) -> ValidatorSet:
        """The set of the dealers."""
        return self.validators if self.earlier is None else self.earlier.validators

    @cached_property
    def seats(self) -> tuple[Address, ...]:
        """Accounts by seat, seat 1 first: the dealers, then the recipients that are no dealers."""
        dealers = self.dealing.validators
        return (*dealers, *(account for account in self.validators.validators if account not in dealers))

    @property
    def dealers(self) -> range:
        """Seats that may deal, 1 to n; a dealer's seat is its share index of the earlier set."""
        return range(1, self.dealing.n + 1)

    @cached_property
    def recipients(self) -> tuple[int, ...]:
        """Seats that get a share, by share index: place i is share index i + 1."""
        return tuple(self.seats.index(account) + 1 for account in self.validators.validators)

    @cached_property
    def _share_indices(self) -> dict[int, int]:
        return {seat: index for index, seat in enumerate(self.recipients, start=1)}

    def share_index(self, seat: int) -> int:
        """Share index of a recipient's seat.

        Raises:
            KeyError: The seat is no recipient's.
        """
        return self._share_indices[seat]

    def is_recipient(self, seat: int) -> bool:
        """Whether the seat gets a share."""
        return seat in self._share_indices

    @cached_property
    def id(self) -> Bytes32:
        """tagged_hash(DKG_SESSION, encoded session)."""
        return tagged_hash(Tag.DKG_SESSION, self.to_bytes())

    def to_bytes(self) -> bytes:
        """network 32, epoch u64, attempt u32, n u8, f u8, t u8, n accounts of 20 bytes; then the earlier set.

        Which is f u8, its accounts and its encoded `ThresholdKey`, and absent in a generation.
        """
        numbers = self.epoch.to_bytes(8, "big") + self.attempt.to_bytes(4, "big")
        shape = bytes((self.validators.n, self.validators.f, self.validators.t))
        head = self.network + numbers + shape + b"".join(self.validators.validators)
        if self.earlier is None:
            return head
        dealing = self.earlier.validators
        return head + bytes((dealing.f,)) + b"".join(dealing.validators) + self.earlier.key.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> DkgSession:
        """Inverse of `to_bytes`.

        Raises:
            BadEncoding: Another length or form.
            BadQuorum, BadValidatorSet: A set is outside its bounds.
            BadThresholdKey: The earlier key does not fit its set or itself.
        """
        if len(data) < _HEAD or len(data) < (end := _HEAD + 20 * data[44]):
            raise BadEncoding
        validators = ValidatorSet(validators=_accounts(data[_HEAD:end]), f=data[45], t=data[46])
        return cls(
            network=Bytes32(data[:32]),
            epoch=Epoch(int.from_bytes(data[32:40], "big")),
            attempt=int.from_bytes(data[40:44], "big"),
            validators=validators,
            earlier=_earlier(data[end:]) if data[end:] else None,
        )


def _accounts(data: bytes) -> tuple[Address, ...]:
    return tuple(Address(data[i : i + 20]) for i in range(0, len(data), 20))


def _earlier(data: bytes) -> EarlierKey:
    # f, then 20 bytes of account and 33 of verification key for each of the n, and the rest of the key.
    fixed = 1 + _KEY_HEAD + POINT_BYTES
    n, rest = divmod(len(data) - fixed, 20 + POINT_BYTES)
    if n < 1 or rest:
        raise BadEncoding
    accounts = _accounts(data[1 : 1 + 20 * n])
    try:
        key = ThresholdKey.from_bytes(data[1 + 20 * n :])
    except BadPoint as error:
        raise BadEncoding from error
    return EarlierKey(validators=ValidatorSet(validators=accounts, f=data[0], t=key.threshold), key=key)
