"""Typed errors of the Fabric client, by the phase that failed and by what the caller may do.

* CaimiError
  + FabricError
    - FabricIdentityError: certificate or key unusable (never)
    - ChaincodeRefusal: the chaincode said no, with a code (never)
    - ProposalTimeRefused: timestamp outside the endorsers' window (safe: prepare again with a right clock)
    - EvaluateError (never) > EvaluateUnavailable (safe)
    - EndorseError (never) > EndorseUnavailable (safe) > PeersApart; nothing was ordered
    - SubmitError (never) > SubmitUnavailable (safe); nothing was ordered
    - OutcomeUnknown (after asking `status_of`) > SubmitOutcomeUnknown, CommitStatusError
    - CommitError: ordered and found invalid (never) > CommitConflict (safe, as a new transaction)
    - MalformedBlock, BrokenBlockChain: the peer delivered what no honest ledger holds (never)
    - DeliverRefused: the peer does not serve blocks to this identity (never)
    - ParticipationError: an orderer did not join the channel (safe)
    - LifecycleError (never) > LifecycleTimeout (safe): the channel could not be brought up

`Retry.SAFE` on an endorsement or submission means: the same call may be prepared and sent again.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from caimi.chains.fabric.proto import StatusDetail
from caimi.types.failure import Blame, CaimiError, Certainty, Retry

__all__ = [
    "BrokenBlockChain",
    "ChaincodeRefusal",
    "CommitConflict",
    "CommitError",
    "CommitStatusError",
    "DeliverRefused",
    "EndorseError",
    "EndorseUnavailable",
    "EvaluateError",
    "EvaluateUnavailable",
    "FabricError",
    "FabricIdentityError",
    "LifecycleError",
    "LifecycleTimeout",
    "MalformedBlock",
    "OutcomeUnknown",
    "ParticipationError",
    "PeersApart",
    "ProposalTimeRefused",
    "SubmitError",
    "SubmitOutcomeUnknown",
    "SubmitUnavailable",
    "ValidationCode",
]


class ValidationCode(IntEnum):
    """What the validating peers found about an ordered transaction (protos.TxValidationCode)."""

    VALID = 0
    NIL_ENVELOPE = 1
    BAD_PAYLOAD = 2
    BAD_COMMON_HEADER = 3
    BAD_CREATOR_SIGNATURE = 4
    INVALID_ENDORSER_TRANSACTION = 5
    INVALID_CONFIG_TRANSACTION = 6
    UNSUPPORTED_TX_PAYLOAD = 7
    BAD_PROPOSAL_TXID = 8
    DUPLICATE_TXID = 9
    ENDORSEMENT_POLICY_FAILURE = 10
    MVCC_READ_CONFLICT = 11
    PHANTOM_READ_CONFLICT = 12
    UNKNOWN_TX_TYPE = 13
    TARGET_CHAIN_NOT_FOUND = 14
    MARSHAL_TX_ERROR = 15
    NIL_TXACTION = 16
    EXPIRED_CHAINCODE = 17
    CHAINCODE_VERSION_CONFLICT = 18
    BAD_HEADER_EXTENSION = 19
    BAD_CHANNEL_HEADER = 20
    BAD_RESPONSE_PAYLOAD = 21
    BAD_RWSET = 22
    ILLEGAL_WRITESET = 23
    INVALID_WRITESET = 24
    INVALID_CHAINCODE = 25
    NOT_VALIDATED = 254
    INVALID_OTHER_REASON = 255


class FabricError(CaimiError):
    """Root of what this client raises."""

    blame = Blame.NODE


class FabricIdentityError(FabricError):
    """A certificate or key of the channel's membership cannot be used."""

    blame = Blame.OPERATOR
    certainty = Certainty.PROVEN
    hint = "give the PEM certificate and the unencrypted P-256 key that the organisation issued"


class ChaincodeRefusal(FabricError):
    """The chaincode answered `Code: text` or `Code`. Nothing was ordered."""

    blame = Blame.CALLER
    hint = "the registry's rules forbid this call in its present state"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        """Word before the first colon of the chaincode's message."""
        self.message = message
        """Text after it; may be empty."""


class ProposalTimeRefused(FabricError):
    """The timestamp in the proposal is outside the endorsers' window. Nothing was ordered."""

    blame = Blame.CALLER
    retry = Retry.SAFE
    hint = "set the clock of this machine, then prepare the call again"


