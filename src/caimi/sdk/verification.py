"""Verifying a receipt: one verdict for each link of the chain from the genesis descriptor to the tensors (spec 60 §6).

Offline the chain shows that a host key, signed by an operator of this network, signed this receipt for this request of
this publication. What the registry says is a link of its own, and what is not built yet is said: grant, quote and
heartbeat are NONE, and hosts are UNATTESTED.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from caimi.crypto.direct_seal import session_id
from caimi.crypto.ecdsa import recover
from caimi.crypto.inference_seal import Salted, input_commitment, output_commitment
from caimi.sdk.receipts import AnyReceipt, DirectReceiptFile, ReceiptFile
from caimi.types.errors import CaimiError
from caimi.types.primitives import ZERO32, Bytes32
from caimi.types.records import Attestation, HostKey, LeaseRequest, Receipt
from caimi.wire.digests import network_id, publication_id, typed_digest

__all__ = ["Finding", "RegistryAnswer", "Verdict", "Verification", "covers", "verify_receipt"]


class Verdict(Enum):
    """What is known about one link."""

    VALID = "valid"
    INVALID = "INVALID"
    NOT_CHECKED = "not checked"
    NONE = "NONE"
    """There is no such thing yet; the receipt says so."""
    UNATTESTED = "UNATTESTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One link."""

    link: str
    verdict: Verdict
    text: str

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {"link": self.link, "verdict": self.verdict.value, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAnswer:
    """What the registry that took the request says; of a direct call, what the board says of its lease."""

    receipt_hash: Bytes32 | None = None
    """None: it has accepted no answer."""
    lease: LeaseRequest | None = None
    """None: there is no such lease."""
    failure: CaimiError | None = None
    """Why it could not be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All links."""

    request: Bytes32
    findings: tuple[Finding, ...]

    @property
    def is_valid(self) -> bool:
        """Whether no link is broken. Links that were not checked, or do not exist yet, are not counted."""
        return all(finding.verdict is not Verdict.INVALID for finding in self.findings)


def verify_receipt(
    file: AnyReceipt,
    *,
    trusted_network: Bytes32 | None = None,
    input_payload: bytes | None = None,
    output_payload: bytes | None = None,
    registry: RegistryAnswer | None = None,
) -> Verification:
    """Judge every link; nothing is asked of anybody.

    Arguments:
        trusted_network: The network id that the reader trusts; without it the file only shows that it fits together.
        input_payload, output_payload: The tensors' bytes, where the reader has them.
        registry: What the registry that took the request says, or the board, if it was asked.
    """
    request = typed_digest(file.network, file.request)
    is_direct = isinstance(file, DirectReceiptFile)
    findings = [
        *_genesis(file, trusted_network),
        *_signatures(file),
        *(_direct_request(file, request) if is_direct else _recorded_request(file)),
        *_agreement(file, request),
        *_commitments(file, input_payload, output_payload),
        *_unbuilt(file),
        _lease(file, registry) if is_direct else _registry(file, registry),
    ]
    return Verification(request=request, findings=tuple(findings))


def _genesis(file: AnyReceipt, trusted: Bytes32 | None) -> Iterable[Finding]:
    yield _judged(
        "genesis → network",
        network_id(file.genesis) == file.network,
        "the network id is the hash of the genesis descriptor",
    )
    if trusted is None:
        yield _unchecked("network is the reader's", "name the network that you trust: --network, or a state folder")
    else:
        yield _judged("network is the reader's", trusted == file.network, "the receipt is of the network you named")


def _signatures(file: AnyReceipt) -> Iterable[Finding]:
    operator = _signer(lambda: recover(typed_digest(file.network, file.host_key), file.operator_signature))
    yield _judged(
        "operator → host key",
        operator is not None and operator in file.genesis.operators,
        "an operator of the genesis descriptor signed the host's keys",
    )
    yield _judged(
        "host key in force",
        file.receipt.time <= file.host_key.until,
        "the receipt's time is before the end of the host's keys",
    )
    receipt = _signer(lambda: recover(typed_digest(file.network, file.receipt), file.receipt_signature))
    yield _judged("host key → receipt", receipt == file.host_key.signing_key, "the host's key signed the receipt")


def _recorded_request(file: ReceiptFile) -> Iterable[Finding]:
    receipt, answer = file.receipt, file.answer
    signer = _signer(lambda: recover(typed_digest(file.network, answer), file.answer_signature))
    yield _judged("host key → answer", signer == file.host_key.signing_key, "the host's key signed the answer")
    yield _judged(
        "answer ↔ receipt",
        answer.receipt_hash == typed_digest(file.network, receipt)
        and (answer.request, answer.publication, answer.lease) == (receipt.request, receipt.publication, receipt.lease)
        and answer.input_commitment == receipt.input_commitment
        and answer.output_commitment == receipt.output_commitment
        and answer.answered_at == receipt.time
        and answer.at == file.request.at,
        "the answer, for the registry that took the request, names the receipt's hash, request, publication, lease, "
        "commitments and time",
    )


def _direct_request(file: DirectReceiptFile, request: Bytes32) -> Iterable[Finding]:
    asked = file.request
    signer = _signer(lambda: recover(request, file.request_signature))
    yield _judged("consumer → request", signer == asked.consumer, "the consumer signed the request")
    yield _judged(
        "request ↔ host key",
        asked.host == file.host_key.signing_key and asked.session == session_id(file.session),
        "the request is for this start of this host, in the session that the file holds",
    )
    yield _judged(
        "request in force", file.receipt.time <= asked.deadline, "the receipt's time is not after the deadline"
    )


def _agreement(file: AnyReceipt, request: Bytes32) -> Iterable[Finding]:
    receipt = file.receipt
    yield _judged(
        "request ↔ receipt",
        request == receipt.request
        and file.request.publication == receipt.publication
        and file.request.input_commitment == receipt.input_commitment,
        "the receipt is of this request",
    )
    yield _judged(
        "publication ↔ request",
        publication_id(file.network, file.publication) == file.request.publication
        and file.publication.manifest_commitment == receipt.model_commitment,
        "the request is of this publication, and the receipt names its model",
    )


def _commitments(file: AnyReceipt, given: bytes | None, got: bytes | None) -> Iterable[Finding]:
    for link, payload, salt, hashed, commitment in (
        ("input", given, file.input_salt, input_commitment, file.receipt.input_commitment),
        ("output", got, file.output_salt, output_commitment, file.receipt.output_commitment),
    ):
        if payload is None:
            yield _unchecked(f"{link} tensors", f"give the {link}'s file to check it")
        else:
            fits = hashed(Salted(salt=salt, payload=payload)) == commitment
            yield _judged(f"{link} tensors", fits, f"the receipt commits to these {link} bytes")


def _unbuilt(file: AnyReceipt) -> Iterable[Finding]:
    receipt = file.receipt
    for link, value in (("grant", receipt.grant), ("quote", receipt.quote), ("heartbeat", receipt.heartbeat)):
        if value == ZERO32:
            yield Finding(link=link, verdict=Verdict.NONE, text=f"this version knows no {link}s")
        else:
            yield _judged(link, False, f"this version knows no {link}s, and the receipt names one")
    yield _judged("price", receipt.price == 0, "0: this version knows no payments")
    if file.genesis.attestation == Attestation.NONE and file.attestation == Verdict.UNATTESTED.value:
        text = "an operator's signature is all that vouches for the host: it may have computed something else"
        yield Finding(link="attestation", verdict=Verdict.UNATTESTED, text=text)
    else:
        yield _judged("attestation", False, "this version knows hosts without attestation only")


def _registry(file: ReceiptFile, answer: RegistryAnswer | None) -> Finding:
    if answer is None:
        return _unchecked("registry", "no registry was asked")
    if answer.failure is not None:
        return _unchecked("registry", f"it cannot say: {type(answer.failure).__name__}: {answer.failure}")
    expected = typed_digest(file.network, file.receipt)
    return _judged(
        "registry", answer.receipt_hash == expected, "the registry that took the request holds this receipt's hash"
    )


def _lease(file: DirectReceiptFile, answer: RegistryAnswer | None) -> Finding:
    # What a registry's acceptance is for a recorded request: that the key was released to this host at that time.
    if answer is None:
        return _unchecked("lease", "the board was not asked")
    if answer.failure is not None:
        return _unchecked("lease", f"the board cannot say: {type(answer.failure).__name__}: {answer.failure}")
    return _judged(
        "lease",
        answer.lease is not None and covers(answer.lease, file.network, file.receipt, file.host_key),
        "the board holds the lease: this host's right to this publication's key at the receipt's time",
    )


def covers(lease: LeaseRequest, network: Bytes32, receipt: Receipt, host_key: HostKey) -> bool:
    """Whether a receipt of a host's start was made under this lease of the board."""
    return (
        typed_digest(network, lease) == receipt.lease
        and lease.publication == receipt.publication
        and (lease.signing_key, lease.sealing_key) == (host_key.signing_key, host_key.sealing_key)
        and receipt.time <= lease.end
    )


def _signer(act: Callable[[], bytes]) -> bytes | None:
    try:
        return act()
    except CaimiError:
        return None


def _judged(link: str, fits: bool, text: str) -> Finding:
    return Finding(link=link, verdict=Verdict.VALID if fits else Verdict.INVALID, text=text)


def _unchecked(link: str, text: str) -> Finding:
    return Finding(link=link, verdict=Verdict.NOT_CHECKED, text=text)
