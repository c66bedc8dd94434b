"""Faults of a key ceremony; `culprit` is the seat of the validator that made each (spec 41 §4).

* DkgFault
  + MalformedMessage, WrongSession, WrongSender, NotDue, OutOfPhase, DuplicateMessage: the board should not have it
  + WrongDegree, WrongOpening, WrongConstant, BadPossession, DuplicateSealingKey, WrongShare: the dealer's fault
  + BadComplaint, FalseComplaint: the accuser's fault
  + UnaskedJustification, WrongTranscript
  + SilentSeat, LateMessage: suspicion only
  + ForeignOwnMessage: somebody else posts as this validator, or its seed was lost
* AttemptFailed: why an attempt gave no key
  + TooFewDealers, TooFewReceivers, NotClosed: more were faulty, or slow, than the protocol allows for
  + DegenerateKey: nobody's fault, probability 2**-256
* BoardRewritten: the board shows another history than before
* NotEvidence: what was handed in convicts nobody
"""

from __future__ import annotations

from caimi.crypto.errors import CryptoError
from caimi.types.failure import Blame, Certainty, Retry

__all__ = [
    "AttemptFailed",
    "BadComplaint",
    "BadPossession",
    "BoardRewritten",
    "DegenerateKey",
    "DkgFault",
    "DuplicateMessage",
    "DuplicateSealingKey",
    "FalseComplaint",
    "ForeignOwnMessage",
    "LateMessage",
    "MalformedMessage",
    "NotClosed",
    "NotDue",
    "NotEvidence",
    "OutOfPhase",
    "SilentSeat",
    "TooFewDealers",
    "TooFewReceivers",
    "UnaskedJustification",
    "WrongConstant",
    "WrongDegree",
    "WrongOpening",
    "WrongSender",
    "WrongSession",
    "WrongShare",
    "WrongTranscript",
]


class DkgFault(CryptoError):
    """Root. The message does not count; the ceremony goes on without it.

    The messages are on the ledger under their validators' signatures, so what they show is proven to anybody.
    """

    blame = Blame.VALIDATOR
    certainty = Certainty.PROVEN
    hint = "go on without it; `caimi keys audit` shows the fault to anybody"

    def __init__(self, culprit: int, problem: str) -> None:
        super().__init__(f"seat {culprit}: {problem}")
        self.culprit = culprit


class MalformedMessage(DkgFault):
    """The bytes are not the canonical form of a message of this step and session's size."""


class WrongSession(DkgFault):
    """The message belongs to another session: another network, epoch, attempt or validator set."""


class WrongSender(DkgFault):
    """The message names another seat than the one it was posted under."""


class NotDue(DkgFault):
    """The phase asks nothing of this seat."""


class OutOfPhase(DkgFault):
    """The message was on the board before its phase was open."""


class DuplicateMessage(DkgFault):
    """A different message of this seat and step was on the board before."""


class WrongDegree(DkgFault):
    """The dealer's polynomial has another number of coefficients than t."""


class WrongOpening(DkgFault):
    """The revealed commitments are not those of the dealer's first message."""


class WrongConstant(DkgFault):
    """In a resharing the dealer deals something else than its share."""


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
    """The closing message names another transcript or key than the board's messages give."""


class SilentSeat(DkgFault):
    """The phase was closed by votes before this seat had posted."""

    certainty = Certainty.SUSPECTED
    hint = "ask its operator: the validator, its node or the network may have been down"


class LateMessage(DkgFault):
    """The message came after its phase was over."""

    certainty = Certainty.SUSPECTED
    hint = "ask its operator: the validator, its node or the network may have been slow"


class ForeignOwnMessage(DkgFault):
    """The board holds a message of this validator that this participant did not make."""

    blame = Blame.OPERATOR
    certainty = Certainty.SUSPECTED
    hint = "the seed of this key generation was lost or the signing key is used elsewhere: find out before going on"


class AttemptFailed(CryptoError):
    """Root of why an attempt gave no key. The faults heard so far name the culprits."""

    blame = Blame.NOBODY
    retry = Retry.AFTER
    hint = "the validators go on with the next attempt by themselves; see the faults of this one"


class TooFewDealers(AttemptFailed):
    """Fewer than n - f dealers are left."""


class TooFewReceivers(AttemptFailed):
    """Fewer than n - f recipients can be given a share."""


class NotClosed(AttemptFailed):
    """Fewer than q receivers say that they hold their share."""


class DegenerateKey(AttemptFailed):
    """A sum of contributions is the point at infinity."""


class BoardRewritten(CryptoError):
    """The board does not begin with the messages that this participant heard before."""

    blame = Blame.NODE
    certainty = Certainty.SUSPECTED
    hint = "compare the node with others of the channel: it shows another history than before"


class NotEvidence(CryptoError):
    """The two posts are not of one place with two contents, both signed by the account of their seat."""

    hint = "accuse nobody on this"
