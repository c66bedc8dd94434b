"""One lane as a validator sees it: an index of final events, and whether anything may be signed from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NoReturn, TypeVar

from caimi.ports.attestation_store import AttestationStore, AttestedBlock, IndexedEvent, LaneLife, ValidatorStep
from caimi.ports.chain import ChainReader, ChainUnavailable, FinalEvent, Head
from caimi.ports.metrics import FINALITY_ALARMS
from caimi.ports.observer import Observer
from caimi.ports.validators import Abstains, NotYet
from caimi.protocol.governance import decision_in
from caimi.protocol.registry_state import GovernedLane
from caimi.types.errors import CaimiError
from caimi.types.primitives import Bytes32, Generation, Sequence
from caimi.types.records import Lane
from caimi.wire.digests import leaf_hash

__all__ = ["AttestedLane", "LaneCondition", "LaneStatus", "SourceLane"]

T = TypeVar("T")

_PAGE: Final = 1024


class LaneCondition(StrEnum):
    """Whether and why not a validator signs from a lane."""

    FOLLOWING = "following"
    STARTING = "starting"
    """Not read yet since this process began."""
    UNREACHABLE = "unreachable"
    ABSTAINING = "abstaining"
    """Sources disagree; ends by itself when they agree again."""
    STALLED = "stalled"
    """The chain is lower than the highest block signed; ends when it has caught up on the same branch."""
    HALTED = "halted"
    """Signing would contradict what was signed; ends when governance resumes the lane under its next generation."""
    ASTRAY = "astray"
    """The block that governance kept when it resumed the lane is not on the chain that is read here."""
    DROPPED = "dropped"
    """Governance has dropped the lane for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLane:
    """A lane to attest."""

    name: str
    reader: ChainReader
    generation: Generation
    sources: int
    """How many sources the reader compares."""
    note: str
    """What an operator should know, e.g. that all sources are one node; "" for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatus:
    """What /v1/status shows of a lane."""

    name: str
    lane: Lane
    generation: Generation
    condition: LaneCondition
    cause: str
    height: int
    final_height: int
    last_sequence: Sequence
    attested_height: int
    """Highest block signed, 0 if none."""
    sources: int
    note: str


class AttestedLane:
    """The index of one lane in one generation and the checks before a signature. One task at a time, by its lock."""

    def __init__(
        self,
        source: SourceLane,
        *,
        decided: GovernedLane,
        is_root: bool = False,
        store: AttestationStore,
        observer: Observer,
    ) -> None:
        """Arguments:
        decided: what governance decided last about the lane; a higher generation than the source's counts.
        is_root: whether the lane's events decide about lanes.
        """
        self.source = source
        self.life = LaneLife(lane=source.reader.lane, generation=max(source.generation, decided.generation))
        self.decided = decided
        self.lock = asyncio.Lock()
        self._is_root = is_root
        self._store = store
        self._observer = observer
        self._head: Head | None = None
        self._checked_below: Bytes32 | None = None
        self._condition, self._cause = LaneCondition.STARTING, ""
        # What is shown as 0 from the start can be seen to grow.
        observer.count(FINALITY_ALARMS, 0, lane=source.name)
        cause = store.halt_cause(self.life)
        if cause is not None:
            self._condition, self._cause = LaneCondition.HALTED, cause
        if decided.dropped:
            self._condition, self._cause = LaneCondition.DROPPED, "governance dropped it"

    @property
    def condition(self) -> LaneCondition:
        """Whether it is signed from."""
        return self._condition

    @property
    def head(self) -> Head | None:
        """The tip when it was last read, None before that."""
        return self._head

    def status(self) -> LaneStatus:
        """The lane as it is now."""
        tail, highest = self._store.tail(self.life), self._store.highest_attested(self.life)
        return LaneStatus(
            name=self.source.name,
            lane=self.life.lane,
            generation=self.life.generation,
            condition=self._condition,
            cause=self._cause,
            height=self._head.height if self._head else 0,
            final_height=self._head.final_height if self._head else 0,
            last_sequence=tail.sequence if tail else Sequence(0),
            attested_height=highest.height if highest else 0,
            sources=self.source.sources,
            note=self.source.note,
        )

    async def follow(self) -> None:
        """Bring the index up to the chain's final block; what is wrong becomes the lane's condition."""
        async with self.lock:
            # The reason is kept as the lane's condition and shown by `status`.
            with suppress(Abstains, NotYet):
                self._refuse_if_halted()
                head = await self._catch_up()
                # The same final block has the same blocks below it.
                if head.final_hash != self._checked_below:
                    await self._check_kept()
                    await self._check_branch()
                    self._checked_below = head.final_hash
                self._set(LaneCondition.FOLLOWING, "")

    async def attested_run(self, first: Sequence, last: Sequence) -> tuple[IndexedEvent, ...]:
        """The final events of a range, once nothing forbids to sign them and what is to be signed is on record.

        The caller holds the lock.

        Raises:
            NotYet: They are not all final here, or the chain is below what was signed.
            Abstains: Sources disagree or do not answer, or the lane is halted, astray or dropped.
        """
        self._refuse_if_halted()
        tail = self._store.tail(self.life)
        if tail is None or tail.sequence < last:
            await self._catch_up()
            tail = self._store.tail(self.life)
            if tail is None or tail.sequence < last:
                raise NotYet(f"event {last} is not final here, the last one is {tail.sequence if tail else 0}")
        events = self._store.indexed(self.life, first, last)
        await self._check_on_branch(events[-1])
        await self._check_kept()
        await self._check_branch()
        # Nothing is awaited between the comparison with what was signed and the record of what will be.
        self._attest(events)
        self._set(LaneCondition.FOLLOWING, "")
        return events

    # --- index

    async def _catch_up(self) -> Head:
        head = await self._asked(self.source.reader.head())
        # A tip may move without a final block; only a new final block can bring final events.
        if self._head is None or head.final_hash != self._head.final_hash:
            while await self._read_page():
                pass
        self._head = head
        return head

    async def _read_page(self) -> bool:
        # Each page begins with the event that the index ends with, so that one answer shows both: an index whose
        # parts come from different branches cannot arise. Returns whether there may be more.
        tail = self._store.tail(self.life)
        first = tail.sequence if tail else Sequence(1)
        page = await self._asked(self.source.reader.events(first, _PAGE))
        events = [self._index(event) for event in page]
        found = (decision_in(event.item.event) for event in page) if self._is_root else ()
        decisions = [decision for decision in found if decision is not None]
        if [e.sequence for e in events] != list(range(first, first + len(events))):
            raise self._abstain(LaneCondition.ABSTAINING, f"the events from {first} on are not gapless")
        if tail is not None and events:
            if events[0] != tail:
                self._rewind(f"event {tail.sequence} is another one now")
                return True
            events = events[1:]
        if events:
            self._store.append(ValidatorStep.INDEXED, self.life, events, decisions)
        return len(page) == _PAGE

    def _index(self, event: FinalEvent) -> IndexedEvent:
        return IndexedEvent(
            sequence=event.item.sequence,
            leaf=leaf_hash(self.life.lane, event.item),
            height=event.height,
            block_hash=event.block_hash,
        )

    def _rewind(self, because: str) -> None:
        # The chain took back what was final. Unless it was signed, reading it again is enough.
        self._observer.step("validator.rewinds", lane=self.source.name, because=because)
        self._store.rewind(ValidatorStep.REWOUND, self.life)
        self._head = self._checked_below = None

    # --- what was signed

    async def last_common_block(self) -> AttestedBlock:
        """The highest block ever signed that is on the chain now, its first block if there is none.

        Raises:
            Abstains: Sources disagree or do not answer.
        """
        for generation in range(self.life.generation, 0, -1):
            life = LaneLife(lane=self.life.lane, generation=Generation(generation))
            signed = self._store.highest_attested(life)
            while signed is not None:
                if await self._asked_only(self.source.reader.block_hash(signed.height)) == signed.block_hash:
                    return signed
                signed = self._store.attested_below(life, signed.height - 1)
        first = await self._asked_only(self.source.reader.block_hash(0))
        if first is None:
            raise Abstains(f"{self.source.name} has no first block")
        return AttestedBlock(height=0, block_hash=first)

    async def check_keeps(self, block: AttestedBlock) -> None:
        """Check that keeping everything up to `block` contradicts nothing here.

        Raises:
            Abstains: It is not on the chain, or a block below it that was signed is not.
        """
        for kept in (block, self._store.attested_below(self.life, block.height)):
            if kept is None:
                continue
            there = await self._asked_only(self.source.reader.block_hash(kept.height))
            if there != kept.block_hash:
                shown = "no block" if there is None else _shown(there)
                text = f"block {kept.height}: {_shown(kept.block_hash)} would be kept, {shown} is there"
                raise Abstains(f"{self.source.name}: {text}")

    async def _check_kept(self) -> None:
        # A generation begins with a block that a quorum named; a chain without it is another one.
        if self.decided.version == 0:
            return
        there = await self._asked(self.source.reader.block_hash(self.decided.height))
        if there != self.decided.block_hash:
            shown = "no block" if there is None else _shown(there)
            kept = f"block {self.decided.height}: governance kept {_shown(self.decided.block_hash)}"
            raise self._abstain(LaneCondition.ASTRAY, f"{kept}, {shown} is there")

    async def _check_on_branch(self, last: IndexedEvent) -> None:
        there = await self._asked(self.source.reader.block_hash(last.height))
        if there != last.block_hash:
            because = f"block {last.height} of event {last.sequence} is not on the chain"
            self._rewind(because)
            raise NotYet(f"{self.source.name}: {because}, the lane is read again")

    async def _check_branch(self) -> None:
        highest = self._store.highest_attested(self.life)
        if highest is None:
            return
        there = await self._asked(self.source.reader.block_hash(highest.height))
        if there is None:
            self._observer.count(FINALITY_ALARMS, lane=self.source.name)
            self._set(LaneCondition.STALLED, f"the chain is below block {highest.height}, which was signed")
            raise NotYet(f"{self.source.name}: {self._cause}")
        if there != highest.block_hash:
            self._halt(f"block {highest.height}: {_shown(highest.block_hash)} was signed, {_shown(there)} is there now")

    def _attest(self, events: tuple[IndexedEvent, ...]) -> None:
        signed = self._store.attested_leaves(self.life, events[0].sequence, events[-1].sequence)
        for event in events:
            leaf = signed.get(event.sequence, event.leaf)
            if leaf != event.leaf:
                self._halt(f"event {event.sequence}: {_shown(leaf)} was signed, {_shown(event.leaf)} is there now")
        last = events[-1]
        block = self._store.attested_hash(self.life, last.height)
        if block is not None and block != last.block_hash:
            self._halt(f"block {last.height}: {_shown(block)} was signed, {_shown(last.block_hash)} is there now")
        if block is None or len(signed) < len(events):
            leaves = {event.sequence: event.leaf for event in events}
            attested = AttestedBlock(height=last.height, block_hash=last.block_hash)
            self._store.attest(ValidatorStep.ATTESTED, self.life, leaves, attested)

    # --- condition

    def _refuse_if_halted(self) -> None:
        if self._condition in (LaneCondition.HALTED, LaneCondition.DROPPED):
            raise Abstains(f"{self.source.name} is {self._condition.value}: {self._cause}")

    def _halt(self, cause: str) -> NoReturn:
        self._observer.count(FINALITY_ALARMS, lane=self.source.name)
        self._observer.step("validator.halts", lane=self.source.name, cause=cause)
        self._store.halt(ValidatorStep.HALTED, self.life, cause)
        self._set(LaneCondition.HALTED, cause)
        raise Abstains(f"{self.source.name} is halted: {cause}")

    def _set(self, condition: LaneCondition, cause: str) -> None:
        if condition is not self._condition:
            self._observer.step("validator.lane", lane=self.source.name, condition=condition.value, cause=cause)
        self._condition, self._cause = condition, cause

    def _abstain(self, condition: LaneCondition, cause: str) -> Abstains:
        self._set(condition, cause)
        return Abstains(f"{self.source.name}: {cause}")

    async def _asked(self, answer: Awaitable[T]) -> T:
        # Whatever keeps the sources from one clear answer becomes the lane's condition.
        try:
            return await answer
        except ChainUnavailable as error:
            raise self._abstain(LaneCondition.UNREACHABLE, f"{type(error).__name__}: {error}") from error
        except CaimiError as error:
            raise self._abstain(LaneCondition.ABSTAINING, f"{type(error).__name__}: {error}") from error

    async def _asked_only(self, answer: Awaitable[T]) -> T:
        # A question beside the lane's own work leaves its condition as it is.
        try:
            return await answer
        except CaimiError as error:
            raise Abstains(f"{self.source.name}: {type(error).__name__}: {error}") from error


def _shown(value: bytes) -> str:
    return "0x" + value.hex()
