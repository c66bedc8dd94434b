"""What a host keeps: how far it followed each lane, every request with what became of it, what it had loaded.

No key, no plaintext.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from caimi.protocol.registry_state import GovernedLane
from caimi.types.primitives import Address, Bytes32, UnixSeconds
from caimi.types.primitives import Sequence as EventSequence
from caimi.types.records import Cid, Lane

__all__ = ["AcceptedAnswer", "HostStep", "HostStore", "Mark", "RequestRow", "RequestState", "ShelfRow", "SignedAnswer"]


class HostStep(StrEnum):
    """Every persisted step of a host."""

    FOLLOWED = "host.followed"
    """Final events of a lane were read: new requests, and answers that registries accepted."""
    REWOUND = "host.rewound"
    """A lane took back blocks that were followed."""
    SIGNED = "host.signed"
    """An answer is signed and stored; nothing was sent yet."""
    SENT = "host.sent"
    """The relay took the answer."""
    REFUSED = "host.refused"
    """A request will not be answered; the reason is stored."""
    UNREADABLE = "host.unreadable"
    """A request's input is not sealed to the keys of this start."""
    EXPIRED = "host.expired"
    """A request's deadline passed."""
    SHELVED = "host.shelved"
    """Which models are loaded, or under which lease, has changed."""


class RequestState(StrEnum):
    """Where a request is."""

    SEEN = "seen"
    SIGNED = "signed"
    SENT = "sent"
    ANSWERED = "answered"
    """The registry accepted this host's answer, finally."""
    ELSEWHERE = "elsewhere"
    """The registry accepted another host's answer."""
    REFUSED = "refused"
    UNREADABLE = "unreadable"
    EXPIRED = "expired"

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen here."""
        return self not in (RequestState.SEEN, RequestState.SIGNED, RequestState.SENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAnswer:
    """Everything of a receipt file (spec 60 §6) that is no secret."""

    answer: bytes
    """The ABI-encoded `Answer`."""
    answer_signature: bytes
    receipt: bytes
    """The ABI-encoded `Receipt`."""
    receipt_signature: bytes
    receipt_hash: Bytes32
    host_key: bytes
    """The ABI-encoded `HostKey`."""
    operator_signature: bytes
    output: Cid
    """The sealed output in the content store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """One request."""

    id: Bytes32
    lane: Lane
    publication: Bytes32
    consumer: Address
    input: Cid
    input_commitment: Bytes32
    client_key: Bytes32
    deadline: UnixSeconds
    seen: UnixSeconds
    height: int
    """Of the block with the request's event."""
    state: RequestState
    reason: str = ""
    """Name of the error that ended it, "" for none."""
    text: str = ""
    """What else may be told of it; nothing that comes from plaintext."""
    signed: SignedAnswer | None = None
    sent: UnixSeconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelfRow:
    """A model that was loaded."""

    publication: Bytes32
    opening: Bytes32
    """The request for which its lease was opened."""
    lease_end: UnixSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedAnswer:
    """What a registry told of an answer that it accepted."""

    request: Bytes32
    receipt_hash: Bytes32
    height: int
    """Of the block with the event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An event up to which a lane was followed."""

    sequence: EventSequence
    height: int
    block_hash: Bytes32


class HostStore(Protocol):
    """Durable before it returns. One process at a time."""

    def marks(self, lane: Lane, limit: int) -> tuple[Mark, ...]:
        """Ends of the pages that were followed, newest first, at most `limit`; old ones are not kept for ever."""
        ...

    def governed(self, lane: Lane) -> GovernedLane:
        """The last decision of governance about a lane that was followed."""
        ...

    def follow(
        self,
        step: HostStep,
        lane: Lane,
        upto: Mark,
        *,
        requests: Sequence[RequestRow],
        answered: Sequence[AcceptedAnswer],
        decisions: Sequence[tuple[Lane, GovernedLane]],
    ) -> None:
        """Set the newest mark, add requests that are not known yet, and settle the open ones that were answered.

        Arguments:
            answered: the stored answer's hash decides between ANSWERED and ELSEWHERE.
            decisions: of governance, in order; one whose version is not higher than the last one's counts for nothing.
                A lane that is resumed is followed again from the last block kept, as after `rewind`.
        """
        ...

    def rewind(self, step: HostStep, lane: Lane, height: int) -> None:
        """Keep nothing of blocks above `height` (-1 for all), which the lane took back.

        Requests above it are forgotten unless an answer to them is signed; what was settled above it is open again.
        """
        ...

    def request(self, identifier: Bytes32) -> RequestRow | None:
        """A request by its id."""
        ...

    def requests(self, state: RequestState, limit: int) -> tuple[RequestRow, ...]:
        """Requests in one state, oldest first."""
        ...

    def put(self, step: HostStep, row: RequestRow) -> None:
        """Replace a request that is not settled; one that is stays as it is."""
        ...

    def counts(self) -> Mapping[RequestState, int]:
        """How many requests are in each state."""
        ...

    def shelf(self) -> tuple[ShelfRow, ...]:
        """The models that were loaded last, of this start or an earlier one."""
        ...

    def put_shelf(self, rows: Sequence[ShelfRow]) -> None:
        """Replace them all (`HostStep.SHELVED`)."""
        ...
