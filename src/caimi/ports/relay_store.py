"""What a relay keeps: followed events, cursors, publications, and the outbox of calls and transactions.

There is one way to write, `RelayStore.write`: a step and the changes that become durable together. The store announces
the step, and tells a listener of the changes, once they are durable.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from caimi.ports.chain import FinalEvent
from caimi.protocol.publication import State
from caimi.types.primitives import Bytes32, PublicationId, Sequence, UnixSeconds
from caimi.types.records import Lane

__all__ = [
    "LIVE",
    "AddBatchItems",
    "AddCall",
    "AddEvents",
    "AddPublication",
    "BatchItem",
    "CallRow",
    "CallState",
    "Change",
    "DropEvents",
    "FollowedEvent",
    "MoveCursor",
    "OpenWorkflow",
    "PublicationRow",
    "Purpose",
    "PutCall",
    "PutTransaction",
    "RelayStep",
    "RelayStore",
    "TransactionRow",
    "TransactionState",
    "Watched",
]


class RelayStep(StrEnum):
    """Every persisted step of a relay."""

    FOLLOWED = "relay.followed"
    """Final events of a lane were stored, with the publications and outcomes that they tell of."""
    REWOUND = "relay.rewound"
    """Stored events that a quorum contradicts, or whose final blocks are gone, were dropped, and the cursors with them;
    what was done in such blocks is queued again."""
    ACCEPTED = "relay.accepted"
    """What came by HTTP is stored and its calls are queued."""
    PASSED = "relay.passed"
    """A cursor moved over events that do not concern its destination."""
    CARRIED = "relay.carried"
    """A certified run is queued for its destination, and its cursor moved."""
    RECERTIFIED = "relay.recertified"
    """A run that its destination refused is queued with a fresh certificate."""
    SPLIT = "relay.split"
    """A run too large for one transaction became two."""
    WATCHED = "relay.watched"
    """The deadline of a publication found on its home is known."""
    ABANDONED = "relay.abandoned"
    """A batch that home never locked can be locked no more."""
    TAKE_OUTS_QUEUED = "relay.take-outs-queued"
    """What is left of a batch that home did not decide in time goes on one by one."""
    ABORT_QUEUED = "relay.abort-queued"
    """The abort of a publication whose deadline passed is queued."""
    PREPARED = "relay.prepared"
    """A transaction is signed and its slot taken; nothing was sent."""
    REPRICED = "relay.repriced"
    """A transaction that nobody includes is signed again under its slot at a higher fee, and has its calls."""
    FILLED = "relay.filled"
    """A transaction that only uses up a missing slot is signed."""
    SENT = "relay.sent"
    """A transaction was handed to its ledger."""
    INCLUDED = "relay.included"
    """A transaction is on its ledger, not final yet."""
    DONE = "relay.done"
    """Transactions or calls took effect in a final block."""
    RETRIED = "relay.retried"
    """A transaction did nothing or is lost: its calls are queued again."""
    POSTPONED = "relay.postponed"
    """A call cannot be prepared now and waits for its next attempt."""
    REFUSED = "relay.refused"
    """The registry refuses a call for good, or it failed too often."""
    ELSEWHERE = "relay.elsewhere"
    """Somebody else had the same effect; it is not final yet."""


class Purpose(StrEnum):
    """Why a call is in the outbox."""

    LOCK = "lock"
    CARRY = "carry"
    ABORT = "abort"
    TAKE_OUT = "take-out"
    REQUEST = "request"
    ANSWER = "answer"
    OTHER = "other"

    @property
    def never_given_up(self) -> bool:
        """Whether it is tried for ever: liveness of all publications rests on these."""
        return self in (Purpose.CARRY, Purpose.ABORT, Purpose.TAKE_OUT)


class CallState(StrEnum):
    """Where a call is."""

    QUEUED = "queued"
    UNCERTIFIED = "uncertified"
    """A run whose certificate the destination refused: it is certified again."""
    BOUND = "bound"
    """Packed into its `transaction`."""
    ELSEWHERE = "elsewhere"
    """Its effect was seen at `height` without a transaction of ours; it waits until that is final."""
    DONE = "done"
    REFUSED = "refused"
    SPLIT = "split"
    """Replaced by its two halves."""


class TransactionState(StrEnum):
    """Where a transaction is."""

    PREPARED = "prepared"
    SENT = "sent"
    INCLUDED = "included"
    REVERTED = "reverted"
    """On the ledger without effect, not final yet: it still holds its slot."""
    DONE = "done"
    FAILED = "failed"
    """On the ledger without effect, final."""
    LOST = "lost"


LIVE = (
    TransactionState.PREPARED,
    TransactionState.SENT,
    TransactionState.INCLUDED,
    TransactionState.REVERTED,
)
"""States that a ledger can still change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One call of the outbox."""

    key: str
    """Names the effect: a second row of the same key is never made."""
    lane: Lane
    """The registry that it is for."""
    call: bytes
    """Selector and arguments (spec 10 §2)."""
    purpose: Purpose
    subjects: tuple[Bytes32, ...]
    """Publications and requests that it serves."""
    state: CallState
    attempts: int
    transaction: str | None
    height: int | None
    """Where the effect was seen (ELSEWHERE) or is final (DONE)."""
    refusal: str | None
    """Name of the last refusal (spec/errors.toml)."""
    values: str
    """Its arguments as a JSON object, "" without refusal."""
    created: UnixSeconds
    updated: UnixSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRow:
    """One signed transaction."""

    lane: Lane
    transaction: str
    """The ledger's id."""
    slot: int | None
    raw: bytes
    state: TransactionState
    height: int | None
    cause: str
    """Why it did nothing, "" else."""
    prepared: UnixSeconds
    sent: UnixSeconds | None
    included: UnixSeconds | None
    final: UnixSeconds | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedEvent:
    """One final event of a lane."""

    lane: Lane
    event: FinalEvent


