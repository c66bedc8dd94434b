"""What happened to a publication or a request: read from a relay, with present states read from the ledgers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from caimi.ports.tracing import trace_of, working_on
from caimi.protocol.publication import State
from caimi.sdk.connections import Connections
from caimi.sdk.errors import RefusedByRegistry, RefusedForNow, UnknownName
from caimi.sdk.json_fields import Fields, hex_text
from caimi.types.errors import BadEncoding
from caimi.types.failure import Retry
from caimi.types.primitives import Bytes32, UnixSeconds
from caimi.wire.refusal_json import refusal_from_json

__all__ = [
    "UNKNOWN",
    "Trace",
    "TraceProblem",
    "TraceStep",
    "parse_id",
    "read_trace",
]

UNKNOWN: Final = "UNKNOWN"
"""State on a lane that nobody of this network serves."""
_OPEN: Final = frozenset({State.NONE.name, State.LOCKED.name})
_ENDED: Final = frozenset({"ANSWERED", "REFUSED", "EXPIRED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceProblem:
    """What the last failed attempt at a call said (spec 00 §5)."""

    error: str
    """Name of the error."""
    code: int | None
    """Of spec/errors.toml; None for what is not in it."""
    blame: str
    """Who is to blame: a value of `Blame`."""
    certainty: str
    retry: Retry
    hint: str
    """What to do next; "" if nobody knows."""
    values: Mapping[str, str | int]
    attempts: int
    """How many attempts have failed."""

    @property
    def sentence(self) -> str:
        """What was said, without what to do."""
        try:
            known = refusal_from_json(self.error, self.values)
        except BadEncoding:
            known = None
        if known is not None:
            return str(known)
        told = ", ".join(f"{name} {value}" for name, value in self.values.items())
        return f"{self.error}: {told}" if told else self.error

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "error": self.error,
            "code": self.code,
            "blame": self.blame,
            "certainty": self.certainty,
            "retry": self.retry.value,
            "hint": self.hint,
            "values": dict(self.values),
            "attempts": self.attempts,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStep:
    """One thing that happened on one lane."""

    lane: str
    what: str
    """Such as `event LOCKED` or `call carry`."""
    state: str
    """`final` for events; how far it is for calls."""
    time: UnixSeconds
    """By the chain's clock for events, by the relay's for calls."""
    height: int | None
    transaction: str | None
    sequence: int | None
    """Number of the event at its registry."""
    signers: tuple[int, ...]
    """Signer indices, from 0, on the certificate of a carried run."""
    detail: str
    problem: TraceProblem | None
    """Of a call whose attempts failed."""

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "time": self.time,
            "lane": self.lane,
            "what": self.what,
            "state": self.state,
            "height": self.height,
            "transaction": self.transaction,
            "sequence": self.sequence,
            "signers": list(self.signers),
            "detail": self.detail,
            "problem": None if self.problem is None else self.problem.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Everything about one id."""

    id: Bytes32
    kind: str
    """`publication`, `batch` or `request`."""
    home: str
    """Lane that decides; of a request the lane that took it."""
    mirrors: tuple[str, ...]
    deadline: UnixSeconds | None
    outcome: str | None
    """By home's final event; of a request its state."""
    states: Mapping[str, str]
    """By lane, at its tip."""
    waits_for: str
    waits_on: tuple[str, ...]
    """Whom it waits for, such as `validator 3` or `ledger ethereum`; nobody if it is over."""
    deadline_left: int | None
    """Seconds by home's clock until home may abort it, 0 if it may already; None once decided, and of a request."""
    refusal: TraceProblem | None
    """Why home, or the registry of a request, refuses it; None if it does not."""
    steps: tuple[TraceStep, ...]

    @property
    def trace_id(self) -> str:
        """Under which every process's log has it (spec 00 §6)."""
        return trace_of(self.id)

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen by itself."""
        if self.kind == "request":
            return self.outcome is not None
        if self.outcome is None:
            return False
        return not any(state in _OPEN for state in self.states.values())

    def refused(self) -> RefusedByRegistry | None:
        """The error for a publication or request that is refused, None for any other."""
        if self.refusal is None:
            return None
        kind = RefusedByRegistry if self.refusal.retry is Retry.NEVER else RefusedForNow
        told = "; ".join(part for part in (self.refusal.sentence, self.refusal.hint) if part)
        return kind(f"{self.home} refuses it: {told}")

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "id": hex_text(self.id),
            "trace_id": self.trace_id,
            "kind": self.kind,
            "home": self.home,
            "mirrors": list(self.mirrors),
            "deadline": self.deadline,
            "outcome": self.outcome,
            "states": dict(self.states),
            "waits_for": self.waits_for,
            "waits_on": list(self.waits_on),
            "deadline_left": self.deadline_left,
            "refusal": None if self.refusal is None else self.refusal.to_json(),
            "steps": [step.to_json() for step in self.steps],
        }


def parse_id(text: str) -> Bytes32:
    """An id as 64 hex digits, with or without 0x.

    Raises:
        UnknownName: It is none.
    """
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != 32:
        raise UnknownName(f"{text[:80]!r} is no id: 64 hexadecimal digits are")
    return Bytes32(value)


async def read_trace(connections: Connections, identifier: Bytes32) -> Trace:
    """The trace of a publication or of an inference request.

    Raises:
        UnknownName: The relay knows neither.
        ServiceUnavailable, ServiceAnswer: Of the relay.
    """
    with working_on(identifier):
        try:
            return _publication(await connections.relay.get(f"/v1/publications/{hex_text(identifier)}"))
        except UnknownName:
            pass
        try:
            return _request(await connections.relay.get(f"/v1/requests/{hex_text(identifier)}"))
        except UnknownName:
            raise UnknownName(f"the relay knows no publication or request {hex_text(identifier)}") from None


def _publication(fields: Fields) -> Trace:
    deadline = fields.optional("deadline", fields.number)
    states = {name: str(state) for name, state in fields.object("states").values.items()}
    return Trace(
        id=fields.bytes32("id"),
        kind=fields.text("watched"),
        home=fields.text("home"),
        mirrors=fields.texts("mirrors"),
        deadline=None if deadline is None else UnixSeconds(deadline),
        outcome=fields.optional("outcome", fields.text),
        states=states,
        waits_for=fields.text("waits_for"),
        waits_on=fields.texts("waits_on"),
        deadline_left=fields.optional("deadline_left", fields.number),
        refusal=_problem(fields, "refusal"),
        steps=_steps(fields),
    )


def _request(fields: Fields) -> Trace:
    lane, state = fields.text("lane"), fields.text("state")
    return Trace(
        id=fields.bytes32("id"),
        kind="request",
        home=lane,
        mirrors=(),
        deadline=UnixSeconds(fields.number("deadline")),
        outcome=state if state in _ENDED else None,
        states={lane: state},
        waits_for=fields.text("waits_for"),
        waits_on=fields.texts("waits_on"),
        deadline_left=None,
        refusal=_problem(fields, "refusal"),
        steps=_steps(fields),
    )


def _steps(fields: Fields) -> tuple[TraceStep, ...]:
    return tuple(
        TraceStep(
            lane=step.text("lane"),
            what=step.text("what"),
            state=step.text("state"),
            time=UnixSeconds(step.number("time")),
            height=step.optional("height", step.number),
            transaction=step.optional("transaction", step.text),
            sequence=step.optional("sequence", step.number),
            signers=tuple(int(signer) for signer in step.items("signers")),
            detail=step.text("detail"),
            problem=_problem(step, "problem"),
        )
        for step in fields.objects("steps")
    )


def _problem(fields: Fields, name: str) -> TraceProblem | None:
    problem = fields.optional(name, fields.object)
    if problem is None:
        return None
    values = problem.object("values")
    if not all(isinstance(value, str | int) for value in values.values.values()):
        raise fields.malformed(name)
    try:
        retry = Retry(problem.text("retry"))
    except ValueError:
        raise problem.malformed("retry") from None
    return TraceProblem(
        error=problem.text("error"),
        code=problem.optional("code", problem.number),
        blame=problem.text("blame"),
        certainty=problem.text("certainty"),
        retry=retry,
        hint=problem.text("hint"),
        values=values.values,
        attempts=problem.number("attempts"),
    )
