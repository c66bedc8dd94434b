"""What happened to a publication or a request: read from a relay, with present states read from the ledgers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from caimi.ports.tracing import trace_of, working_on
from caimi.protocol.publication import State
from caimi.sdk.connections import Connections
from caimi.sdk.errors import RefusedByRegistry, RefusedForNow, UnknownName
from caimi.sdk.json_fields import Fields, hex_text
from caimi.types.errors import BadEncoding
from caimi.types.failure import Retry
from caimi.types.primitives import Address, Bytes32, PublicationId, UnixSeconds
from caimi.wire.refusal_json import refusal_from_json

__all__ = [
    "UNKNOWN",
    "Model",
    "Trace",
    "TraceProblem",
    "TraceStep",
    "find_model",
    "list_models",
    "model_of",
    "parse_id",
    "read_states",
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
    """`publication` or `request`."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One publication in a list."""

    id: PublicationId
    name: str
    version: int
    publisher: Address
    home: str
    mirrors: tuple[str, ...]
    states: Mapping[str, str]
    deposit: int

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "id": hex_text(self.id),
            "name": self.name,
            "version": self.version,
            "publisher": hex_text(self.publisher),
            "home": self.home,
            "mirrors": list(self.mirrors),
            "states": dict(self.states),
            "deposit": str(self.deposit),
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


async def read_states(connections: Connections, identifier: PublicationId, lanes: tuple[str, ...]) -> dict[str, str]:
    """A publication's state at the tip of each lane, asked of the ledgers themselves; UNKNOWN for foreign lanes.

    Raises:
        ChainError: Of a ledger.
    """

    async def one(name: str) -> str:
        if name not in connections.network.lanes:
            return UNKNOWN
        view = await connections.reader(name).publication(identifier)
        return State.NONE.name if view is None else view.state.name

    found = await asyncio.gather(*(one(name) for name in lanes))
    return dict(zip(lanes, found, strict=True))


async def list_models(connections: Connections, *, limit: int) -> tuple[Model, ...]:
    """The newest publications that the relay watches, as their ledgers show them.

    Raises:
        ServiceUnavailable, ServiceAnswer, ChainError: Of the relay or a ledger.
    """
    rows = await connections.relay.get_list("/v1/publications", limit=str(limit))
    models = await asyncio.gather(*(_model(connections, row) for row in rows))
    return tuple(model for model in models if model is not None)


async def model_of(connections: Connections, identifier: PublicationId) -> Model:
    """One publication, as its ledgers show it.

    Raises:
        UnknownName: The relay does not know it, or its home has it not yet.
        ServiceUnavailable, ServiceAnswer, ChainError: Of the relay or a ledger.
    """
    try:
        row = await connections.relay.get(f"/v1/publications/{hex_text(identifier)}")
    except UnknownName:
        raise UnknownName(f"the relay knows no publication {hex_text(identifier)}") from None
    model = await _model(connections, row)
    if model is None:
        raise UnknownName(f"{row.text('home')} has no publication {hex_text(identifier)} yet")
    return model


def find_model(models: Sequence[Model], text: str) -> Model:
    """The one that a text names: `name@version`, or a name, of which the highest committed version counts.

    Of several with one name and version, the one that home has locked counts: the others never took the name.

    Raises:
        UnknownName: None, or those of several publishers.
    """
    name, separator, version = text.partition("@")
    named = [model for model in models if model.name == name and (not separator or str(model.version) == version)]
    committed = [model for model in named if model.states[model.home] == State.COMMITTED.name]
    if not named:
        raise UnknownName(f"there is no publication {text!r}")
    if not separator and not committed:
        states = ", ".join(sorted({f"{m.name}@{m.version} {m.states[m.home]}" for m in named}))
        raise UnknownName(f"no version of {text!r} is committed: {states}"[:400])
    found = committed or named
    if len({model.publisher for model in found}) > 1:
        raise UnknownName(f"{text!r} is a name of {len(found)} publications of several publishers: name it by its id")
    return max(found, key=lambda model: (model.version, model.states[model.home] != State.ABORTED.name))


async def _model(connections: Connections, row: Fields) -> Model | None:
    identifier, home, mirrors = PublicationId(row.bytes32("id")), row.text("home"), row.texts("mirrors")
    view = await connections.reader(home).publication(identifier)
    if view is None:
        # Accepted by the relay a moment ago; no ledger has it yet.
        return None
    states = await read_states(connections, identifier, (home, *mirrors))
    return Model(
        id=identifier,
        name=view.name,
        version=view.version,
        publisher=view.publisher,
        home=home,
        mirrors=mirrors,
        states=states,
        deposit=view.deposit,
    )


def _publication(fields: Fields) -> Trace:
    deadline = fields.optional("deadline", fields.number)
    states = {name: str(state) for name, state in fields.object("states").values.items()}
    return Trace(
        id=fields.bytes32("id"),
        kind="publication",
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
