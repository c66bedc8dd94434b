"""Proof that a validator said two things where it may say one (spec 41 §4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caimi.crypto.dkg_errors import NotEvidence
from caimi.crypto.ecdsa import verify_signer
from caimi.types.errors import BadLength, BadSignature, HighS, WrongSigner
from caimi.types.primitives import Address, Bytes32
from caimi.types.records import BoardPost
from caimi.wire.digests import typed_digest

__all__ = ["PostEquivocation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostEquivocation:
    """Two posts of one seat for one place of the board. The ledger holds at most one of them."""

    first: BoardPost
    first_signature: bytes
    """65 bytes."""
    second: BoardPost
    second_signature: bytes
    """65 bytes."""

    def verify(self, *, network: Bytes32, seats: Sequence[Address]) -> int:
        """Check that the two convict the owner of a seat; anybody may.

        Arguments:
            seats: accounts by seat, seat 1 first.
        Returns:
            The seat.
        Raises:
            NotEvidence: They are for two places, or the same, or not both signed by the seat's account.
        """
        places = {(post.at, post.epoch, post.phase, post.index) for post in (self.first, self.second)}
        seat = self.first.index
        if len(places) != 1 or self.first.body_hash == self.second.body_hash or not 1 <= seat <= len(seats):
            raise NotEvidence
        try:
            verify_signer(typed_digest(network, self.first), self.first_signature, seats[seat - 1])
            verify_signer(typed_digest(network, self.second), self.second_signature, seats[seat - 1])
        except (BadLength, BadSignature, HighS, WrongSigner) as error:
            raise NotEvidence from error
        return seat
