"""Reads vectors/certificate: quorums."""

from __future__ import annotations

from typing import Any

import pytest
from suites import named, suite, unhex

from caimi.crypto.quorum import ValidatorSet, verify_certificate
from caimi.types.errors import BY_NAME, BadSignature, WrongSigner
from caimi.types.primitives import Bytes32, Epoch
from caimi.types.records import Certificate, Genesis
from caimi.wire.codec import decode

SUITE = suite("certificate/quorum.json")
SET = ValidatorSet.from_genesis(decode(Genesis, unhex(SUITE["genesis"])))
NETWORK = Bytes32(unhex(SUITE["network"]))


def verify(case: dict[str, Any]) -> None:
    certificate = decode(Certificate, unhex(case["certificate"]))
    verify_certificate(certificate, network=NETWORK, validator_set=SET, epoch=Epoch(SUITE["epoch"]))


@pytest.mark.parametrize("case", **named(SUITE["cases"]))
def test_certificate(case: dict[str, Any]) -> None:
    verify(case)


@pytest.mark.parametrize("case", **named(SUITE["refusals"]))
def test_rejects_certificate(case: dict[str, Any]) -> None:
    expected = BY_NAME[case["error"]]
    # Under a changed digest the first signature recovers another account, or none at all.
    classes = (WrongSigner, BadSignature) if expected is WrongSigner else expected
    with pytest.raises(classes) as caught:
        verify(case)
    culprit: Any = case.get("signer")
    if expected is WrongSigner and isinstance(caught.value, WrongSigner):
        assert caught.value.values[0] == SET.validators[culprit]
    elif expected.arguments == ("uint256 signer",):
        assert caught.value.values == (culprit,)
