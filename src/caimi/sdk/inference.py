"""Asking a model by the registry path: seal, store, request, wait, open, receipt (spec 60 §4 to §6)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np

from caimi.bundle.signature import DType
from caimi.bundle.tensors import Tensor, WrongElementType, decode_tensors, encode_tensors
from caimi.crypto.ecdsa import SigningKey, recover
from caimi.crypto.inference_seal import (
    INFERENCE_OVERHEAD,
    Salted,
    input_commitment,
    open_output,
    output_commitment,
    seal_input,
)
from caimi.crypto.sealing import SealingKey
from caimi.ports.tracing import working_on
from caimi.sdk.connections import Connections
from caimi.sdk.drafts import RequestDraft
from caimi.sdk.errors import (
    InputRefused,
    NoHost,
    NotAnswered,
    SdkError,
    ServiceAnswer,
    ServiceUnavailable,
    TakesTooLong,
    UnknownName,
    UnprovenAnswer,
    UnreadableInput,
)
from caimi.sdk.json_fields import Fields, hex_text
from caimi.sdk.patience import Patience
from caimi.sdk.receipts import ReceiptFile
from caimi.sdk.tracing import read_trace
from caimi.sdk.verification import RegistryAnswer, Verdict, Verification, verify_receipt
from caimi.types.errors import BadEncoding, HostKeyExpired, UnknownOperator, WrongEpoch
from caimi.types.primitives import Bytes32, PublicationId, UnixSeconds
from caimi.types.records import Answer, Cid, HostKey, InferenceRequest, Publication, Receipt
from caimi.wire.codec import decode, encode
from caimi.wire.digests import publication_id, typed_digest

__all__ = [
    "MAX_TENSOR_BYTES",
    "Inference",
    "PendingRequest",
    "array_of",
    "INPUT_REFUSALS",
    "fetch_host_key",
    "fetch_publication",
    "what_it_takes",
    "finish",
    "request",
    "resume",
    "tensors_of",
    "wait_answered",
]

Arrays = Mapping[str, "np.ndarray[Any, Any]"]
T = TypeVar("T")

_POLL_S: Final = 0.3
_GIVEN_UP: Final = frozenset({"refused", "unreadable", "expired"})
INPUT_REFUSALS: Final = frozenset(
    {
        "InputMismatch",
        "MalformedTensors",
        "NotFinite",
        "TensorsTooLarge",
        "WrongElementType",
        "WrongShape",
        "WrongTensorNames",
    }
)
"""What a host refuses about an input (spec 60 §4)."""
MAX_TENSOR_BYTES: Final = 64 << 20
"""Largest input or output, in bytes of safetensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRequest:
    """A request that the relay has, and what opens its answer. SECRET."""

    id: Bytes32
    request: InferenceRequest
    publication: Publication
    host_key: HostKey
    operator_signature: bytes
    input: Salted = field(repr=False)
    client: SealingKey = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """An answer that fits its receipt, and the receipt."""

    outputs: Arrays
    output_payload: bytes = field(repr=False)
    """The outputs as safetensors bytes, to which the receipt commits."""
    input_payload: bytes = field(repr=False)
    file: ReceiptFile
    verification: Verification
    draft: str | None = None
    """Under which the request's draft is kept; to be dropped when the answer is where it shall be."""


def tensors_of(arrays: Arrays) -> dict[str, Tensor]:
    """Arrays as tensors, row by row and little-endian.

    Raises:
        WrongElementType: An element type that no tensor has.
    """
    return {name: _tensor(name, array) for name, array in arrays.items()}


