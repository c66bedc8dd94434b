"""Receipt files: everything that shows, without any network, who computed what (spec 60 §6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from caimi.sdk.errors import MalformedReceipt, NoReceipt
from caimi.sdk.json_fields import Fields, hex_text, parse_object
from caimi.types.errors import BadEncoding
from caimi.types.primitives import Bytes32
from caimi.types.records import Answer, DirectRequest, Genesis, HostKey, InferenceRequest, Publication, Receipt
from caimi.wire.codec import decode, encode

__all__ = [
    "RECEIPT_FORMAT",
    "AnyReceipt",
    "DirectReceiptFile",
    "ReceiptFile",
    "parse_receipt",
    "read_receipt",
    "receipt_to_json",
]

RECEIPT_FORMAT: Final = 1
_ATTESTATION: Final = "UNATTESTED"
_MAX_BYTES: Final = 1 << 20
_MAX_RECORD: Final = 1 << 17
_SESSION_BYTES: Final = 80
_COMMON: Final = frozenset(
    {
        "format",
        "network",
        "publication",
        "receipt",
        "receipt_signature",
        "host_key",
        "operator_signature",
        "input_salt",
        "output_salt",
        "genesis",
        "attestation",
    }
)
_RECORDED: Final = _COMMON | {"request", "answer", "answer_signature"}
_DIRECT: Final = _COMMON | {"direct", "direct_signature", "session"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptFile:
    """One answered request. The salts are the consumer's secret: who has them and the tensors can check the two."""

    network: Bytes32
    genesis: Genesis
    publication: Publication
    request: InferenceRequest
    receipt: Receipt
    receipt_signature: bytes
    answer: Answer
    answer_signature: bytes
    host_key: HostKey
    operator_signature: bytes
    input_salt: Bytes32 = field(repr=False)
    output_salt: Bytes32 = field(repr=False)
    attestation: str = _ATTESTATION


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectReceiptFile:
    """One direct call that was answered (spec 60 §7). No registry knows of it. The salts as in `ReceiptFile`."""

    network: Bytes32
    genesis: Genesis
    publication: Publication
    request: DirectRequest
    request_signature: bytes
    """The consumer's: it shows who asked."""
    session: bytes
    """80 bytes: the sealed session that the request names."""
    receipt: Receipt
    receipt_signature: bytes
    host_key: HostKey
    operator_signature: bytes
    input_salt: Bytes32 = field(repr=False)
    output_salt: Bytes32 = field(repr=False)
    attestation: str = _ATTESTATION


AnyReceipt = ReceiptFile | DirectReceiptFile


def receipt_to_json(file: AnyReceipt) -> dict[str, Any]:
    """The file's one JSON object."""
    return {
        "format": RECEIPT_FORMAT,
        "network": hex_text(file.network),
        "publication": hex_text(encode(file.publication)),
        **_request_to_json(file),
        "receipt": hex_text(encode(file.receipt)),
        "receipt_signature": hex_text(file.receipt_signature),
        "host_key": hex_text(encode(file.host_key)),
        "operator_signature": hex_text(file.operator_signature),
        "input_salt": hex_text(file.input_salt),
        "output_salt": hex_text(file.output_salt),
        "genesis": hex_text(encode(file.genesis)),
        "attestation": file.attestation,
    }


def _request_to_json(file: AnyReceipt) -> dict[str, str]:
    if isinstance(file, DirectReceiptFile):
        return {
            "direct": hex_text(encode(file.request)),
            "direct_signature": hex_text(file.request_signature),
            "session": hex_text(file.session),
        }
    return {
        "request": hex_text(encode(file.request)),
        "answer": hex_text(encode(file.answer)),
        "answer_signature": hex_text(file.answer_signature),
    }


def parse_receipt(data: bytes, where: str) -> AnyReceipt:
    """Read a receipt file's bytes; nothing is verified yet.

    Raises:
        MalformedReceipt: No JSON object, another version, unknown, missing or malformed members, more than 1 MiB.
    """
    if len(data) > _MAX_BYTES:
        raise MalformedReceipt(f"{where} is larger than {_MAX_BYTES} bytes")
    fields = parse_object(data, where, error=MalformedReceipt)
    if "format" not in fields.values:
        raise MalformedReceipt(f"{where} has no format: it is no receipt")
    found = fields.values["format"]
    if found != RECEIPT_FORMAT:
        raise MalformedReceipt(f"{where} has format {str(found)[:40]}, this version reads {RECEIPT_FORMAT}")
    is_direct = "direct" in fields.values
    if odd := sorted(fields.values.keys() ^ (_DIRECT if is_direct else _RECORDED)):
        raise MalformedReceipt(f"{where}: unknown or missing members: {', '.join(odd)[:200]}")
    common: dict[str, Any] = {
        "network": fields.bytes32("network"),
        "genesis": _record(fields, "genesis", Genesis),
        "publication": _record(fields, "publication", Publication),
        "receipt": _record(fields, "receipt", Receipt),
        "receipt_signature": fields.data("receipt_signature", length=65),
        "host_key": _record(fields, "host_key", HostKey),
        "operator_signature": fields.data("operator_signature", length=65),
        "input_salt": fields.bytes32("input_salt"),
        "output_salt": fields.bytes32("output_salt"),
        "attestation": fields.text("attestation"),
    }
    if is_direct:
        return DirectReceiptFile(
            request=_record(fields, "direct", DirectRequest),
            request_signature=fields.data("direct_signature", length=65),
            session=fields.data("session", length=_SESSION_BYTES),
            **common,
        )
    return ReceiptFile(
        request=_record(fields, "request", InferenceRequest),
        answer=_record(fields, "answer", Answer),
        answer_signature=fields.data("answer_signature", length=65),
        **common,
    )


def read_receipt(path: Path) -> AnyReceipt:
    """Read a receipt file.

    Raises:
        NoReceipt: It cannot be read.
        MalformedReceipt: As `parse_receipt`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise NoReceipt(f"cannot read {path}: {error.strerror}") from error
    return parse_receipt(data, str(path))


def _record(fields: Fields, name: str, kind: type[T]) -> T:
    try:
        return decode(kind, fields.data(name), limit=_MAX_RECORD)
    except BadEncoding as error:
        raise fields.malformed(name) from error
