"""A relay's HTTP interface (schemas/relay.json)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from pydantic import BaseModel, Field

from caimi.apps.hex_values import hex_of, read_bytes32, read_hex, read_lane
from caimi.apps.http_server import new_app
from caimi.apps.json_observer import JsonObserver
from caimi.apps.problem import NoSuchThing, Problem
from caimi.apps.readiness import stale_lanes
from caimi.ports.relay_store import CallRow, PublicationRow, RelayStore
from caimi.relay.engine import LaneReport, Relay
from caimi.relay.timeline import PublicationTimeline, RequestTimeline, Timelines, TimelineStep
from caimi.types.primitives import PublicationId

__all__ = ["relay_app"]

_LONGEST_HEX = 2 + 2 * (1 << 18)
Hex = Annotated[str, Field(pattern="^0x([0-9a-fA-F]{2})*$", max_length=_LONGEST_HEX)]


class LaneBody(BaseModel):
    """A registry."""

    name: str
    chain: str
    registry: str


class PublicationIn(BaseModel):
    """What a publisher signed."""

    publication: Hex
    """The ABI-encoded `Publication` (spec 10 §3)."""
    signature: Hex
    """65 bytes."""
    capsule: Hex | None = None
    """195 bytes, kept for hosts; can be brought later by repeating the call."""


class PublicationAccepted(BaseModel):
    """Stored, and its locks are queued."""

    id: str
    unknown_mirrors: list[str]
    """Mirrors that this relay does not serve: unless another one locks there, home aborts after the deadline."""


class RequestIn(BaseModel):
    """What a consumer signed."""

    request: Hex
    signature: Hex


class AnswerIn(BaseModel):
    """What a host and its operator signed."""

    answer: Hex
    signature: Hex
    host_key: Hex
    operator_signature: Hex


class CallIn(BaseModel):
    """Any other call of a registry's function: withdraw, fund, …"""

    chain: Hex
    registry: Hex
    call: Hex
    """Selector and arguments (spec 10 §2)."""


class Accepted(BaseModel):
    """Stored and queued."""

    id: str
    """The request's id; for other calls the keccak256 of their bytes."""
    key: str
    """For GET /v1/calls/{key}."""


class CallBody(BaseModel):
    """A call of the outbox."""

    key: str
    lane: str
    purpose: str
    state: str
    """queued, uncertified, bound (in its transaction), elsewhere, done, refused or split."""
    attempts: int
    transaction: str | None
    transaction_state: str | None
    """prepared, sent, included, reverted, done, failed or lost."""
    height: int | None
    refusal: str | None
    values: str
    """The refusal's arguments as JSON text."""
    created: int
    updated: int


class StepBody(BaseModel):
    """One thing that happened on a lane."""

    lane: str
    what: str
    state: str
    time: int
    height: int | None
    transaction: str | None
    sequence: int | None
    signers: list[int]
    detail: str


class PublicationBody(BaseModel):
    """One publication on all its lanes."""

    id: str
    home: str
    mirrors: list[str]
    unknown_mirrors: list[str]
    deadline: int | None
    outcome: str | None
    states: dict[str, str]
    """By lane, at its tip."""
    waits_for: str
    steps: list[StepBody]
    publication: str | None
    """The ABI-encoded `Publication`; null if this relay only saw its events."""
    capsule: str | None
    """Null if nobody brought it."""


class PublicationSummary(BaseModel):
    """One line of the list."""

    id: str
    home: str
    mirrors: list[str]
    deadline: int | None
    outcome: str | None
    accepted: int


class CidBody(BaseModel):
    """A CIDv1 with sha2-256."""

    codec: int
    digest: str


class RequestBody(BaseModel):
    """One inference request."""

    id: str
    lane: str
    publication: str
    state: str
    """QUEUED, REFUSED, REQUESTED or ANSWERED."""
    receipt_hash: str | None
    output: CidBody | None
    waits_for: str
    steps: list[StepBody]


class RelayLaneBody(BaseModel):
    """A lane as this relay sees it."""

    name: str
    chain: str
    registry: str
    height: int
    final_height: int
    followed: int
    lag: dict[str, int]
    calls: dict[str, int]
    in_flight: int
    hint: str
    """What the ledger or its node said last against sending, e.g. that the sender lacks funds."""


class RelayStatusBody(BaseModel):
    """The relay's lanes."""

    network: str
    lanes: list[RelayLaneBody]


def relay_app(
    relay: Relay,
    store: RelayStore,
    observer: JsonObserver,
    *,
    may_change: Callable[[Request], Coroutine[Any, Any, None]],
) -> FastAPI:
    """The application; `may_change` refuses changing calls without the token."""
    app = new_app("CAIMI relay", observer, ready=lambda: _missing(relay))
    _add_changes(app, relay, may_change)
    _add_views(app, relay, store)
    return app


