"""Receipts of direct calls: a sound one holds, and whatever is changed in it breaks the link that it belongs to."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from caimi.ports.chain import ChainUnavailable
from caimi.sdk.errors import MalformedReceipt
from caimi.sdk.receipts import DirectReceiptFile, parse_receipt, receipt_to_json
from caimi.sdk.verification import RegistryAnswer, Verdict, Verification, verify_receipt
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.types.records import DirectRequest, LeaseRequest, Receipt
from caimi.wire.digests import typed_digest
from tests.unit.sdk.receipt_fixture import (
    HOST,
    INPUT,
    NETWORK,
    OPERATOR,
    OUTPUT,
    STRANGER,
    direct_receipt,
    direct_signed,
    receipt_file,
)

FILE, LEASE = direct_receipt()


def _verify(file: DirectReceiptFile, **changed: Any) -> Verification:
    arguments: dict[str, Any] = {
        "trusted_network": NETWORK,
        "input_payload": INPUT.payload,
        "output_payload": OUTPUT.payload,
        "registry": RegistryAnswer(lease=LEASE),
    }
    return verify_receipt(file, **(arguments | changed))


def _links(verification: Verification, verdict: Verdict) -> set[str]:
    return {finding.link for finding in verification.findings if finding.verdict is verdict}


def _broken(verification: Verification) -> set[str]:
    return _links(verification, Verdict.INVALID)


def test_a_sound_receipt_holds_and_says_what_is_not_built() -> None:
    verification = _verify(FILE)
    assert verification.is_valid
    assert verification.request == FILE.receipt.request
    assert _links(verification, Verdict.NONE) == {"grant", "quote", "heartbeat"}
    assert _links(verification, Verdict.UNATTESTED) == {"attestation"}
    assert not _links(verification, Verdict.NOT_CHECKED)


def test_a_file_read_again_is_the_same() -> None:
    data = json.dumps(receipt_to_json(FILE)).encode()
    assert parse_receipt(data, "x") == FILE


def test_without_a_board_the_lease_is_not_checked_and_breaks_nothing() -> None:
    for answer in (None, RegistryAnswer(failure=ChainUnavailable("down"))):
        verification = _verify(FILE, registry=answer)
        assert verification.is_valid
        assert _links(verification, Verdict.NOT_CHECKED) == {"lease"}


@pytest.mark.parametrize("name", [None, *(field.name for field in fields(LeaseRequest))])
def test_rejects_a_lease_that_the_board_does_not_hold(name: str | None) -> None:
    held = None if name is None else replace(LEASE, **{name: _changed(getattr(LEASE, name))})
    assert _broken(_verify(FILE, registry=RegistryAnswer(lease=held))) == {"lease"}


@pytest.mark.parametrize(
    "change",
    [
        {"publication": Bytes32(bytes(32))},
        {"signing_key": OPERATOR.address},
        {"sealing_key": Bytes32(bytes(32))},
        {"end": UnixSeconds(FILE.receipt.time - 1)},
    ],
)
def test_rejects_a_lease_of_the_board_that_is_for_something_else(change: dict[str, Any]) -> None:
    # The receipt names it rightly, and everything is signed.
    lease = replace(LEASE, **change)
    receipt = replace(FILE.receipt, lease=typed_digest(NETWORK, lease))
    file = direct_signed(replace(FILE, receipt=receipt))
    assert _broken(_verify(file, registry=RegistryAnswer(lease=lease))) == {"lease"}


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("receipt_signature", "host key → receipt"),
        ("request_signature", "consumer → request"),
        ("operator_signature", "operator → host key"),
    ],
)
def test_rejects_a_signature_that_is_not_the_right_ones(name: str, link: str) -> None:
    records = {
        "receipt_signature": FILE.receipt,
        "request_signature": FILE.request,
        "operator_signature": FILE.host_key,
    }
    digest = typed_digest(NETWORK, records[name])
    stranger = HOST if name == "request_signature" else STRANGER
    for forged in (bytes(65), stranger.sign(digest).to_bytes(), HOST.sign(Bytes32(bytes(32))).to_bytes()):
        assert _broken(_verify(replace(FILE, **{name: forged}))) == {link}


def _changed(value: Any) -> Any:
    match value:
        case int():
            return value + 1
        case bytes():
            return value[:-1] + bytes([value[-1] ^ 1])
        case _:
            return replace(value, registry=Bytes32(b"\xee" * 32))


@pytest.mark.parametrize("name", [field.name for field in fields(DirectRequest)])
def test_rejects_a_request_that_its_consumer_signed_otherwise(name: str) -> None:
    request = replace(FILE.request, **{name: _changed(getattr(FILE.request, name))})
    assert "request ↔ receipt" in _broken(_verify(direct_signed(replace(FILE, request=request))))


@pytest.mark.parametrize("name", [field.name for field in fields(Receipt)])
def test_rejects_a_receipt_that_its_host_signed_for_something_else(name: str) -> None:
    value = UnixSeconds(FILE.request.deadline + 1) if name == "time" else _changed(getattr(FILE.receipt, name))
    assert not _verify(direct_signed(replace(FILE, receipt=replace(FILE.receipt, **{name: value})))).is_valid


def test_rejects_another_session_and_another_start_of_the_host() -> None:
    assert _broken(_verify(replace(FILE, session=bytes(80)))) == {"request ↔ host key"}
    request = replace(FILE.request, host=STRANGER.address)
    receipt = replace(FILE.receipt, request=typed_digest(NETWORK, request))
    other = direct_signed(replace(FILE, request=request, receipt=receipt))
    assert _broken(_verify(other)) == {"request ↔ host key"}


@pytest.mark.parametrize("name", ["request", "answer", "answer_signature", "surprise"])
def test_rejects_a_file_that_is_of_both_kinds(name: str) -> None:
    both = receipt_to_json(FILE) | {name: receipt_to_json(receipt_file()).get(name, 1)}
    with pytest.raises(MalformedReceipt, match=name):
        parse_receipt(json.dumps(both).encode(), "x")


@pytest.mark.parametrize("name", ["direct_signature", "session", "receipt"])
def test_rejects_a_file_that_lacks_something(name: str) -> None:
    left = receipt_to_json(FILE)
    del left[name]
    with pytest.raises(MalformedReceipt, match=name):
        parse_receipt(json.dumps(left).encode(), "x")


@pytest.mark.parametrize(("name", "value"), [("session", "0x00"), ("direct", "0x"), ("direct_signature", "0x00")])
def test_rejects_a_malformed_member(name: str, value: str) -> None:
    with pytest.raises(MalformedReceipt, match=f"'{name}'"):
        parse_receipt(json.dumps(receipt_to_json(FILE) | {name: value}).encode(), "x")
