"""A host's HTTP interface (schemas/host.json). Everything of it says UNATTESTED."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, Field

from caimi.apps.direct_api import DIRECT_PATHS, add_direct_calls
from caimi.apps.hex_values import hex_of, read_bytes32, read_hex
from caimi.apps.http_server import new_app
from caimi.apps.json_observer import JsonObserver
from caimi.apps.problem import NoSuchThing, Problem
from caimi.apps.readiness import Check
from caimi.bundle.cid import format_cid
from caimi.bundle.signature import TensorSpec
from caimi.host.identity import ATTESTATION, HostIdentity
from caimi.host.key_client import KeyClient
from caimi.host.registry_call import RegistryCalls
from caimi.host.service import Host
from caimi.host.serving import DirectServing
from caimi.host.shelf import ModelShelf, ShelvedModel
from caimi.host.telling import public_text
from caimi.ports.host_store import RequestRow
from caimi.types.records import Lane

__all__ = ["HostParts", "host_app"]

_LONGEST_SEALED = 400 << 10
Hex = Annotated[str, Field(pattern="^0x([0-9a-fA-F]{2})*$", max_length=2 + 2 * (1 << 13))]
SealedHex = Annotated[str, Field(pattern="^0x([0-9a-fA-F]{2})*$", max_length=2 + 2 * _LONGEST_SEALED)]
Attestation = Literal["UNATTESTED"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostParts:
    """What the interface shows and calls."""

    identity: HostIdentity
    host: Host
    shelf: ModelShelf
    keys: KeyClient
    registry_calls: RegistryCalls
    serving: DirectServing
    lanes: Mapping[str, Lane]


class LaneBody(BaseModel):
    """A registry whose requests are answered."""

    name: str
    chain: str
    registry: str


class HostBody(BaseModel):
    """The keys of this start."""

    network: str
    attestation: Attestation = ATTESTATION
    host_key: str
    """The ABI-encoded `HostKey`."""
    operator_signature: str
    sealing_key: str
    """X25519: inputs are sealed to it."""
    signing_key: str
    """The address that signs receipts and answers."""
    epoch: int
    until: int
    """Unix seconds: when these keys end."""
    lanes: list[LaneBody]


class TensorBody(BaseModel):
    """One input or output."""

    name: str
    dtype: str
    shape: list[int | str]
    """Lengths; the name of a free dimension, or "?"."""


class ModelBody(BaseModel):
    """A loaded model."""

    publication: str
    name: str
    version: int
    attestation: Attestation = ATTESTATION
    inputs: list[TensorBody]
    outputs: list[TensorBody]
    lease: str
    lease_end: int
    calls_left: int


class RequestBody(BaseModel):
    """What became of a request, with all of a receipt file that is no secret (spec 60 §6)."""

    id: str
    lane: str
    publication: str
    attestation: Attestation = ATTESTATION
    state: str
    """seen, signed, sent, answered, elsewhere, refused, unreadable or expired."""
    reason: str
    """Name of the error that ended it, or that it waits for."""
    text: str
    deadline: int
    output: str | None
    """CID of the sealed output."""
    receipt: str | None
    """The ABI-encoded `Receipt`."""
    receipt_signature: str | None
    receipt_hash: str | None
    answer: str | None
    """The ABI-encoded `Answer`."""
    answer_signature: str | None
    host_key: str | None
    operator_signature: str | None


class InferIn(BaseModel):
    """A consumer's signed request."""

    request: Hex
    """The ABI-encoded `InferenceRequest`."""
    signature: Hex
    """65 bytes."""
    sealed_input: SealedHex | None = None
    """What lies under the request's CID, at most 400 KiB; null if it is in the content store."""


class HostStatusBody(BaseModel):
    """How the host is."""

    network: str
    attestation: Attestation = ATTESTATION
    signing_key: str
    until: int
    requests: dict[str, int]
    """By state."""
    models: int
    direct_answered: int
    direct_in_flight: int
    direct_batches: int


