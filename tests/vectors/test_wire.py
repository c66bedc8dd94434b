"""Reads vectors/wire: encodings, digests, and for each field a change that no signature survives."""

from __future__ import annotations

from typing import Any

import pytest
from suites import named, suite, unhex

from caimi.crypto.ecdsa import recover, verify_signer
from caimi.types.errors import BY_NAME, BadEncoding, BadSignature, WrongSigner
from caimi.types.primitives import Address, Bytes32
from caimi.wire.codec import SHAPES, decode, encode, struct_hash
from caimi.wire.digests import typed_digest

RECORDS = {cls.__name__: cls for cls in SHAPES}
FILES = ("wire/ledger.json", "wire/board.json", "wire/receipt.json", "wire/epochs.json")
SUITES = {f: suite(f) for f in FILES}
CASES = [{**c, "network": s["network"]} for s in SUITES.values() for c in s["cases"]]
REFUSALS = [{"network": s["network"], **c} for s in SUITES.values() for c in s["refusals"]]


@pytest.mark.parametrize("case", **named(CASES))
def test_record(case: dict[str, Any]) -> None:
    encoded = unhex(case["encoded"])
    record: Any = decode(RECORDS[case["record"]], encoded)
    assert encode(record) == encoded
    assert struct_hash(record) == unhex(case["structHash"])
    digest = typed_digest(Bytes32(unhex(case["network"])), record)
    assert digest == unhex(case["digest"])
    assert recover(digest, unhex(case["signature"])) == unhex(case["signer"])


@pytest.mark.parametrize("case", **named([c for c in REFUSALS if c["place"] == "authority"]))
def test_rejects_signature_over_changed_field(case: dict[str, Any]) -> None:
    record: Any = decode(RECORDS[case["record"]], unhex(case["encoded"]))
    digest = typed_digest(Bytes32(unhex(case["network"])), record)
    assert BY_NAME[case["error"]] is WrongSigner
    # A changed digest makes recovery give another account, or none.
    with pytest.raises((WrongSigner, BadSignature)):
        verify_signer(digest, unhex(case["signature"]), Address(unhex(case["signer"])))


@pytest.mark.parametrize("case", **named([c for c in REFUSALS if c["place"] == "encode"]))
def test_rejects_malformed_encoding(case: dict[str, Any]) -> None:
    assert BY_NAME[case["error"]] is BadEncoding
    with pytest.raises(BadEncoding):
        decode(RECORDS[case["record"]], unhex(case["encoded"]))


def test_every_field_of_every_record_has_a_refusal() -> None:
    for content in SUITES.values():
        named_fields = {(c["record"], c.get("field", "").split(".")[0].split("[")[0]) for c in content["refusals"]}
        for case in content["cases"]:
            cls = RECORDS[case["record"]]
            for field in cls.__dataclass_fields__:
                assert (case["record"], field) in named_fields, f"{case['record']}.{field} has no refusal"