class _CallError(FabricError):
    # One failed gRPC call: its status name and what single nodes said.
    phase: ClassVar[str] = ""

    def __init__(self, status: str, message: str, *, tx_id: str = "", details: tuple[StatusDetail, ...] = ()) -> None:
        said = "; ".join(f"{d.msp_id} at {d.address}: {d.message}" for d in details)
        super().__init__(f"{self.phase} {tx_id or 'call'}: {status} {message}" + (f" ({said})" if said else ""))
        self.status = status
        """Name of the gRPC status, such as UNAVAILABLE."""
        self.tx_id = tx_id
        """Transaction id, empty for a query."""
        self.details = details
        """What single peers or orderers answered."""


class EvaluateError(_CallError):
    """The peer refused to answer a query."""

    phase = "evaluate"
    blame = Blame.CALLER
    hint = "the call, the channel or the identity is not acceptable to the peer"


class EvaluateUnavailable(EvaluateError):
    """No peer could answer now."""

    blame = Blame.NODE
    retry = Retry.SAFE
    hint = "the peer or its chaincode is starting or down: ask again"


class EndorseError(_CallError):
    """The endorsers refused the proposal. Nothing was ordered."""

    phase = "endorse"
    blame = Blame.CALLER
    hint = "the call, the channel or the identity is not acceptable to the peers"


class EndorseUnavailable(EndorseError):
    """Not enough organisations could endorse now. Nothing was ordered."""

    blame = Blame.NODE
    retry = Retry.SAFE
    hint = "too few peers are up or they are at different heights: prepare and send again"


class PeersApart(EndorseUnavailable):
    """The Gateway's own peer endorses what the others refuse: they are at different heights. Nothing was ordered."""

    hint = "one of the peers lags: prepare and send again"


class SubmitError(_CallError):
    """The endorsed transaction was refused before it reached an orderer."""

    phase = "submit"
    blame = Blame.CALLER
    hint = "the transaction is not acceptable to the peer"


class SubmitUnavailable(SubmitError):
    """No orderer was reachable, so nothing was ordered."""

    blame = Blame.NODE
    retry = Retry.SAFE
    hint = "too few orderers are up: send again"


class OutcomeUnknown(_CallError):
    """The transaction may or may not commit."""

    phase = "outcome"
    retry = Retry.AFTER
    hint = "ask status_of with the same transaction id before anything is sent again"


class SubmitOutcomeUnknown(OutcomeUnknown):
    """Sent to orderers, but fewer than a quorum confirmed it."""

    phase = "submit"


class CommitStatusError(OutcomeUnknown):
    """Ordered, but the peer has not told the outcome."""

    phase = "commit status"


class CommitError(FabricError):
    """The transaction was ordered and found invalid: it changed nothing and never will."""

    blame = Blame.CALLER
    certainty = Certainty.PROVEN
    hint = "the validation code tells what was wrong with the transaction"

    def __init__(self, tx_id: str, block_number: int, code: ValidationCode) -> None:
        super().__init__(f"transaction {tx_id} in block {block_number}: {code.name}")
        self.tx_id = tx_id
        self.block_number = block_number
        self.code = code


class CommitConflict(CommitError):
    """Another transaction changed what this one had read."""

    blame = Blame.NOBODY
    retry = Retry.SAFE
    hint = "prepare the call again as a new transaction"


class MalformedBlock(FabricError):
    """A delivered block cannot be read or breaks a limit."""

    hint = "read the blocks from another peer"


class BrokenBlockChain(FabricError):
    """A delivered block does not follow from the one before it."""

    certainty = Certainty.PROVEN
    hint = "stop trusting this peer and read the blocks from another"


class DeliverRefused(FabricError):
    """The peer does not serve blocks to this identity."""

    blame = Blame.OPERATOR
    hint = "use an identity that the channel's Readers policy admits"


class ParticipationError(FabricError):
    """An orderer did not join the channel."""

    retry = Retry.SAFE
    hint = "see the orderer's log"


class LifecycleError(FabricError):
    """The chaincode could not be installed, approved or committed."""

    blame = Blame.OPERATOR
    hint = "see the peer's log; state of another version must be migrated or wiped"


class LifecycleTimeout(LifecycleError):
    """The channel did not come up in time."""

    blame = Blame.NODE
    retry = Retry.SAFE
    hint = "see the logs of peers and orderers, then bring it up again: every step is idempotent"