class Watched(StrEnum):
    """What a row of publications is."""

    PUBLICATION = "publication"
    BATCH = "batch"
    """Publications that home locked, and decides, together (spec 37)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationRow:
    """One publication, or one batch of them, that the relay watches."""

    id: PublicationId
    """Of a batch: its root."""
    publication: bytes | None
    """The ABI-encoded record, None of a batch and if it was found on its home."""
    signature: bytes | None
    home: Lane
    mirrors: tuple[Lane, ...]
    deadline: UnixSeconds | None
    """None until it was read from its home. Of a batch: the earliest."""
    outcome: State | None
    """By home's final OUTCOME event."""
    accepted: UnixSeconds
    capsule: bytes | None = None
    """The publication's capsule, for hosts; None if nobody brought it."""
    watched: Watched = Watched.PUBLICATION


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    """One publication of a batch that was brought here."""

    id: PublicationId
    root: Bytes32
    index: int
    publication: bytes
    """The ABI-encoded record."""
    signature: bytes
    capsule: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWorkflow:
    """A publication, request or other call that is under way, as far as the store can tell."""

    subject: Bytes32
    is_publication: bool
    since: UnixSeconds
    """When the relay learned of it."""
    progressed: UnixSeconds
    """When a call about it last came a step further. Attempts that failed are no progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCall:
    """Queue a call unless its key is known."""

    row: CallRow


@dataclass(frozen=True, slots=True, kw_only=True)
class PutCall:
    """Replace a call by its key."""

    row: CallRow


@dataclass(frozen=True, slots=True, kw_only=True)
class PutTransaction:
    """Add or replace a transaction."""

    row: TransactionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class AddEvents:
    """Store final events of a lane under the subjects that they are about."""

    lane: Lane
    events: tuple[FinalEvent, ...]
    subjects: tuple[tuple[Bytes32, ...], ...]
    """One tuple for each event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropEvents:
    """Forget the events of a lane from `first` on, and move cursors of that source back before it."""

    lane: Lane
    first: Sequence
    reopened: tuple[PublicationId, ...] = ()
    """Publications of that home whose outcome is among them: they are undecided again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveCursor:
    """Everything of `source` up to `sequence` is queued for `destination` or does not concern it."""

    source: Lane
    destination: Lane
    sequence: Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class AddPublication:
    """Watch a publication; of a known one, fill in what was not known."""

    row: PublicationRow


@dataclass(frozen=True, slots=True, kw_only=True)
class AddBatchItems:
    """Keep the publications of a batch; of known ones, fill in missing capsules."""

    items: tuple[BatchItem, ...]


Change = AddCall | PutCall | PutTransaction | AddEvents | DropEvents | MoveCursor | AddPublication | AddBatchItems


class RelayStore(Protocol):
    """Durable before it returns. One process at a time."""

    def write(self, step: RelayStep, *changes: Change) -> None:
        """Make all changes durable together, then announce the step. Without changes it does nothing."""
        ...

    def listen(self, listener: Callable[[tuple[Change, ...]], None]) -> None:
        """Tell `listener`, and no earlier one any more, of the changes of each write."""
        ...

    def call(self, key: str) -> CallRow | None:
        """The call of that key."""
        ...

    def calls(self, lane: Lane, state: CallState, limit: int) -> tuple[CallRow, ...]:
        """Calls for a registry in one state, oldest first."""
        ...

    def calls_in(self, lane: Lane, transaction: str) -> tuple[CallRow, ...]:
        """The calls packed into a transaction, in order."""
        ...

    def calls_about(self, subject: Bytes32) -> tuple[CallRow, ...]:
        """Calls that serve a publication or request, oldest first."""
        ...

    def call_counts(self, lane: Lane) -> Mapping[CallState, int]:
        """How many calls for a registry are in each state."""
        ...

    def transaction(self, lane: Lane, transaction: str) -> TransactionRow | None:
        """A transaction by its id."""
        ...

    def transactions(self, lane: Lane, states: Collection[TransactionState]) -> tuple[TransactionRow, ...]:
        """Transactions in these states, oldest first."""
        ...

    def last_followed(self, lane: Lane) -> Sequence:
        """Highest stored sequence number of a lane, 0 if none."""
        ...

    def followed(self, lane: Lane, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        """Stored events numbered `first` and on, in order."""
        ...

    def followed_about(self, subject: Bytes32) -> tuple[FollowedEvent, ...]:
        """Stored events about a publication or request, by time."""
        ...

    def first_above(self, lane: Lane, height: int) -> Sequence | None:
        """The lowest stored event of a lane in a block above `height`."""
        ...

    def done_above(self, lane: Lane, height: int) -> tuple[CallRow, ...]:
        """Calls for a registry whose effect is final in a block above `height`, oldest first."""
        ...

    def cursor(self, source: Lane, destination: Lane) -> Sequence:
        """See `MoveCursor`; 0 at first."""
        ...

    def publication(self, identifier: PublicationId) -> PublicationRow | None:
        """A watched publication."""
        ...

    def publications(self, limit: int) -> tuple[PublicationRow, ...]:
        """Watched publications, newest first."""
        ...

    def undecided(self, home: Lane) -> tuple[PublicationRow, ...]:
        """Watched publications and batches of a home that has not decided finally, oldest first."""
        ...

    def batch_item(self, identifier: PublicationId) -> BatchItem | None:
        """A publication that was brought here as part of a batch."""
        ...

    def batch_items(self, root: Bytes32) -> tuple[BatchItem, ...]:
        """All publications of a batch by index; empty if it was not brought here."""
        ...

    def open_subjects(self, lane: Lane, limit: int) -> tuple[Bytes32, ...]:
        """Undecided publications of that home, and what calls for that registry serve that are not at their end.

        At most `limit` of each, oldest first.
        """
        ...

    def unanswered(self, lane: Lane, limit: int) -> tuple[CallRow, ...]:
        """Of the newest `limit` requests of this relay that are on that registry, those without a final answer."""
        ...

    def workflow(self, subject: Bytes32) -> OpenWorkflow | None:
        """How far a publication or the calls about anything else are; None if nothing is known of it."""
        ...

    def on_the_way(self, destination: Lane, key_prefix: str) -> tuple[int, UnixSeconds | None]:
        """What calls of such keys serve that are not at their end: how many subjects, and when the oldest was made."""
        ...