def _add_changes(app: FastAPI, relay: Relay, may_change: Callable[[Request], Coroutine[Any, Any, None]]) -> None:
    problems: dict[int | str, dict[str, object]] = {code: {"model": Problem} for code in (400, 401, 404, 422)}
    options: dict[str, Any] = {"status_code": 202, "responses": problems, "dependencies": [Depends(may_change)]}

    @app.post("/v1/publications", summary="Lock a signed publication on its home and mirrors", **options)
    async def publish(body: PublicationIn) -> PublicationAccepted:  # pyright: ignore[reportUnusedFunction]
        capsule = None if body.capsule is None else read_hex(body.capsule)
        accepted = await relay.intake.publish(read_hex(body.publication), read_hex(body.signature), capsule)
        unknown = [relay.lanes.name(lane) for lane in accepted.unknown_mirrors]
        return PublicationAccepted(id=hex_of(accepted.id), unknown_mirrors=unknown)

    @app.post("/v1/requests", summary="Send a signed inference request to its registry", **options)
    async def request(body: RequestIn) -> Accepted:  # pyright: ignore[reportUnusedFunction]
        accepted = await relay.intake.request(read_hex(body.request), read_hex(body.signature))
        return Accepted(id=hex_of(accepted.id), key=accepted.key)

    @app.post("/v1/answers", summary="Send a host's signed answer to the request's registry", **options)
    async def answer(body: AnswerIn) -> Accepted:  # pyright: ignore[reportUnusedFunction]
        accepted = await relay.intake.answer(
            read_hex(body.answer),
            read_hex(body.signature),
            read_hex(body.host_key),
            read_hex(body.operator_signature),
        )
        return Accepted(id=hex_of(accepted.id), key=accepted.key)

    @app.post("/v1/calls", summary="Send any other signed call", **options)
    async def call(body: CallIn) -> Accepted:  # pyright: ignore[reportUnusedFunction]
        accepted = await relay.intake.call(read_lane(body.chain, body.registry), read_hex(body.call))
        return Accepted(id=hex_of(accepted.id), key=accepted.key)


def _add_views(app: FastAPI, relay: Relay, store: RelayStore) -> None:
    timelines = Timelines(relay.lanes, store)
    problems: dict[int | str, dict[str, object]] = {code: {"model": Problem} for code in (400, 404)}

    @app.get("/v1/publications", summary="Publications that this relay watches, newest first")
    async def publications(  # pyright: ignore[reportUnusedFunction]
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[PublicationSummary]:
        return [
            PublicationSummary(
                id=hex_of(row.id),
                home=relay.lanes.name(row.home),
                mirrors=[relay.lanes.name(mirror) for mirror in row.mirrors],
                deadline=row.deadline,
                outcome=row.outcome.name if row.outcome is not None else None,
                accepted=row.accepted,
            )
            for row in store.publications(limit)
        ]

    @app.get("/v1/publications/{id}", responses=problems, summary="Every step of a publication on every lane")
    async def publication(id: str) -> PublicationBody:  # pyright: ignore[reportUnusedFunction]
        timeline = await timelines.publication(PublicationId(read_bytes32(id)))
        if timeline is None:
            raise NoSuchThing(id)
        return _publication_body(timeline, store.publication(timeline.id))

    @app.get("/v1/requests/{id}", responses=problems, summary="Every step of an inference request")
    async def request(id: str) -> RequestBody:  # pyright: ignore[reportUnusedFunction]
        timeline = timelines.request(read_bytes32(id))
        if timeline is None:
            raise NoSuchThing(id)
        return _request_body(timeline)

    @app.get("/v1/calls/{key:path}", responses=problems, summary="One call of the outbox")
    async def call(key: str) -> CallBody:  # pyright: ignore[reportUnusedFunction]
        row = store.call(key)
        if row is None:
            raise NoSuchThing(key)
        return _call_body(relay, store, row)

    @app.get("/v1/status", summary="This relay's lanes")
    async def status() -> RelayStatusBody:  # pyright: ignore[reportUnusedFunction]
        return RelayStatusBody(network=hex_of(relay.network), lanes=[_lane_body(report) for report in relay.report()])


async def _missing(relay: Relay) -> list[str]:
    reports = relay.report()
    unread = {report.name: report.unread_seconds for report in reports}
    return stale_lanes(unread, {report.name: report.trouble for report in reports})


def _lane_body(report: LaneReport) -> RelayLaneBody:
    return RelayLaneBody(
        name=report.name,
        chain=hex_of(report.lane.chain),
        registry=hex_of(report.lane.registry),
        height=report.height,
        final_height=report.final_height,
        followed=report.followed,
        lag=report.lag,
        calls={state.value: count for state, count in report.calls.items()},
        in_flight=report.in_flight,
        hint=report.hint,
    )


def _call_body(relay: Relay, store: RelayStore, row: CallRow) -> CallBody:
    transaction = store.transaction(row.lane, row.transaction) if row.transaction else None
    return CallBody(
        key=row.key,
        lane=relay.lanes.name(row.lane),
        purpose=row.purpose.value,
        state=row.state.value,
        attempts=row.attempts,
        transaction=row.transaction,
        transaction_state=transaction.state.value if transaction else None,
        height=row.height if transaction is None else transaction.height,
        refusal=row.refusal,
        values=row.values,
        created=row.created,
        updated=row.updated,
    )


def _step_body(step: TimelineStep) -> StepBody:
    return StepBody.model_validate(dataclasses.asdict(step))


def _publication_body(timeline: PublicationTimeline, row: PublicationRow | None) -> PublicationBody:
    publication, capsule = (None, None) if row is None else (row.publication, row.capsule)
    return PublicationBody(
        id=hex_of(timeline.id),
        home=timeline.home,
        mirrors=list(timeline.mirrors),
        unknown_mirrors=list(timeline.unknown_mirrors),
        deadline=timeline.deadline,
        outcome=timeline.outcome,
        states=timeline.states,
        waits_for=timeline.waits_for,
        steps=[_step_body(step) for step in timeline.steps],
        publication=None if publication is None else hex_of(publication),
        capsule=None if capsule is None else hex_of(capsule),
    )


def _request_body(timeline: RequestTimeline) -> RequestBody:
    output = timeline.output
    return RequestBody(
        id=hex_of(timeline.id),
        lane=timeline.lane,
        publication=hex_of(timeline.publication),
        state=timeline.state,
        receipt_hash=hex_of(timeline.receipt_hash) if timeline.receipt_hash else None,
        output=CidBody(codec=output.codec, digest=hex_of(output.digest)) if output else None,
        waits_for=timeline.waits_for,
        steps=[_step_body(step) for step in timeline.steps],
    )
