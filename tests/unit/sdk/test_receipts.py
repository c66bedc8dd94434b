"""Receipts: a sound one holds, and whatever is changed in it breaks the link that it belongs to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from caimi.ports.chain import ChainUnavailable
from caimi.sdk.errors import MalformedReceipt, NoReceipt
from caimi.sdk.network import write_json
from caimi.sdk.receipts import ReceiptFile, parse_receipt, read_receipt, receipt_to_json
from caimi.sdk.verification import RegistryAnswer, Verdict, Verification, verify_receipt
from caimi.types.primitives import ZERO32, Bytes32, UnixSeconds
from caimi.types.records import Cid, Lane, Receipt
from caimi.wire.digests import typed_digest
from tests.unit.sdk.receipt_fixture import (
    HOME,
    HOST,
    INPUT,
    MIRROR,
    NETWORK,
    OPERATOR,
    OUTPUT,
    STRANGER,
    receipt_file,
    signed,
)


def _verify(file: ReceiptFile, **changed: Any) -> Verification:
    arguments: dict[str, Any] = {
        "trusted_network": NETWORK,
        "input_payload": INPUT.payload,
        "output_payload": OUTPUT.payload,
        "registry": RegistryAnswer(receipt_hash=typed_digest(file.network, file.receipt)),
    }
    return verify_receipt(file, **(arguments | changed))


def _broken(verification: Verification) -> set[str]:
    return {finding.link for finding in verification.findings if finding.verdict is Verdict.INVALID}


def test_a_sound_receipt_holds_and_says_what_is_not_built() -> None:
    verification = _verify(receipt_file())
    assert verification.is_valid
    verdicts = {finding.link: finding.verdict for finding in verification.findings}
    assert {link for link, verdict in verdicts.items() if verdict is not Verdict.VALID} == {
        "grant",
        "quote",
        "heartbeat",
        "attestation",
    }
    assert verdicts["attestation"] is Verdict.UNATTESTED
    assert {verdicts[link] for link in ("grant", "quote", "heartbeat")} == {Verdict.NONE}


def test_a_file_read_again_gives_the_same_verdicts(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", receipt_to_json(receipt_file()))
    read = read_receipt(tmp_path / "r.json")
    assert isinstance(read, ReceiptFile)
    assert _verify(read) == _verify(receipt_file())
    assert (tmp_path / "r.json").stat().st_mode & 0o777 == 0o600


def test_what_was_not_given_is_not_checked_and_breaks_nothing() -> None:
    verification = verify_receipt(receipt_file())
    unchecked = {f.link for f in verification.findings if f.verdict is Verdict.NOT_CHECKED}
    assert unchecked == {"network is the reader's", "input tensors", "output tensors", "registry"}
    assert verification.is_valid


def test_a_registry_that_cannot_say_is_not_checked() -> None:
    down = RegistryAnswer(receipt_hash=None, failure=ChainUnavailable("down"))
    assert _verify(receipt_file(), registry=down).is_valid


@pytest.mark.parametrize("held", [None, Bytes32(b"\x01" * 32)])
def test_rejects_a_receipt_that_the_registry_does_not_hold(held: Bytes32 | None) -> None:
    assert _broken(_verify(receipt_file(), registry=RegistryAnswer(receipt_hash=held))) == {"registry"}


@pytest.mark.parametrize(
    ("argument", "value", "link"),
    [
        ("input_payload", b"other", "input tensors"),
        ("output_payload", b"other", "output tensors"),
        ("trusted_network", ZERO32, "network is the reader's"),
    ],
)
def test_rejects_other_tensors_and_another_network(argument: str, value: bytes, link: str) -> None:
    assert _broken(_verify(receipt_file(), **{argument: value})) == {link}


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("receipt_signature", "host key → receipt"),
        ("answer_signature", "host key → answer"),
        ("operator_signature", "operator → host key"),
    ],
)
@pytest.mark.parametrize("change", ["stranger", "zeros", "another record"])
def test_rejects_a_signature_that_is_not_the_right_ones(name: str, link: str, change: str) -> None:
    file = receipt_file()
    records = {
        "receipt_signature": file.receipt,
        "answer_signature": file.answer,
        "operator_signature": file.host_key,
    }
    digest = typed_digest(file.network, file.request if change == "another record" else records[name])
    signer = STRANGER if change == "stranger" else (OPERATOR if name == "operator_signature" else HOST)
    forged = bytes(65) if change == "zeros" else signer.sign(digest).to_bytes()
    assert _broken(_verify(replace(file, **{name: forged}))) == {link}


def _changed(value: Any) -> Any:
    match value:
        case Lane():
            return replace(value, registry=Bytes32(b"\xee" * 32))
        case Cid():
            return replace(value, digest=Bytes32(b"\xee" * 32))
        case int():
            return value + 1
        case str():
            return value + "x"
        case bytes():
            return value[:-1] + bytes([value[-1] ^ 1])
        case tuple():
            return (MIRROR, HOME) if value == (MIRROR,) else tuple(_changed(item) for item in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case _:
            return replace(value, price=1)


_RECORDS: dict[str, Callable[[ReceiptFile], Any]] = {
    "genesis": lambda file: file.genesis,
    "publication": lambda file: file.publication,
    "request": lambda file: file.request,
    "receipt": lambda file: file.receipt,
    "answer": lambda file: file.answer,
    "host_key": lambda file: file.host_key,
}


@pytest.mark.parametrize(
    ("record", "name"),
    [(record, field.name) for record, get in _RECORDS.items() for field in fields(get(receipt_file()))],
)
def test_rejects_a_record_with_one_field_changed(record: str, name: str) -> None:
    file = receipt_file()
    before = _RECORDS[record](file)
    after = replace(before, **{name: _changed(getattr(before, name))})
    assert not _verify(replace(file, **{record: after})).is_valid


@pytest.mark.parametrize("name", [field.name for field in fields(Receipt)])
def test_rejects_a_receipt_that_its_host_signed_for_something_else(name: str) -> None:
    # The host is honest about nothing: every signature is in order, and yet the chain does not close.
    file = receipt_file()
    receipt = replace(file.receipt, **{name: _changed(getattr(file.receipt, name))})
    assert not _verify(signed(replace(file, receipt=receipt)), registry=None).is_valid


def test_rejects_a_host_key_that_had_ended() -> None:
    file = receipt_file()
    ended = replace(file.host_key, until=UnixSeconds(file.receipt.time - 1))
    assert _broken(_verify(signed(replace(file, host_key=ended)))) == {"host key in force"}


def test_rejects_what_this_version_does_not_know() -> None:
    file = replace(receipt_file(), attestation="ATTESTED")
    assert _broken(_verify(file)) == {"attestation"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 2}, "x has format 2, this version reads 1"),
        ({"format": None}, "x has format None"),
        ({"surprise": 1}, "surprise"),
        ({"receipt": "0x"}, "'receipt'"),
        ({"receipt_signature": "0x00"}, "'receipt_signature'"),
        ({"output_salt": "00" * 32}, "'output_salt'"),
        ({"network": 7}, "'network'"),
    ],
)
def test_rejects_a_file_that_is_none(change: dict[str, Any], told: str) -> None:
    with pytest.raises(MalformedReceipt, match=told):
        parse_receipt(json.dumps(receipt_to_json(receipt_file()) | change).encode(), "x")


def test_rejects_every_file_that_was_cut_short() -> None:
    whole = json.dumps(receipt_to_json(receipt_file())).encode()
    for length in range(0, len(whole), 97):
        with pytest.raises(MalformedReceipt) as caught:
            parse_receipt(whole[:length], "x")
        # Whoever holds half a receipt is not told to remove his network.
        assert "wipe" not in caught.value.hint
    for other in (b"{}", b"[]", b"7", b"PK\x03\x04"):
        with pytest.raises(MalformedReceipt):
            parse_receipt(other, "x")


@pytest.mark.parametrize("name", sorted(receipt_to_json(receipt_file()).keys() - {"format"}))
def test_rejects_a_file_without_a_member(name: str) -> None:
    value = receipt_to_json(receipt_file())
    del value[name]
    with pytest.raises(MalformedReceipt):
        parse_receipt(json.dumps(value).encode(), "x")


def test_rejects_a_file_that_is_not_there_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(NoReceipt):
        read_receipt(tmp_path / "r.json")
    with pytest.raises(MalformedReceipt):
        parse_receipt(b" " * ((1 << 20) + 1), "x")


def test_salts_do_not_show() -> None:
    assert INPUT.salt.hex() not in repr(receipt_file())
    assert str(bytes(INPUT.salt)) not in repr(receipt_file())