def array_of(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    """Tensors as arrays that cannot be written."""
    return {name: tensor.array() for name, tensor in tensors.items()}


async def fetch_host_key(connections: Connections) -> tuple[HostKey, bytes]:
    """The host's keys of this start, and the operator's signature over them.

    Raises:
        NoHost: The network has none.
        UnknownOperator: No operator of the genesis descriptor vouches for them.
        WrongEpoch, HostKeyExpired: They are of another epoch, or have ended.
        ServiceUnavailable, ServiceAnswer: Of the host.
    """
    network = connections.network
    if network.host_url is None:
        raise NoHost("network.json names no host")
    fields = await connections.service(network.host_url, name="the host").get("/v1/host")
    key, signature = _record(fields, "host_key", HostKey), fields.data("operator_signature", length=65)
    if recover(typed_digest(network.id, key), signature) not in network.genesis.operators:
        raise UnknownOperator
    if key.epoch != network.epoch:
        raise WrongEpoch(network.epoch, key.epoch)
    now = int(time.time())
    if key.until <= now:
        raise HostKeyExpired(key.until, now)
    return key, signature


async def request(
    connections: Connections,
    publication: PublicationId,
    arrays: Arrays,
    *,
    lane: str,
    account: SigningKey,
    deadline: UnixSeconds,
    keep: Callable[[RequestDraft], None] | None = None,
) -> PendingRequest:
    """Seal the input to the host, store it, and hand the signed request to the relay.

    Arguments:
        keep: Given what opens the answer, before the request leaves.
    Raises:
        UnknownName, ServiceUnavailable: The relay does not know the publication, or does not answer.
        NoHost, UnknownOperator, HostKeyExpired: Of the host.
        Refusal: What the registry would refuse at once.
    """
    network = connections.network
    record = await fetch_publication(connections, publication)
    host_key, signature = await fetch_host_key(connections)
    salted = Salted(salt=Bytes32(os.urandom(32)), payload=encode_tensors(tensors_of(arrays)))
    sealed = seal_input(salted, host=host_key.sealing_key, publication=publication)
    root = await connections.content.upload([sealed])
    client = SealingKey(os.urandom(32))
    asked = InferenceRequest(
        at=network.lane(lane).lane,
        publication=publication,
        consumer=account.address,
        input=root.cid,
        input_commitment=input_commitment(salted),
        client_key=client.public_key,
        nonce=Bytes32(os.urandom(32)),
        deadline=deadline,
    )
    if keep is not None:
        secret = Bytes32(client.reveal())
        keep(
            RequestDraft(
                request=asked,
                host_key=host_key,
                operator_signature=signature,
                input_salt=salted.salt,
                client_secret=secret,
            )
        )
    return PendingRequest(
        id=await _hand_over(connections, asked, account),
        request=asked,
        publication=record,
        host_key=host_key,
        operator_signature=signature,
        input=salted,
        client=client,
    )


async def resume(
    connections: Connections, draft: RequestDraft, payload: bytes, *, account: SigningKey
) -> PendingRequest:
    """Hand over a request again that was begun before; the relay and the registry take it once. Raises as `request`.

    Arguments:
        payload: The same input's safetensors bytes.
    """
    asked = draft.request
    return PendingRequest(
        id=await _hand_over(connections, asked, account),
        request=asked,
        publication=await fetch_publication(connections, PublicationId(asked.publication)),
        host_key=draft.host_key,
        operator_signature=draft.operator_signature,
        input=Salted(salt=draft.input_salt, payload=payload),
        client=SealingKey(draft.client_secret),
    )


async def _hand_over(connections: Connections, asked: InferenceRequest, account: SigningKey) -> Bytes32:
    identifier = typed_digest(connections.network.id, asked)
    body = {"request": hex_text(encode(asked)), "signature": hex_text(account.sign(identifier).to_bytes())}
    with working_on(identifier):
        await connections.relay.post("/v1/requests", body)
    return identifier


async def wait_answered(
    connections: Connections,
    pending: PendingRequest,
    *,
    timeout_s: float,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Wait until the registry's acceptance of an answer is final.

    Arguments:
        progress: Told what it waits for, each time that this changes.
    Raises:
        RefusedByRegistry: The registry refuses the request.
        UnreadableInput: It is sealed to keys that the host has no more: ask again.
        InputRefused: The host says that the model does not take this input.
        NotAnswered: The host gave it up; its reason is told.
        TakesTooLong: Not within `timeout_s`.
        ServiceUnavailable, ServiceAnswer: Of the relay.
    """
    until, told = time.monotonic() + timeout_s, ""
    while True:
        trace = await read_trace(connections, pending.id)
        if trace.outcome == "ANSWERED":
            return
        if trace.outcome == "EXPIRED":
            raise NotAnswered(f"{trace.home} takes no answer any more: the deadline passed")
        refused = trace.refused()
        if refused is not None:
            raise refused
        host = await _host_view(connections, pending.id)
        if host.state in _GIVEN_UP:
            raise await _given_up(connections, PublicationId(pending.request.publication), host)
        waits = trace.waits_for + (f" (host: {host.reason} {host.text})" if host.reason else "")
        if progress is not None and waits != told:
            progress(waits)
        told = waits
        if time.monotonic() > until:
            raise TakesTooLong(f"{timeout_s:.0f} s; it waits for {waits}")
        await asyncio.sleep(_POLL_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class _HostView:
    state: str
    reason: str
    text: str


async def _given_up(connections: Connections, publication: PublicationId, host: _HostView) -> NotAnswered:
    told = f"the host says {host.state}: {host.reason} {host.text}".rstrip()
    if host.state == "unreadable":
        return UnreadableInput(told)
    if host.reason not in INPUT_REFUSALS:
        return NotAnswered(told)
    return InputRefused(f"the host says {host.reason}{await what_it_takes(connections, publication)}")


async def what_it_takes(connections: Connections, publication: PublicationId) -> str:
    """For people: what a model takes, if the host has it loaded; else nothing."""
    # What a loaded model takes is no secret of its host.
    try:
        models = await connections.service(connections.network.host_url or "").get_list("/v1/models")
        for model in models:
            if model.bytes32("publication") == publication:
                specs = [(i.text("name"), i.text("dtype"), i.items("shape")) for i in model.objects("inputs")]
                shown = ", ".join(f"{name} {dtype} {[*shape]}" for name, dtype, shape in specs)
                return f"; the model takes {shown}"[:600]
    except SdkError:
        return ""
    return ""


async def _host_view(connections: Connections, identifier: Bytes32) -> _HostView:
    # The host learns of a request from final events, so at first it knows nothing. It is asked in a loop.
    host = connections.service(connections.network.host_url or "", patience=Patience())
    try:
        fields = await host.get(f"/v1/requests/{hex_text(identifier)}")
    except (UnknownName, ServiceUnavailable) as error:
        return _HostView(state="unknown", reason="" if isinstance(error, UnknownName) else "unavailable", text="")
    return _HostView(state=fields.text("state"), reason=fields.text("reason"), text=fields.text("text"))


async def finish(connections: Connections, pending: PendingRequest, *, lane: str) -> Inference:
    """Fetch, open and verify the answer of a request that its registry has accepted.

    Raises:
        UnprovenAnswer: A link of the receipt is broken; the outputs are not given out.
        SealNotOpened, TensorsRefused: The sealed output is not for this client, or holds no tensors.
        AllSourcesFailed, ServiceUnavailable, ServiceAnswer, ChainError: It cannot be fetched now.
    """
    network = connections.network
    answered = await connections.relay.get(f"/v1/requests/{hex_text(pending.id)}")
    cid = answered.object("output")
    output = Cid(codec=cid.number("codec", bits=8), digest=cid.bytes32("digest"))
    sealed = await _read(connections, output)
    opened = open_output(sealed, key=pending.client, request=pending.id)
    host = connections.service(network.host_url or "", name="the host")
    given = await host.get(f"/v1/requests/{hex_text(pending.id)}")
    file = ReceiptFile(
        network=network.id,
        genesis=network.genesis,
        publication=pending.publication,
        request=pending.request,
        receipt=_record(given, "receipt", Receipt),
        receipt_signature=given.data("receipt_signature", length=65),
        answer=_record(given, "answer", Answer),
        answer_signature=given.data("answer_signature", length=65),
        host_key=_record(given, "host_key", HostKey),
        operator_signature=given.data("operator_signature", length=65),
        input_salt=pending.input.salt,
        output_salt=opened.salt,
    )
    verification = verify_receipt(
        file,
        trusted_network=network.id,
        input_payload=pending.input.payload,
        output_payload=opened.payload,
        registry=RegistryAnswer(receipt_hash=await connections.reader(lane).receipt_of(pending.id)),
    )
    if not verification.is_valid or output_commitment(opened) != file.answer.output_commitment:
        broken = [f.link for f in verification.findings if f.verdict is Verdict.INVALID]
        raise UnprovenAnswer(f"broken: {', '.join(broken)}")
    return Inference(
        outputs=array_of(decode_tensors(opened.payload, max_bytes=MAX_TENSOR_BYTES)),
        output_payload=opened.payload,
        input_payload=pending.input.payload,
        file=file,
        verification=verification,
    )


async def fetch_publication(connections: Connections, identifier: PublicationId) -> Publication:
    """The bytes of a publication, which hash to its id.

    Raises:
        UnknownName, ServiceUnavailable, ServiceAnswer: Of the relay.
    """
    fields = await connections.relay.get(f"/v1/publications/{hex_text(identifier)}")
    record = _record(fields, "publication", Publication)
    if publication_id(connections.network.id, record) != identifier:
        raise ServiceAnswer("the relay gives the bytes of another publication")
    return record


async def _read(connections: Connections, root: Cid) -> bytes:
    stream = await connections.content.open(root, max_content_bytes=MAX_TENSOR_BYTES + INFERENCE_OVERHEAD)
    return b"".join([bytes(leaf) async for leaf in stream])


def _record(fields: Fields, name: str, kind: type[T]) -> T:
    try:
        return decode(kind, fields.data(name))
    except BadEncoding as error:
        raise fields.malformed(name) from error


def _tensor(name: str, array: np.ndarray[Any, Any]) -> Tensor:
    try:
        dtype = DType(array.dtype.name)
    except ValueError:
        raise WrongElementType(f"{name[:80]!r} is {array.dtype}") from None
    plain = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return Tensor(dtype=dtype, shape=tuple(int(size) for size in array.shape), data=plain.tobytes())
