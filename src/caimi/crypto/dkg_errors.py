"""Faults of a key generation; `culprit` is the share index of the validator that made each (spec 40 §9).

* DkgFault
  + MalformedMessage, WrongSession, WrongSender, OutOfPhase, DuplicateMessage: the board should not have it
  + WrongDegree, WrongOpening, BadPossession, DuplicateSealingKey, WrongShare: the dealer's fault
  + BadComplaint, FalseComplaint: the accuser's fault
  + UnaskedJustification, WrongTranscript
  + ForeignOwnMessage: somebody else posts as this validator, or its seed was lost
  + DegenerateKey: nobody's fault, probability 2**-256
"""

from __future__ import annotations

from caimi.crypto.errors import CryptoError
from caimi.types.failure import Blame, Certainty, Retry

__all__ = [
    "BadComplaint",
    "BadPossession",
    "DegenerateKey",
    "DkgFault",
    "DuplicateMessage",
    "DuplicateSealingKey",
    "FalseComplaint",
    "ForeignOwnMessage",
    "MalformedMessage",
    "OutOfPhase",
    "UnaskedJustification",
    "WrongDegree",
    "WrongOpening",
    "WrongSender",
    "WrongSession",
    "WrongShare",
    "WrongTranscript",
]


class DkgFault(CryptoError):
    """Root. The message is refused and the participant's state is as before.

    The messages are on the ledger under their validators' signatures, so what they show is proven to anybody.
    """

    blame = Blame.VALIDATOR
    certainty = Certainty.PROVEN
    hint = "start the key generation again with the next attempt number, without this validator"

    def __init__(self, culprit: int, problem: str) -> None:
        super().__init__(f"validator {culprit}: {problem}")
        self.culprit = culprit


class MalformedMessage(DkgFault):
    """The bytes are not the canonical form of a message of this session's size."""


class WrongSession(DkgFault):
    """The message belongs to another session: another network, epoch, attempt or validator set."""


class WrongSender(DkgFault):
    """The message names another index than the one it was posted under."""


class OutOfPhase(DkgFault):
    """The message belongs to a phase that is not open."""

    certainty = Certainty.SUSPECTED
    retry = Retry.AFTER
    hint = "feed the board's messages phase by phase"


class DuplicateMessage(DkgFault):
    """A different message of this index and phase was accepted before."""


class WrongDegree(DkgFault):
    """The dealer's polynomial has another number of coefficients than t."""


class WrongOpening(DkgFault):
    """The revealed commitments are not those of the dealer's first message."""


class BadPossession(DkgFault):
    """The dealer does not prove that it knows the secret behind a key of its own."""


class DuplicateSealingKey(DkgFault):
    """The sealing key is another validator's."""


class WrongShare(DkgFault):
    """The share does not lie on the polynomial that the dealer committed to."""


class BadComplaint(DkgFault):
    """The accuser does not prove what it received."""


class FalseComplaint(DkgFault):
    """What the accuser received is, as its own proof shows, a right share."""


class UnaskedJustification(DkgFault):
    """The message does not answer exactly the complaints against its dealer."""


class WrongTranscript(DkgFault):
    """The closing message names another transcript or key than this participant computed."""


class ForeignOwnMessage(DkgFault):
    """The board holds a message of this validator that this participant did not make."""

    blame = Blame.OPERATOR
    certainty = Certainty.SUSPECTED
    hint = "the seed of this key generation was lost or the signing key is used elsewhere: find out before going on"


class DegenerateKey(DkgFault):
    """A sum of contributions is the point at infinity."""

    blame = Blame.NOBODY
    hint = "start the key generation again with the next attempt number"
