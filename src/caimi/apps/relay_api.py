"""A relay's HTTP interface (schemas/relay.json)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request

from caimi.apps.hex_values import hex_of, read_bytes32, read_hex, read_lane
from caimi.apps.http_server import new_app
from caimi.apps.json_observer import JsonObserver
from caimi.apps.problem import NoSuchThing, Problem
from caimi.apps.readiness import stale_lanes
from caimi.apps.relay_bodies import (
    Accepted,
    AnswerIn,
    BatchAccepted,
    BatchIn,
    BatchProofBody,
    CallBody,
    CallIn,
    CallProblemBody,
    CidBody,
    PublicationAccepted,
    PublicationBody,
    PublicationIn,
    PublicationSummary,
    RelayLaneBody,
    RelayStatusBody,
    RequestBody,
    RequestIn,
    StepBody,
    TakeOutAccepted,
    WorkflowBody,
    WorkflowsBody,
)
from caimi.ports.relay_store import CallRow, PublicationRow, RelayStore, Watched
from caimi.relay.engine import LaneReport, Relay
from caimi.relay.refused import CallProblem, problem_of_call
from caimi.relay.timeline import PublicationTimeline, RequestTimeline, TimelineStep
from caimi.types.primitives import PublicationId

__all__ = ["relay_app"]


def relay_app(
    relay: Relay,
    store: RelayStore,
    observer: JsonObserver,
    *,
    may_change: Callable[[Request], Coroutine[Any, Any, None]],
) -> FastAPI:
    """The application; `may_change` refuses changing calls without the token."""
    app = new_app("CAIMI relay", observer, ready=lambda: _missing(relay), longer_bodies={"/v1/batches": 1 << 22})
    _add_changes(app, relay, may_change)
    _add_batches(app, relay, may_change)
    _add_views(app, relay, store)
    return app


def _options(may_change: Callable[[Request], Coroutine[Any, Any, None]]) -> dict[str, Any]:
    problems = {code: {"model": Problem} for code in (400, 401, 404, 422)}
    return {"status_code": 202, "responses": problems, "dependencies": [Depends(may_change)]}


def _add_batches(app: FastAPI, relay: Relay, may_change: Callable[[Request], Coroutine[Any, Any, None]]) -> None:
    options = _options(may_change)

    @app.post("/v1/batches", summary="Lock signed publications on their home and mirrors as one batch", **options)
    async def publish_batch(body: BatchIn) -> BatchAccepted:  # pyright: ignore[reportUnusedFunction]
        capsules = None if body.capsules is None else read_hex(body.capsules)
        accepted = await relay.batches.publish(read_hex(body.batch), capsules)
        unknown = [relay.lanes.name(lane) for lane in accepted.unknown_mirrors]
        ids = [hex_of(identifier) for identifier in accepted.ids]
        return BatchAccepted(root=hex_of(accepted.root), ids=ids, unknown_mirrors=unknown)

    @app.post("/v1/publications/{id}/take-out", summary="Give a publication of a batch its own record", **options)
    async def take_out(id: str) -> TakeOutAccepted:  # pyright: ignore[reportUnusedFunction]
        return TakeOutAccepted(keys=list(await relay.batches.take_out(PublicationId(read_bytes32(id)))))


def _add_changes(app: FastAPI, relay: Relay, may_change: Callable[[Request], Coroutine[Any, Any, None]]) -> None:
    options = _options(may_change)

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
    problems: dict[int | str, dict[str, object]] = {code: {"model": Problem} for code in (400, 404)}

    @app.get("/v1/publications", summary="Publications that this relay watches, newest first")
    async def publications(  # pyright: ignore[reportUnusedFunction]
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[PublicationSummary]:
        rows = [one for row in store.publications(limit) for one in _summaries(relay, store, row)]
        return rows[:limit]

    @app.get("/v1/publications/{id}", responses=problems, summary="Every step of a publication on every lane")
    async def publication(id: str) -> PublicationBody:  # pyright: ignore[reportUnusedFunction]
        timeline = await relay.timelines.publication(PublicationId(read_bytes32(id)))
        if timeline is None:
            raise NoSuchThing(id)
        return _publication_body(timeline, store)

    @app.get("/v1/requests/{id}", responses=problems, summary="Every step of an inference request")
    async def request(id: str) -> RequestBody:  # pyright: ignore[reportUnusedFunction]
        timeline = relay.timelines.request(read_bytes32(id))
        if timeline is None:
            raise NoSuchThing(id)
        return _request_body(timeline)

    @app.get("/v1/calls/{key:path}", responses=problems, summary="One call of the outbox")
    async def call(key: str) -> CallBody:  # pyright: ignore[reportUnusedFunction]
        row = store.call(key)
        if row is None:
            raise NoSuchThing(key)
        return _call_body(relay, store, row)

    @app.get("/v1/workflows", summary="What is under way and makes no progress, and what it waits for")
    async def workflows(  # pyright: ignore[reportUnusedFunction]
        idle: Annotated[float | None, Query(ge=0, description="Seconds without progress; default: the bound")] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> WorkflowsBody:
        return await _workflows_body(relay, relay.stalled_seconds if idle is None else idle, limit)

    @app.get("/v1/status", summary="This relay's lanes")
    async def status() -> RelayStatusBody:  # pyright: ignore[reportUnusedFunction]
        return RelayStatusBody(network=hex_of(relay.network), lanes=[_lane_body(report) for report in relay.report()])


def _summaries(relay: Relay, store: RelayStore, row: PublicationRow) -> list[PublicationSummary]:
    # A batch that was brought here is shown as its publications, one that was only seen as itself.
    items = store.batch_items(row.id) if row.watched is Watched.BATCH else ()
    if not items:
        return [_summary(relay, row, row.id, row.watched, None)]
    return [_summary(relay, row, item.id, Watched.PUBLICATION, row.id) for item in items]


def _summary(
    relay: Relay, row: PublicationRow, identifier: PublicationId, watched: Watched, batch: PublicationId | None
) -> PublicationSummary:
    return PublicationSummary(
        id=hex_of(identifier),
        watched=watched.value,
        batch=None if batch is None else hex_of(batch),
        home=relay.lanes.name(row.home),
        mirrors=[relay.lanes.name(mirror) for mirror in row.mirrors],
        deadline=row.deadline,
        outcome=row.outcome.name if row.outcome is not None else None,
        accepted=row.accepted,
    )


async def _missing(relay: Relay) -> list[str]:
    reports = relay.report()
    unread = {report.name: report.unread_seconds for report in reports}
    return stale_lanes(unread, {report.name: report.trouble for report in reports})


async def _workflows_body(relay: Relay, idle: float, limit: int) -> WorkflowsBody:
    found = relay.workflows.open()
    shown = [workflow for workflow in found if workflow.idle >= idle][:limit]
    waits = [await relay.timelines.wait(workflow) for workflow in shown]
    return WorkflowsBody(
        open=len(found),
        stalled=sum(workflow.idle > relay.stalled_seconds for workflow in found),
        bound=relay.stalled_seconds,
        workflows=[
            WorkflowBody(
                id=hex_of(workflow.id),
                kind=workflow.kind.value,
                since=workflow.since,
                idle=workflow.idle,
                waits_for=wait.text,
                waits_on=list(wait.on),
            )
            for workflow, wait in zip(shown, waits, strict=True)
        ],
    )


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
        batch_items=report.batch_items,
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
        problem=_problem_body(problem_of_call(row)),
        created=row.created,
        updated=row.updated,
    )


def _step_body(step: TimelineStep) -> StepBody:
    return StepBody(
        lane=step.lane,
        what=step.what,
        state=step.state,
        time=step.time,
        height=step.height,
        transaction=step.transaction,
        sequence=step.sequence,
        signers=list(step.signers),
        detail=step.detail,
        problem=_problem_body(step.problem),
    )


def _problem_body(problem: CallProblem | None) -> CallProblemBody | None:
    if problem is None:
        return None
    return CallProblemBody(
        error=problem.error,
        code=problem.code,
        blame=problem.blame.value,
        certainty=problem.certainty.value,
        retry=problem.retry.value,
        hint=problem.hint,
        values=dict(problem.values),
        attempts=problem.attempts,
    )


def _publication_body(timeline: PublicationTimeline, store: RelayStore) -> PublicationBody:
    row, item, proof = store.publication(timeline.id), store.batch_item(timeline.id), timeline.proof
    known = item if row is None or row.publication is None else row
    publication, capsule = (None, None) if known is None else (known.publication, known.capsule)
    batch = (
        None
        if proof is None
        else BatchProofBody(root=hex_of(proof.root), index=proof.index, siblings=[hex_of(s) for s in proof.siblings])
    )
    ids = store.batch_items(timeline.id) if timeline.watched is Watched.BATCH else ()
    return PublicationBody(
        id=hex_of(timeline.id),
        home=timeline.home,
        mirrors=list(timeline.mirrors),
        unknown_mirrors=list(timeline.unknown_mirrors),
        deadline=timeline.deadline,
        outcome=timeline.outcome,
        states=timeline.states,
        deadline_left=timeline.deadline_left,
        waits_for=timeline.waits_for,
        waits_on=list(timeline.waits_on),
        refusal=_problem_body(timeline.refusal),
        steps=[_step_body(step) for step in timeline.steps],
        publication=None if publication is None else hex_of(publication),
        capsule=None if capsule is None else hex_of(capsule),
        watched=timeline.watched.value,
        batch=batch,
        ids=[hex_of(one.id) for one in ids],
    )


def _request_body(timeline: RequestTimeline) -> RequestBody:
    output = timeline.output
    return RequestBody(
        id=hex_of(timeline.id),
        lane=timeline.lane,
        publication=hex_of(timeline.publication),
        state=timeline.state,
        deadline=timeline.deadline,
        receipt_hash=hex_of(timeline.receipt_hash) if timeline.receipt_hash else None,
        output=CidBody(codec=output.codec, digest=hex_of(output.digest)) if output else None,
        waits_for=timeline.waits_for,
        waits_on=list(timeline.waits_on),
        refusal=_problem_body(timeline.refusal),
        steps=[_step_body(step) for step in timeline.steps],
    )
