"""What a validator keeps about the lanes that it attests: its index of final events, and everything it ever signed.

Every write takes the `ValidatorStep` that it persists; the store announces the step once it is durable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from caimi.protocol.registry_state import GovernedLane
from caimi.types.primitives import Bytes32, Generation
from caimi.types.primitives import Sequence as EventSequence
from caimi.types.records import Lane

__all__ = ["AttestationStore", "AttestedBlock", "IndexedEvent", "LaneLife", "ValidatorStep"]


class ValidatorStep(StrEnum):
    """Every persisted step of the attesting part of a validator."""

    INDEXED = "validator.indexed"
    """Final events were added to the index, with what they decide about lanes."""
    REWOUND = "validator.rewound"
    """The index of a lane was dropped, to be read again: its chain took back final blocks."""
    ATTESTED = "validator.attested"
    """What is about to be signed is recorded; nothing was answered yet."""
    HALTED = "validator.halted"
    """A lane was halted: signing would contradict what was signed before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLife:
    """A lane in one generation: the scope of what a validator must not contradict."""

    lane: Lane
    generation: Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedEvent:
    """One final event as the index keeps it."""

    sequence: EventSequence
    leaf: Bytes32
    height: int
    block_hash: Bytes32


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestedBlock:
    """A block whose hash was signed."""

    height: int
    block_hash: Bytes32


class AttestationStore(Protocol):
    """Durable before it returns. One process at a time."""

    def tail(self, life: LaneLife) -> IndexedEvent | None:
        """The indexed event with the highest sequence number."""
        ...

    def indexed(self, life: LaneLife, first: EventSequence, last: EventSequence) -> tuple[IndexedEvent, ...]:
        """The indexed events from `first` to `last`, in order."""
        ...

    def attested_leaves(
        self, life: LaneLife, first: EventSequence, last: EventSequence
    ) -> Mapping[EventSequence, Bytes32]:
        """The leaves ever signed for sequence numbers from `first` to `last`."""
        ...

    def attested_hash(self, life: LaneLife, height: int) -> Bytes32 | None:
        """The block hash ever signed for `height`."""
        ...

    def highest_attested(self, life: LaneLife) -> AttestedBlock | None:
        """The highest block ever signed."""
        ...

    def attested_below(self, life: LaneLife, height: int) -> AttestedBlock | None:
        """The highest block ever signed that is not above `height`."""
        ...

    def decision(self, lane: Lane) -> GovernedLane:
        """What the root's final events decided last about a lane."""
        ...

    def halt_cause(self, life: LaneLife) -> str | None:
        """Why the lane is halted, None if it is not."""
        ...

    def append(
        self,
        step: ValidatorStep,
        life: LaneLife,
        events: Sequence[IndexedEvent],
        decisions: Sequence[tuple[Lane, GovernedLane]] = (),
    ) -> None:
        """Add events to the index; their numbers follow the tail's.

        Arguments:
            decisions: of these events, about lanes; of each lane the one with the highest version stays.
        """
        ...

    def rewind(self, step: ValidatorStep, life: LaneLife) -> None:
        """Forget the index of the lane. What was signed stays."""
        ...

    def attest(
        self, step: ValidatorStep, life: LaneLife, leaves: Mapping[EventSequence, Bytes32], block: AttestedBlock
    ) -> None:
        """Record what is about to be signed.

        Leaves and hashes that are recorded already are left as they are: the caller has compared them.
        """
        ...

    def halt(self, step: ValidatorStep, life: LaneLife, cause: str) -> None:
        """Halt the lane for this generation; the first cause stays."""
        ...
