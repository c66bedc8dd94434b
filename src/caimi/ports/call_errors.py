"""Why a call cannot become a transaction, for reasons that are not in the protocol's table of refusals.

* ChainError
  + CallTooLarge: one transaction cannot hold it: split it
  + CallRejected: the ledger refuses it with a reason outside of the table
  + SenderUnfunded: the sender cannot pay the ledger's fee
  + FeeTooLow: another transaction of the same sender and slot is in the way
"""

from __future__ import annotations

from caimi.ports.chain import ChainError, ChainUnavailable
from caimi.types.failure import Blame, Certainty, Retry

__all__ = ["CallRejected", "CallTooLarge", "FeeTooLow", "SenderUnfunded"]


class CallTooLarge(ChainError):
    """The call needs more than one transaction of this ledger may use. Nothing was sent."""

    blame = Blame.RELAY
    certainty = Certainty.PROVEN
    hint = "split the run or the batch into smaller calls"


class CallRejected(ChainError):
    """The ledger refuses the call and gives no reason of the protocol's table. Nothing was sent."""

    blame = Blame.CALLER
    hint = "see the reason; the registry at this address may be another contract or version"


class SenderUnfunded(ChainError):
    """The account that pays for transactions has too little of the chain's own money. Nothing was sent."""

    blame = Blame.OPERATOR
    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "send the chain's native money to the sender's account"


class FeeTooLow(ChainUnavailable):
    """Another transaction with the same slot waits and this one's fee is too low to replace it."""

    hint = "`status` tells which of the two is taken; prepared again, the fee is raised"
