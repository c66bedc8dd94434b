"""What a relay's HTTP interface takes and gives, as JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

__all__ = [
    "Accepted",
    "AnswerIn",
    "BatchAccepted",
    "BatchIn",
    "BatchProofBody",
    "CallBody",
    "CallIn",
    "CallProblemBody",
    "CidBody",
    "LaneBody",
    "PublicationAccepted",
    "PublicationBody",
    "PublicationIn",
    "PublicationSummary",
    "RelayLaneBody",
    "RelayStatusBody",
    "RequestBody",
    "RequestIn",
    "StepBody",
    "TakeOutAccepted",
    "WorkflowBody",
    "WorkflowsBody",
]

_LONGEST_HEX = 2 + 2 * (1 << 18)
_LONGEST_BATCH = 2 + 2 * (1 << 20)
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


class BatchIn(BaseModel):
    """Publications that home locks, and decides, together (spec 37)."""

    batch: Annotated[str, Field(pattern="^0x([0-9a-fA-F]{2})*$", max_length=_LONGEST_BATCH)]
    """ABI-encoded `(Publication[], bytes[])`, as `lockBatch` takes it; at most 1 MiB."""
    capsules: Hex | None = None
    """195 bytes for each, in order, kept for hosts; can be brought later by repeating the call."""


class BatchAccepted(BaseModel):
    """Stored, and its lock is queued."""

    root: str
    ids: list[str]
    """By index."""
    unknown_mirrors: list[str]


class TakeOutAccepted(BaseModel):
    """The publication gets its own record on its registries."""

    keys: list[str]
    """For GET /v1/calls/{key}."""


class BatchProofBody(BaseModel):
    """Where a publication is in its batch (spec 37 §1)."""

    root: str
    index: int
    siblings: list[str]


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


class CallProblemBody(BaseModel):
    """What the last failed attempt at a call said (spec 00 §5)."""

    error: str
    """Name of the error; of spec/errors.toml if `code` is a number."""
    code: int | None
    blame: str
    """Who is to blame: caller, publisher, relay, validator, host, node, operator or nobody."""
    certainty: str
    """proven or suspected."""
    retry: str
    """never, after (something else has changed) or safe."""
    hint: str
    """What to do next; empty if nobody knows."""
    values: dict[str, str | int]
    """The refusal's arguments by name; `cause` for other errors."""
    attempts: int
    """How many attempts have failed."""


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
    problem: CallProblemBody | None
    """Null if no attempt has failed."""
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
    problem: CallProblemBody | None
    """Of a call whose attempts failed."""


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
    deadline_left: int | None
    """Seconds by home's clock until home may abort it, 0 if it may already; null once it is decided."""
    waits_for: str
    waits_on: list[str]
    """Whom it waits for, such as `validator 3`, `ledger ethereum`, `sender on ethereum`; empty if it is over."""
    refusal: CallProblemBody | None
    """Why home will never have it; null unless home refused it."""
    steps: list[StepBody]
    publication: str | None
    """The ABI-encoded `Publication`; null if this relay only saw its events."""
    capsule: str | None
    """Null if nobody brought it."""
    watched: str
    """publication, or batch: then the id is its root."""
    batch: BatchProofBody | None
    """Null if it is in no batch that was brought here."""
    ids: list[str]
    """Of a batch that was brought here, by index."""


class PublicationSummary(BaseModel):
    """One line of the list."""

    id: str
    watched: str
    """publication or batch."""
    batch: str | None
    """Root of the batch that it is in."""
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
    """QUEUED, REFUSED, REQUESTED, ANSWERED or EXPIRED."""
    deadline: int
    receipt_hash: str | None
    output: CidBody | None
    waits_for: str
    waits_on: list[str]
    refusal: CallProblemBody | None
    """Null unless it is REFUSED."""
    steps: list[StepBody]


class WorkflowBody(BaseModel):
    """One workflow that is under way."""

    id: str
    kind: str
    """publication, request or other."""
    since: int
    """Unix seconds, by the relay's clock."""
    idle: int
    """Seconds without progress."""
    waits_for: str
    waits_on: list[str]


class WorkflowsBody(BaseModel):
    """What is under way and made no progress."""

    open: int
    """How many workflows are under way."""
    stalled: int
    """How many of them made no progress for longer than `bound`."""
    bound: float
    """Seconds."""
    workflows: list[WorkflowBody]
    """Those that were asked for, the one that waits for the longest first."""


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
    batch_items: int
    """Most publications of a batch whose home it is."""
    hint: str
    """What the ledger or its node said last against sending, e.g. that the sender lacks funds."""


class RelayStatusBody(BaseModel):
    """The relay's lanes."""

    network: str
    lanes: list[RelayLaneBody]
