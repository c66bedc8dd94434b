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
)
from caimi.protocol.publication import State
from caimi.relay.calls import carried_run
from caimi.relay.lanes import RelayLanes
from caimi.types.errors import CaimiError
from caimi.types.primitives import Bytes32, PublicationId, UnixSeconds
from caimi.types.records import Cid, Kind, Lane
from caimi.wire.functions import decode_body, decode_call

__all__ = ["PublicationTimeline", "RequestTimeline", "TimelineStep", "Timelines"]

_UNKNOWN: Final = "UNKNOWN"


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
    waits_for: str
    steps: tuple[TimelineStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTimeline:
    """One inference request."""

    id: Bytes32
    lane: str
    publication: Bytes32
    state: str
    """QUEUED, REFUSED, REQUESTED or ANSWERED."""
    receipt_hash: Bytes32 | None
    output: Cid | None
    waits_for: str
    steps: tuple[TimelineStep, ...]


class Timelines:
    """Reads them from the store, and present states from the ledgers."""

    def __init__(self, lanes: RelayLanes, store: RelayStore) -> None:
        self._lanes = lanes
        self._store = store

    async def publication(self, identifier: PublicationId) -> PublicationTimeline | None:
        """The timeline of a publication, None if this relay does not know it."""
        row = self._store.publication(identifier)
        if row is None:
            return None
        everywhere = (row.home, *row.mirrors)
        shown = await asyncio.gather(*(self._state(lane, identifier) for lane in everywhere))
        states = {self._lanes.name(lane): state for lane, state in zip(everywhere, shown, strict=True)}
        calls = self._store.calls_about(identifier)
        events = self._store.followed_about(identifier)
        return PublicationTimeline(
            id=identifier,
            home=self._lanes.name(row.home),
            mirrors=tuple(self._lanes.name(m) for m in row.mirrors),
            unknown_mirrors=tuple(self._lanes.name(m) for m in row.mirrors if self._lanes.get(m) is None),
            deadline=row.deadline,
            outcome=row.outcome.name if row.outcome is not None else None,
            states=states,
            waits_for=self._waits_for(row, states, calls, events),
            steps=self._steps(calls, events),
        )

    def request(self, identifier: Bytes32) -> RequestTimeline | None:
        """The timeline of a request, None if this relay does not know it."""
        calls = self._store.calls_about(identifier)
        events = self._store.followed_about(identifier)
        call = next((c for c in calls if c.purpose is Purpose.REQUEST), None)
        about = _request_origin(call, events)
        if about is None:
            return None
        lane, publication = about
        answered = [e for e in events if e.event.item.event.kind == Kind.ANSWERED]
        receipt_hash: Bytes32 | None = None
        output: Cid | None = None
        if answered:
            _, receipt_hash, output = decode_body(Kind.ANSWERED, answered[0].event.item.event.body)
        if answered:
            state, waits_for = "ANSWERED", "nothing"
        elif events:
            state, waits_for = "REQUESTED", "a host's answer, then its block to be final"
        elif call is not None and call.state is CallState.REFUSED:
            state, waits_for = "REFUSED", f"nothing: the registry refused it ({call.refusal})"
        else:
            state, waits_for = "QUEUED", f"the request on {self._lanes.name(lane)}: {_progress(call)}"
        return RequestTimeline(
            id=identifier,
            lane=self._lanes.name(lane),
            publication=publication,
            state=state,
            receipt_hash=receipt_hash,
            output=output,
            waits_for=waits_for,
            steps=self._steps(calls, events),
        )

    async def _state(self, lane: Lane, identifier: PublicationId) -> str:
        served = self._lanes.get(lane)
        if served is None:
            return _UNKNOWN
        try:
            view = await served.port.publication(identifier)
        except CaimiError:
            return _UNKNOWN
        return State.NONE.name if view is None else view.state.name

    # --- steps

    def _steps(self, calls: Sequence[CallRow], events: Sequence[FollowedEvent]) -> tuple[TimelineStep, ...]:
        steps = [self._call_step(call) for call in calls] + [self._event_step(event) for event in events]
        return tuple(sorted(steps, key=lambda step: step.time))

    def _call_step(self, call: CallRow) -> TimelineStep:
        transaction = self._store.transaction(call.lane, call.transaction) if call.transaction else None
        signers, detail = (), _cause(call)
        if call.purpose is Purpose.CARRY:
            certificate, items, _ = carried_run(call)
            checkpoint = certificate.checkpoint
            signers = tuple(int(signature.signer) for signature in certificate.signatures)
            run = f"events {checkpoint.first_sequence}-{checkpoint.last_sequence} of "
            detail = f"{run}{self._lanes.name(checkpoint.source)}, {len(items)} carried {detail}".rstrip()
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
        )

    # --- what it waits for

    def _waits_for(
        self,
        row: PublicationRow,
        states: dict[str, str],
        calls: Sequence[CallRow],
        events: Sequence[FollowedEvent],
    ) -> str:
        home = self._lanes.name(row.home)
        if row.outcome is not None:
            unknown = [self._lanes.name(m) for m in row.mirrors if self._lanes.get(m) is None]
            behind = [n for n, s in states.items() if s in (State.NONE.name, State.LOCKED.name, _UNKNOWN)]
            mine = [name for name in behind if name not in (home, *unknown)]
            if mine:
                return f"home's outcome to be carried to {', '.join(mine)}"
            if unknown:
                return f"nothing here: this relay does not serve {', '.join(unknown)}"
            return "nothing: all lanes have the outcome"
        ends = next((c for c in calls if c.purpose is Purpose.ABORT), None)
        if ends is not None:
            return f"the abort on {home}: {_progress(ends)}"
        missing = [lane for lane in (row.home, *row.mirrors) if not _has_answered(lane, events)]
        if not missing:
            return f"the certified answers of the mirrors to be carried to {home}, and its outcome to be final"
        return "; ".join(self._lock_progress(lane, calls) for lane in missing)

    def _lock_progress(self, lane: Lane, calls: Sequence[CallRow]) -> str:
        name = self._lanes.name(lane)
        if self._lanes.get(lane) is None:
            return f"{name} is not served by this relay: unless another one locks there, home aborts after the deadline"
        lock = next((c for c in calls if c.purpose is Purpose.LOCK and c.lane == lane), None)
        return f"the lock on {name} to be final: {_progress(lock)}"


def _request_origin(call: CallRow | None, events: Sequence[FollowedEvent]) -> tuple[Lane, Bytes32] | None:
    # Lane and publication of a request.
    if events:
        return events[0].lane, events[0].event.item.event.subject
    if call is None:
        return None
    return call.lane, decode_call(call.call)[1][0].publication


def _has_answered(lane: Lane, events: Sequence[FollowedEvent]) -> bool:
    return any(e.lane == lane and e.event.item.event.kind in (Kind.LOCKED, Kind.REFUSED) for e in events)


def _call_state(call: CallRow, transaction: TransactionRow | None) -> str:
    return transaction.state.value if call.state is CallState.BOUND and transaction else call.state.value


def _call_time(call: CallRow, transaction: TransactionRow | None) -> UnixSeconds:
    if transaction is None:
        return call.updated
    return transaction.final or transaction.included or transaction.sent or transaction.prepared


def _cause(call: CallRow) -> str:
    return f"after {call.attempts} failed attempts, the last: {call.refusal} {call.values}" if call.refusal else ""


def _progress(call: CallRow | None) -> str:
    if call is None:
        return "somebody else sends it"
    return f"{call.state.value} {_cause(call)}".rstrip()
