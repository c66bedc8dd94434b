"""Why a call cannot become a transaction, for reasons that are not in the protocol's table of refusals.

* ChainError
  + CallTooLarge: one transaction cannot hold it: split it
  + CallRejected: the ledger refuses it with a reason outside of the table
  + SenderUnfunded: the sender cannot pay the ledger's fee
  + FeeBoundReached: the ledger wants more than the operator allows
  + ChainUnavailable
    - FeeTooLow: the price does not do now; a higher one under the same slot does
    - NotTakenNow: the node's pool has no place for it now
"""

from __future__ import annotations

from caimi.ports.chain import ChainError, ChainUnavailable
from caimi.types.failure import Blame, Certainty, Retry

__all__ = ["CallRejected", "CallTooLarge", "FeeBoundReached", "FeeTooLow", "NotTakenNow", "SenderUnfunded"]


class CallTooLarge(ChainError):
    """The call needs more than one transaction of this ledger may use now. Nothing was sent."""

    blame = Blame.NOBODY
    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "tried again by itself, a ledger may have more room later; if it stays, bring smaller batches"


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


class FeeBoundReached(ChainError):
    """What the ledger wants for a transaction now is above what the operator allows. Nothing was sent."""

    blame = Blame.OPERATOR
    certainty = Certainty.PROVEN
    retry = Retry.AFTER
    hint = "wait until the chain is cheaper, it goes on by itself; or raise `max_fee_per_gas` of the lane and restart"


class FeeTooLow(ChainUnavailable):
    """The node takes these bytes for no price this low: of the block, or to replace another one of the same slot."""

    hint = "the same call is signed again under the same slot at a higher fee; `status` tells which of the two is taken"


class NotTakenNow(ChainUnavailable):
    """The node's pool takes no such transaction at the moment: it is full, or earlier slots are missing there."""

    hint = "it is sent again by itself"
