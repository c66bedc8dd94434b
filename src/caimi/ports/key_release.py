"""What a host asks of one validator: the epoch's public key, and its partial for a lease (spec 60 §2).

* CaimiError
  + ForeignPublication, ForeignCapsule: what was sent does not belong to the lease
  + UnreadHome: the validator cannot know the outcome
  + NoShareYet: the key generation is not over
"""

from __future__ import annotations

from typing import Protocol

from caimi.crypto.key_share import ThresholdKey
from caimi.types.errors import Blame, CaimiError, Certainty, Retry
from caimi.types.primitives import Bytes32

__all__ = ["ForeignCapsule", "ForeignPublication", "KeyReleasePort", "NoShareYet", "UnreadHome"]


class ForeignPublication(CaimiError):
    """The bytes do not hash to the publication that is meant."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    hint = "send the publication's bytes as the relay gives them for that id"


class ForeignCapsule(CaimiError):
    """The capsule does not hash to the publication's capsule hash."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    hint = "send the capsule that was made for this publication"


class UnreadHome(CaimiError):
    """This validator reads no such home, so that it cannot know the outcome."""

    blame = Blame.OPERATOR
    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "the publication's home is no lane of this validator's configuration"


class NoShareYet(CaimiError):
    """This validator has no key share: the key generation is not over."""

    certainty = Certainty.PROVEN
    retry = Retry.SAFE
    hint = "wait for the key generation: the validator's /v1/status says for whom it waits"


class KeyReleasePort(Protocol):
    """One validator, as a host sees it."""

    async def public_key(self) -> ThresholdKey:
        """The public side of the epoch's key, by this validator; its points are on one polynomial.

        Raises:
            NoShareYet, ValidatorUnavailable: Ask again later.
        """
        ...

    async def release(self, lease: Bytes32, publication: bytes, capsule: bytes) -> None:
        """Have it put its sealed partial for `lease` on the board. Repeating is harmless.

        Arguments:
            publication: the ABI-encoded record.
            capsule: 195 bytes.
        Raises:
            ValidatorUnavailable, NoShareYet, ChainUnavailable: Ask again later.
            CaimiError: It refuses; see `caimi.validator.release`.
        """
        ...
