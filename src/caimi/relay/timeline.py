"""What happened to a publication or a request on every lane, and the one thing that it waits for now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from caimi.ports.relay_store import (
    CallRow,
    CallState,
    FollowedEvent,
    PublicationRow,
    Purpose,
    RelayStore,
    TransactionRow,
    Watched,
)
from caimi.protocol.publication import State
from caimi.relay.batch_calls import batch_proof
from caimi.relay.calls import carried_run
from caimi.relay.lanes import RelayLanes
from caimi.relay.refused import CallProblem, problem_of_call
from caimi.relay.waiting import Situation, Wait, Waiting
from caimi.relay.workflows import Workflow, WorkflowKind
from caimi.types.errors import CaimiError, UnknownBatch
from caimi.types.primitives import Bytes32, PublicationId, UnixSeconds
from caimi.types.records import BatchProof, Cid, Kind, Lane, Publication
from caimi.wire.codec import decode
from caimi.wire.functions import decode_body, decode_call

__all__ = ["PublicationTimeline", "RequestTimeline", "TimelineStep", "Timelines"]

_UNKNOWN: Final = "UNKNOWN"
_REFUSED: Final = "REFUSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineStep:
    """One thing that happened."""

    lane: str
    what: str
    """"event LOCKED", "call lock", …"""
    state: str
    """"final" for events; the call's or its transaction's state for calls."""
    time: UnixSeconds
    """By the chain's clock for events, by the relay's for calls."""
    height: int | None
    transaction: str | None
    sequence: int | None
    """Number of an event."""
    signers: tuple[int, ...]
    """Validators whose signatures a carried run bears."""
    detail: str
    problem: CallProblem | None
    """What the last failed attempt at a call said; None for events, and if none failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationTimeline:
    """One publication on all its lanes."""

    id: PublicationId
    home: str
    mirrors: tuple[str, ...]
    unknown_mirrors: tuple[str, ...]
    """Not served by this relay."""
    deadline: UnixSeconds | None
    outcome: str | None
    """By home's final event."""
    states: dict[str, str]
    """By lane, at its tip; UNKNOWN if it cannot be asked."""
    deadline_left: int | None
    """Seconds by home's clock until home may abort it, 0 if it may already; None once it is decided."""
    waits_for: str
    waits_on: tuple[str, ...]
    """Whom it waits for; nobody if it is over."""
    refusal: CallProblem | None
    """Why home will never have it; None unless home refused its lock and nobody else locked it there."""
    steps: tuple[TimelineStep, ...]
    watched: Watched = Watched.PUBLICATION
    proof: BatchProof | None = None
    """Where it is in its batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTimeline:
    """One inference request."""

    id: Bytes32
    lane: str
    publication: Bytes32
    state: str
    """QUEUED, REFUSED, REQUESTED, ANSWERED or EXPIRED."""
    deadline: UnixSeconds
    """After it the registry takes no answer."""
    receipt_hash: Bytes32 | None
    output: Cid | None
    waits_for: str
    waits_on: tuple[str, ...]
    """As of a publication."""
    refusal: CallProblem | None
    """Why the registry does not take it; None unless it is REFUSED."""
    steps: tuple[TimelineStep, ...]


class Timelines:
    """Reads them from the store, and present states from the ledgers."""

    def __init__(self, lanes: RelayLanes, store: RelayStore, situation: Situation) -> None:
        self._lanes = lanes
        self._store = store
        self._situation = situation
        self._waiting = Waiting(lanes, store, situation)

    async def publication(self, identifier: PublicationId) -> PublicationTimeline | None:
        """The timeline of a publication, None if this relay does not know it."""
        row, proof = self._store.publication(identifier), self.proof(identifier)
        calls = self._store.calls_about(identifier)
        events = self._store.followed_about(identifier)
        if row is None and proof is not None:
            # It goes with its batch until it is taken out.
            row = self._store.publication(PublicationId(proof.root))
            calls = (*self._store.calls_about(proof.root), *calls)
            events = (*self._store.followed_about(proof.root), *events)
        if row is None:
            return None
        everywhere = (row.home, *row.mirrors)
        shown = await asyncio.gather(*(self._state(lane, identifier, row, proof) for lane in everywhere))
        states = {self._lanes.name(lane): state for lane, state in zip(everywhere, shown, strict=True)}
        wait, head = self._waiting.publication(row, states, calls, events), self._situation.head(row.home)
        left = (
            None
            if row.outcome is not None or row.deadline is None or head is None
            else max(0, row.deadline - head.time)
        )
        return PublicationTimeline(
            id=identifier,
            home=self._lanes.name(row.home),
            mirrors=tuple(self._lanes.name(m) for m in row.mirrors),
            unknown_mirrors=tuple(self._lanes.name(m) for m in row.mirrors if self._lanes.get(m) is None),
            deadline=row.deadline,
            outcome=row.outcome.name if row.outcome is not None else None,
            states=states,
            deadline_left=left,
            waits_for=wait.text,
            waits_on=wait.on,
            refusal=_refusal_at_home(row, states[self._lanes.name(row.home)], calls),
            steps=self._steps(calls, events),
            watched=row.watched if identifier == row.id else Watched.PUBLICATION,
            proof=proof,
        )

    def proof(self, identifier: PublicationId) -> BatchProof | None:
        """Where a publication is in its batch, None if it is in none that was brought here."""
        item = self._store.batch_item(identifier)
        if item is None:
            return None
        ids = [one.id for one in self._store.batch_items(item.root)]
        return batch_proof(decode(Publication, item.publication).home, item.root, ids, item.index)

    async def wait(self, workflow: Workflow) -> Wait:
        """What an open workflow waits for."""
        if workflow.kind is WorkflowKind.PUBLICATION:
            found = await self.publication(PublicationId(workflow.id))
        else:
            found = self.request(workflow.id)
        if found is not None:
            return Wait(text=found.waits_for, on=found.waits_on)
        calls = self._store.calls_about(workflow.id)
        return self._waiting.call(calls[0].key, calls[0]) if calls else Wait(text="nothing that is known here")

    def request(self, identifier: Bytes32) -> RequestTimeline | None:
        """The timeline of a request, None if this relay does not know it."""
        calls = self._store.calls_about(identifier)
        events = self._store.followed_about(identifier)
        call = next((c for c in calls if c.purpose is Purpose.REQUEST), None)
        about = _request_origin(call, events)
        if about is None:
            return None
        lane, publication, deadline = about
        answered = [e for e in events if e.event.item.event.kind == Kind.ANSWERED]
        receipt_hash: Bytes32 | None = None
        output: Cid | None = None
        if answered:
            _, receipt_hash, output = decode_body(Kind.ANSWERED, answered[0].event.item.event.body)
            state, wait = "ANSWERED", Wait(text="nothing")
        else:
            state, wait = self._request_state(lane, deadline, calls, is_on_ledger=bool(events))
        return RequestTimeline(
            id=identifier,
            lane=self._lanes.name(lane),
            publication=publication,
            state=state,
            deadline=deadline,
            receipt_hash=receipt_hash,
            output=output,
            waits_for=wait.text,
            waits_on=wait.on,
            refusal=problem_of_call(call) if state == _REFUSED and call is not None else None,
            steps=self._steps(calls, events),
        )

    def _request_state(
        self, lane: Lane, deadline: UnixSeconds, calls: Sequence[CallRow], *, is_on_ledger: bool
    ) -> tuple[str, Wait]:
        call = next((c for c in calls if c.purpose is Purpose.REQUEST), None)
        if not is_on_ledger and call is not None and call.state is CallState.REFUSED:
            return _REFUSED, Wait(text=f"nothing: the registry refused it ({call.refusal})")
        # No later block takes an answer, and all up to that one are read.
        final_time = self._situation.final_time(lane)
        if final_time is not None and final_time > deadline:
            return "EXPIRED", Wait(text="nothing: its deadline passed without an answer")
        answer = next((c for c in calls if c.purpose is Purpose.ANSWER), None)
        if answer is not None:
            return "REQUESTED", self._waiting.answer(lane, answer)
        wait = self._waiting.request(lane, call, is_on_ledger=is_on_ledger)
        return "REQUESTED" if is_on_ledger else "QUEUED", wait

    async def _state(self, lane: Lane, identifier: PublicationId, row: PublicationRow, proof: BatchProof | None) -> str:
        served = self._lanes.get(lane)
        if served is None:
            return _UNKNOWN
        try:
            if proof is not None:
                return (await served.port.state_in(identifier, proof))[1].name
            if row.watched is Watched.BATCH:
                view = await served.port.batch(row.home, Bytes32(identifier))
            else:
                view = await served.port.publication(identifier)
        except UnknownBatch:
            view = None
        except CaimiError:
            return _UNKNOWN
        return State.NONE.name if view is None else view.state.name

    # --- steps

    def _steps(self, calls: Sequence[CallRow], events: Sequence[FollowedEvent]) -> tuple[TimelineStep, ...]:
        steps = [self._call_step(call) for call in calls] + [self._event_step(event) for event in events]
        return tuple(sorted(steps, key=lambda step: step.time))

    def _call_step(self, call: CallRow) -> TimelineStep:
        transaction = self._store.transaction(call.lane, call.transaction) if call.transaction else None
        signers, detail = (), ""
        if call.purpose is Purpose.CARRY:
            certificate, items, _ = carried_run(call)
            checkpoint = certificate.checkpoint
            signers = tuple(int(signature.signer) for signature in certificate.signatures)
            run = f"events {checkpoint.first_sequence}-{checkpoint.last_sequence}"
            detail = f"{run} of {self._lanes.name(checkpoint.source)}, {len(items)} carried"
        return TimelineStep(
            lane=self._lanes.name(call.lane),
            what=f"call {call.purpose.value}",
            state=_call_state(call, transaction),
            time=_call_time(call, transaction),
            height=call.height if transaction is None else transaction.height,
            transaction=call.transaction,
            sequence=None,
            signers=signers,
            detail=detail,
            problem=problem_of_call(call),
        )

    def _event_step(self, followed: FollowedEvent) -> TimelineStep:
        final = followed.event
        kind = final.item.event.kind
        name = Kind(kind).name if kind in set(Kind) else str(kind)
        return TimelineStep(
            lane=self._lanes.name(followed.lane),
            what=f"event {name}",
            state="final",
            time=final.time,
            height=final.height,
            transaction=final.transaction,
            sequence=final.item.sequence,
            signers=(),
            detail="",
            problem=None,
        )


def _request_origin(call: CallRow | None, events: Sequence[FollowedEvent]) -> tuple[Lane, Bytes32, UnixSeconds] | None:
    # Lane, publication and deadline of a request.
    asked = next((e for e in events if e.event.item.event.kind == Kind.REQUESTED), None)
    if asked is not None:
        event = asked.event.item.event
        return asked.lane, event.subject, decode_body(Kind.REQUESTED, event.body)[5]
    if call is None:
        return None
    request = decode_call(call.call)[1][0]
    return call.lane, request.publication, request.deadline


def _refusal_at_home(row: PublicationRow, state_at_home: str, calls: Sequence[CallRow]) -> CallProblem | None:
    if state_at_home != State.NONE.name:
        return None
    locks = (call for call in calls if call.purpose is Purpose.LOCK and call.lane == row.home)
    refused = (call for call in locks if call.state is CallState.REFUSED)
    return next((problem_of_call(call) for call in refused), None)


def _call_state(call: CallRow, transaction: TransactionRow | None) -> str:
    return transaction.state.value if call.state is CallState.BOUND and transaction else call.state.value


def _call_time(call: CallRow, transaction: TransactionRow | None) -> UnixSeconds:
    if transaction is None:
        return call.updated
    return transaction.final or transaction.included or transaction.sent or transaction.prepared
