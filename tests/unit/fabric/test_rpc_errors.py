"""Each failed call becomes the error of its phase, with the right retry class."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from grpc.aio import AioRpcError, Metadata

from caimi.chains.fabric import proto
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
    ValidationCode,
)
from caimi.chains.fabric.rpc_errors import (
    chaincode_refusal,
    commit_status_error,
    endorse_error,
    evaluate_error,
    is_already_ordered,
    submit_error,
)
from caimi.types.failure import Retry

_Status = grpc.StatusCode


def status_bytes(*said: tuple[str, str, str]) -> bytes:
    """The trailer with one ErrorDetail for each (address, msp id, message), encoded by hand."""
    out = b""
    for address, msp_id, message in said:
        detail: Any = proto.gateway_pb2.ErrorDetail(address=address, msp_id=msp_id, message=message)
        wrapped = any_pb2.Any(type_url="type.googleapis.com/gateway.ErrorDetail", value=detail.SerializeToString())
        content = wrapped.SerializeToString()
        assert len(content) < 1 << 14
        out += b"\x1a" + bytes((len(content) & 0x7F | 0x80, len(content) >> 7)) + content
    return out


def failure(code: grpc.StatusCode, text: str = "", *said: str, trailer: bytes | None = None) -> AioRpcError:
    raw = (
        trailer if trailer is not None else status_bytes(*((f"peer{i}:1", f"Org{i}MSP", m) for i, m in enumerate(said)))
    )
    return AioRpcError(code, Metadata(), Metadata(("grpc-status-details-bin", raw)), text, None)


def test_the_validation_codes_are_those_of_the_protocol() -> None:
    names: dict[str, int] = dict(proto.transaction_pb2.TxValidationCode.items())
    assert {code.name: code.value for code in ValidationCode} == names


@pytest.mark.parametrize("phase", ["evaluate", "endorse"])
def test_a_refusal_of_the_chaincode_carries_code_and_text(phase: str) -> None:
    error = failure(_Status.ABORTED, "see details", "chaincode response 500, NameTaken: m1: by 0xab\nsecond line")
    typed = evaluate_error(error) if phase == "evaluate" else endorse_error(error, "tx")
    assert isinstance(typed, ChaincodeRefusal)
    assert (typed.code, typed.message) == ("NameTaken", "m1: by 0xab\nsecond line")
    assert typed.retry is Retry.NEVER


def test_a_code_alone_is_a_refusal() -> None:
    refusal = chaincode_refusal("evaluate call to endorser returned error: chaincode response 500, NotInitialised")
    assert refusal is not None
    assert (refusal.code, refusal.message, str(refusal)) == ("NotInitialised", "", "NotInitialised")


@pytest.mark.parametrize(
    "message",
    [
        "chaincode response 500, no code here",
        "chaincode response 500, Two words: text",
        "chaincode response 500, : text",
        "chaincode response 500, ledger: timestamp",
        "chaincode response 500, EOF",
        "chaincode response 500, NotInitialised and more",
        "chaincode response 500, " + "A" * 65 + ": text",
        "NameTaken: not from a chaincode",
    ],
)
def test_other_messages_are_no_refusal(message: str) -> None:
    assert chaincode_refusal(message) is None


def test_peers_that_disagree_about_the_code_do_not_make_a_refusal() -> None:
    error = failure(_Status.ABORTED, "", "chaincode response 500, A1: x", "chaincode response 500, B1: x")
    assert type(endorse_error(error, "tx")) is EndorseUnavailable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("failed to endorse transaction, see attached details for more info", ChaincodeRefusal),
        ("failed to collect enough transaction endorsements, see attached details for more info", PeersApart),
    ],
    ids=["the own peer", "the others"],
)
def test_what_only_the_other_peers_refuse_is_no_refusal_yet(text: str, expected: type[FabricError]) -> None:
    error = failure(_Status.ABORTED, text, *["chaincode response 500, LowBalance: 20, 0"] * 3)
    typed = endorse_error(error, "tx")
    assert type(typed) is expected
    assert type(evaluate_error(error)) is ChaincodeRefusal
    # Organisations that the caller names are asked all at once.
    assert type(endorse_error(error, "tx", organisations=["Org1MSP"])) is ChaincodeRefusal


def test_other_peers_that_are_down_are_not_apart() -> None:
    text = "failed to collect enough transaction endorsements, see attached details for more info"
    assert type(endorse_error(failure(_Status.ABORTED, text, "connection refused"), "tx")) is EndorseUnavailable


def test_a_timestamp_outside_the_window_is_named_although_the_status_is_aborted() -> None:
    said = "request unauthorized due to incorrect timestamp 2026-01-01T00:00:00Z, peer time 2026-01-02T00:00:00Z"
    typed = endorse_error(failure(_Status.ABORTED, "failed", said), "tx")
    assert isinstance(typed, ProposalTimeRefused)
    assert typed.retry is Retry.SAFE


@pytest.mark.parametrize(
    "code",
    [_Status.UNAVAILABLE, _Status.ABORTED, _Status.FAILED_PRECONDITION, _Status.DEADLINE_EXCEEDED],
)
def test_an_endorsement_that_may_come_later_is_safe_to_repeat(code: grpc.StatusCode) -> None:
    typed = endorse_error(failure(code, "later"), "tx")
    assert isinstance(typed, EndorseUnavailable)
    assert typed.retry is Retry.SAFE
    assert isinstance(evaluate_error(failure(code, "later")), EvaluateUnavailable)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (_Status.INVALID_ARGUMENT, "a proposal is required"),
        (_Status.PERMISSION_DENIED, "no"),
        (_Status.ABORTED, "error validating proposal: access denied: channel [caimi] creator org [Org2MSP]"),
        (_Status.UNAVAILABLE, "SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED"),
        (_Status.RESOURCE_EXHAUSTED, "Sent message larger than max (70000000 vs. 67108864)"),
    ],
)
def test_a_call_that_no_repetition_mends_is_never_safe(code: grpc.StatusCode, message: str) -> None:
    typed = endorse_error(failure(code, message), "tx")
    assert type(typed) is EndorseError
    assert typed.retry is Retry.NEVER
    assert type(evaluate_error(failure(code, message))) is EvaluateError


@pytest.mark.parametrize(
    ("code", "message", "kind", "retry"),
    [
        (_Status.INVALID_ARGUMENT, "prepared transaction must be signed", SubmitError, Retry.NEVER),
        (_Status.UNAVAILABLE, "no orderer nodes available", SubmitUnavailable, Retry.SAFE),
        (_Status.FAILED_PRECONDITION, "discovery", SubmitUnavailable, Retry.SAFE),
        (_Status.UNAVAILABLE, "insufficient number of orderers", SubmitOutcomeUnknown, Retry.AFTER),
        (_Status.UNAVAILABLE, "connection reset", SubmitOutcomeUnknown, Retry.AFTER),
        (_Status.DEADLINE_EXCEEDED, "", SubmitOutcomeUnknown, Retry.AFTER),
        (_Status.UNKNOWN, "", SubmitOutcomeUnknown, Retry.AFTER),
        (_Status.ABORTED, "", SubmitOutcomeUnknown, Retry.AFTER),
    ],
)
def test_a_submission_is_unknown_unless_surely_nothing_was_ordered(
    code: grpc.StatusCode, message: str, kind: type[Exception], retry: Retry
) -> None:
    typed = submit_error(failure(code, message), "tx1")
    assert type(typed) is kind
    assert typed.retry is retry


def test_orderers_that_the_others_overtook_are_no_failure() -> None:
    overtaken = "status=SERVICE_UNAVAILABLE, info=failed to submit request: request already processed"
    down = "connection refused"
    assert is_already_ordered(failure(_Status.UNAVAILABLE, "insufficient", overtaken, overtaken))
    assert not is_already_ordered(failure(_Status.UNAVAILABLE, "insufficient", overtaken, down))
    assert not is_already_ordered(failure(_Status.UNAVAILABLE, "insufficient"))


def test_no_status_makes_an_unanswered_commit_anything_but_unknown() -> None:
    for code in _Status:
        typed = commit_status_error(failure(code), "tx1")
        assert isinstance(typed, CommitStatusError)
        assert (typed.tx_id, typed.retry) == ("tx1", Retry.AFTER)


def test_what_single_nodes_said_is_kept_and_shown() -> None:
    typed = endorse_error(failure(_Status.ABORTED, "failed", "is down", "is busy"), "tx1")
    assert isinstance(typed, EndorseUnavailable)
    assert [(d.address, d.msp_id, d.message) for d in typed.details] == [
        ("peer0:1", "Org0MSP", "is down"),
        ("peer1:1", "Org1MSP", "is busy"),
    ]
    assert "Org1MSP at peer1:1: is busy" in str(typed)


@pytest.mark.parametrize("trailer", [b"\xff", b"\x1a\x7f", bytes((1 << 20) + 1)], ids=["tag", "short", "long"])
def test_unreadable_details_do_not_hide_the_error(trailer: bytes) -> None:
    typed = endorse_error(failure(_Status.UNAVAILABLE, "down", trailer=trailer), "tx")
    assert isinstance(typed, EndorseUnavailable)
    assert typed.details == ()