def host_app(
    parts: HostParts,
    observer: JsonObserver,
    *,
    may_change: Callable[[Request], Coroutine[Any, Any, None]],
    ready: Check,
    longest_call: int,
) -> FastAPI:
    """The application.

    Arguments:
        may_change: refuses changing calls without the token.
        ready: what the host misses.
        longest_call: most bytes of a direct call.
    """
    app = new_app("CAIMI host (UNATTESTED)", observer, ready=ready, longer_bodies={DIRECT_PATHS: longest_call})
    add_direct_calls(app, lambda: parts.serving)
    problems: dict[int | str, dict[str, object]] = {code: {"model": Problem} for code in (400, 404)}
    refusals: dict[int | str, dict[str, object]] = {
        code: {"model": Problem} for code in (400, 401, 404, 422, 425, 429, 503)
    }

    @app.get("/v1/host", summary="The host's keys of this start")
    async def host() -> HostBody:  # pyright: ignore[reportUnusedFunction] - a route
        return _host_body(parts)

    @app.get("/v1/models", summary="Models that are loaded")
    async def models() -> list[ModelBody]:  # pyright: ignore[reportUnusedFunction] - a route
        return [_model_body(model) for model in parts.shelf.shown()]

    @app.get("/v1/requests/{id}", responses=problems, summary="What became of a request")
    async def request(id: str) -> RequestBody:  # pyright: ignore[reportUnusedFunction] - a route
        row = parts.host.store.request(read_bytes32(id))
        if row is None:
            raise NoSuchThing(id)
        return _request_body(parts, row)

    @app.post(
        "/v1/infer",
        responses=refusals,
        dependencies=[Depends(may_change)],
        summary="Send a signed request to its registry and wait for the signed answer",
    )
    async def infer(body: InferIn) -> RequestBody:  # pyright: ignore[reportUnusedFunction] - a route
        sealed = None if body.sealed_input is None else read_hex(body.sealed_input)
        row = await parts.registry_calls.infer(read_hex(body.request), read_hex(body.signature), sealed)
        return _request_body(parts, row)

    @app.get("/v1/status", summary="How the host is")
    async def status() -> HostStatusBody:  # pyright: ignore[reportUnusedFunction] - a route
        key, numbers = parts.identity.key, parts.serving.numbers()
        return HostStatusBody(
            network=hex_of(parts.identity.network),
            signing_key=hex_of(key.signing_key),
            until=key.until,
            requests={state.value: count for state, count in parts.host.counts().items()},
            models=len(parts.shelf.shown()),
            direct_answered=numbers.answered,
            direct_in_flight=numbers.in_flight,
            direct_batches=numbers.batches,
        )

    return app


def _host_body(parts: HostParts) -> HostBody:
    identity, key = parts.identity, parts.identity.key
    return HostBody(
        network=hex_of(identity.network),
        host_key=hex_of(identity.encoded_key),
        operator_signature=hex_of(identity.operator_signature),
        sealing_key=hex_of(key.sealing_key),
        signing_key=hex_of(key.signing_key),
        epoch=key.epoch,
        until=key.until,
        lanes=[
            LaneBody(name=name, chain=hex_of(lane.chain), registry=hex_of(lane.registry))
            for name, lane in parts.lanes.items()
        ],
    )


def _tensor_body(spec: TensorSpec) -> TensorBody:
    return TensorBody(name=spec.name, dtype=spec.dtype.value, shape=list(spec.shape))


def _model_body(model: ShelvedModel) -> ModelBody:
    signature = model.manifest.signature
    return ModelBody(
        publication=hex_of(model.publication.id),
        name=model.publication.record.name,
        version=model.publication.record.version,
        inputs=[_tensor_body(spec) for spec in signature.inputs] if signature else [],
        outputs=[_tensor_body(spec) for spec in signature.outputs] if signature else [],
        lease=hex_of(model.lease),
        lease_end=model.lease_end,
        calls_left=model.calls_left,
    )


def _request_body(parts: HostParts, row: RequestRow) -> RequestBody:
    trouble = parts.host.trouble(row.id)
    reason, text = row.reason, row.text
    if trouble is not None and not row.state.is_settled:
        reason, text = type(trouble).__name__, public_text(trouble)
    names = {lane: name for name, lane in parts.lanes.items()}
    signed = row.signed
    return RequestBody(
        id=hex_of(row.id),
        lane=names.get(row.lane, hex_of(row.lane.registry)),
        publication=hex_of(row.publication),
        state=row.state.value,
        reason=reason,
        text=text,
        deadline=row.deadline,
        output=None if signed is None else format_cid(signed.output),
        receipt=None if signed is None else hex_of(signed.receipt),
        receipt_signature=None if signed is None else hex_of(signed.receipt_signature),
        receipt_hash=None if signed is None else hex_of(signed.receipt_hash),
        answer=None if signed is None else hex_of(signed.answer),
        answer_signature=None if signed is None else hex_of(signed.answer_signature),
        host_key=None if signed is None else hex_of(signed.host_key),
        operator_signature=None if signed is None else hex_of(signed.operator_signature),
    )
