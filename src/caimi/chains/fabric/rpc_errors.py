"""From a failed gRPC call to the typed error of its phase."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from caimi.chains.fabric.errors import (
    ChaincodeRefusal,
    CommitStatusError,
    EndorseError,
    EndorseUnavailable,
    EvaluateError,
    EvaluateUnavailable,
    FabricError,
    PeersApart,
    ProposalTimeRefused,
    SubmitError,
    SubmitOutcomeUnknown,
    SubmitUnavailable,
)
from caimi.chains.fabric.proto import StatusDetail, decode_error_details

__all__ = [
    "chaincode_refusal",
    "commit_status_error",
    "endorse_error",
    "evaluate_error",
    "is_already_ordered",
    "submit_error",
]

_DETAILS_TRAILER: Final = "grpc-status-details-bin"
# The peer prefixes what the chaincode returned; the chaincode's own part is `Code: text` or a `Code` of mixed case
# alone. Other messages, such as `ledger: ...`, are failures and no decisions.
_REFUSAL: Final = re.compile(
    r"chaincode response \d+, (?:([A-Z][A-Za-z0-9_]{1,63}): (.*)|([A-Z](?=[A-Za-z0-9]*[a-z])[A-Za-z0-9]{1,63})\Z)",
    re.DOTALL,
)
_TIME_WINDOW: Final = "request unauthorized due to incorrect timestamp"
_TOO_LARGE: Final = "larger than max"
# An identity that the channel does not admit, or a server that is not the one expected, stays so, although the
# status is one that passes.
_INADMISSIBLE: Final = (
    "access denied",
    "creator certificate is not valid",
    "error validating proposal",
    "CERTIFICATE_VERIFY_FAILED",
)

_PASSING: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
    }
)
# Left the choice, the Gateway asks its own peer first, and the others only if that one endorses.
_OTHERS_FAILED: Final = "failed to collect enough transaction endorsements"
# Statuses with which the Gateway answers Submit before it has contacted any orderer.
_SUBMIT_REFUSED: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
_NO_ORDERER: Final = "no orderer nodes available"
# What a SmartBFT orderer says that the others overtook: the block was cut before it had the transaction from us.
_ALREADY_ORDERED: Final = ("request already processed", "request already exists")


def chaincode_refusal(message: str) -> ChaincodeRefusal | None:
    """Read the `Code: text` or lone `Code` of the chaincode out of a peer's message, if it has one."""
    found = _REFUSAL.search(message)
    return ChaincodeRefusal(found[1] or found[3], found[2] or "") if found else None


def evaluate_error(error: grpc.aio.AioRpcError) -> FabricError:
    """Type the failure of a query."""
    return _proposal_error(error, "", EvaluateError, EvaluateUnavailable)


def endorse_error(error: grpc.aio.AioRpcError, tx_id: str, *, organisations: Sequence[str] = ()) -> FabricError:
    """Type the failure of an endorsement by `organisations`, empty for the Gateway's choice; nothing was ordered."""
    status, message, details = _read(error)
    if not organisations and _OTHERS_FAILED in message and any(chaincode_refusal(detail.message) for detail in details):
        return PeersApart(status, message, tx_id=tx_id, details=details)
    return _proposal_error(error, tx_id, EndorseError, EndorseUnavailable)


def submit_error(error: grpc.aio.AioRpcError, tx_id: str) -> FabricError:
    """Type the failure of a submission: unknown unless the Gateway surely contacted no orderer."""
    status, message, details = _read(error)
    if error.code() in _SUBMIT_REFUSED or _TOO_LARGE in message:
        return SubmitError(status, message, tx_id=tx_id, details=details)
    if error.code() is grpc.StatusCode.FAILED_PRECONDITION or _NO_ORDERER in message:
        return SubmitUnavailable(status, message, tx_id=tx_id, details=details)
    return SubmitOutcomeUnknown(status, message, tx_id=tx_id, details=details)


def is_already_ordered(error: grpc.aio.AioRpcError) -> bool:
    """Tell whether a submission failed only because orderers have the transaction already, by their word."""
    _, _, details = _read(error)
    return bool(details) and all(any(mark in detail.message for mark in _ALREADY_ORDERED) for detail in details)


def commit_status_error(error: grpc.aio.AioRpcError, tx_id: str) -> CommitStatusError:
    """Type the failure of asking for an outcome: the outcome stays unknown."""
    status, message, details = _read(error)
    return CommitStatusError(status, message, tx_id=tx_id, details=details)


def _proposal_error(
    error: grpc.aio.AioRpcError,
    tx_id: str,
    refused: type[EvaluateError | EndorseError],
    unavailable: type[EvaluateUnavailable | EndorseUnavailable],
) -> FabricError:
    status, message, details = _read(error)
    said = [message, *(detail.message for detail in details)]
    refusals = [refusal for text in said if (refusal := chaincode_refusal(text))]
    # Peers that disagree about the reason prove nothing about the call: only one common code is a refusal.
    if len({refusal.code for refusal in refusals}) == 1:
        return refusals[0]
    if any(_TIME_WINDOW in text for text in said):
        return ProposalTimeRefused(next(text for text in said if _TIME_WINDOW in text))
    permanent = _TOO_LARGE in message or any(mark in text for mark in _INADMISSIBLE for text in said)
    kind = unavailable if error.code() in _PASSING and not permanent else refused
    return kind(status, message, tx_id=tx_id, details=details)


def _read(error: grpc.aio.AioRpcError) -> tuple[str, str, tuple[StatusDetail, ...]]:
    message = error.details() or ""
    for name, value in error.trailing_metadata() or ():
        if name == _DETAILS_TRAILER and isinstance(value, bytes):
            try:
                return error.code().name, message, decode_error_details(value)
            except (DecodeError, ValueError):
                # The details only explain; an unreadable explanation must not hide the error itself.
                return error.code().name, message, ()
    return error.code().name, message, ()
