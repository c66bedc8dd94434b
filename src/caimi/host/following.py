"""Requests and accepted answers of one lane, by its final events; of the root's, what governance decides (spec 35 §3).

Each page begins with the last event that was followed, so that one answer shows whether the lane still has it: a chain
that took back what was final is followed again from the last page that it kept, for it numbers other events now. Once
governance has resumed a lane under its next generation, it is followed again from the last block kept, and from no
chain that lacks that block.
"""

from __future__ import annotations

from typing import Final

from caimi.host.errors import LaneAstray
from caimi.ports.chain import ChainReader, FinalEvent, Forgetful
from caimi.ports.clock import Clock
from caimi.ports.host_store import AcceptedAnswer, HostStep, HostStore, Mark, RequestRow, RequestState
from caimi.protocol.governance import decision_in
from caimi.protocol.registry_state import GovernedLane
from caimi.types.primitives import Sequence
from caimi.types.records import Kind, Lane
from caimi.wire.functions import decode_body

__all__ = ["LaneFollower"]

_PAGE: Final = 256
_MARKS: Final = 4_096


class LaneFollower:
    """Follows one lane from where the store says that it stopped."""

    def __init__(self, reader: ChainReader, *, root: Lane, store: HostStore, clock: Clock) -> None:
        """Arguments:
        root: the lane whose events decide about lanes; those of any other decide nothing.
        """
        self._reader = reader
        self._root = root
        self._store = store
        self._clock = clock
        self._read_at = clock.monotonic()
        self._decided = GovernedLane()

    @property
    def unread_seconds(self) -> float:
        """For how long the lane was not read without an error; from the start on if it never was."""
        return self._clock.monotonic() - self._read_at

    @property
    def lane(self) -> Lane:
        """The lane."""
        return self._reader.lane

    async def turn(self) -> None:
        """Store what became final since the last turn. Of a lane that was dropped nothing is read.

        Raises:
            ChainError: Ask again later.
            LaneAstray: The node is not on the branch that governance kept.
        """
        while not self._store.governed(self.lane).dropped and (events := await self._next()):
            last = events[-1]
            self._store.follow(
                HostStep.FOLLOWED,
                self.lane,
                Mark(sequence=last.item.sequence, height=last.height, block_hash=last.block_hash),
                requests=[self._requested(final) for final in events if _is(final, Kind.REQUESTED)],
                answered=[_accepted(final) for final in events if _is(final, Kind.ANSWERED)],
                decisions=self._decisions(events),
            )
        self._read_at = self._clock.monotonic()

    async def _next(self) -> tuple[FinalEvent, ...]:
        while True:
            decided = await self._note_decision()
            last = self._last()
            page = await self._reader.events(last.sequence if last else Sequence(1), _PAGE)
            if page and decided.version:
                await self._check_kept(decided)
            kept = None if last is None else await self._kept(last, page)
            if self._store.governed(self.lane) != decided:
                # The lane was resumed meanwhile, and these events follow nothing.
                continue
            if kept is None:
                return page[1:] if last else page
            self._store.rewind(HostStep.REWOUND, self.lane, kept)

    def _last(self) -> Mark | None:
        return next(iter(self._store.marks(self.lane, 1)), None)

    async def _kept(self, last: Mark, page: tuple[FinalEvent, ...]) -> int | None:
        # Height up to which the lane is as it was followed, -1 for none of it; None if nothing is gone.
        if page:
            is_there = page[0].block_hash == last.block_hash
        else:
            # A chain that is merely lower than it was says nothing: its node may lag.
            is_there = await self._reader.block_hash(last.height) in (None, last.block_hash)
        if is_there:
            return None
        marks = self._store.marks(self.lane, _MARKS)
        # Blocks hold their predecessors' hashes: all below one that is there are there too.
        gone, there = 0, len(marks)
        while there - gone > 1:
            middle = (gone + there) // 2
            if await self._reader.block_hash(marks[middle].height) == marks[middle].block_hash:
                there = middle
            else:
                gone = middle
        # Whatever the node says of single blocks, the one that is gone is not kept.
        return min(marks[there].height, last.height - 1) if there < len(marks) else -1

    async def _note_decision(self) -> GovernedLane:
        # After a decision about this lane, what its node said before counts no more.
        decided = self._store.governed(self.lane)
        if decided != self._decided and isinstance(self._reader, Forgetful):
            last = self._last()
            await self._reader.forget(Sequence(last.sequence + 1 if last else 1))
        self._decided = decided
        return decided

    async def _check_kept(self, decided: GovernedLane) -> None:
        there = await self._reader.block_hash(decided.height)
        if there != decided.block_hash:
            raise LaneAstray(decided.height, decided.block_hash, there)

    def _decisions(self, events: tuple[FinalEvent, ...]) -> list[tuple[Lane, GovernedLane]]:
        if self.lane != self._root:
            return []
        found = (decision_in(final.item.event) for final in events)
        # Nobody decides about the root's own lane.
        return [decision for decision in found if decision is not None and decision[0] != self._root]

    def _requested(self, final: FinalEvent) -> RequestRow:
        event = final.item.event
        # The lane's own registry made these events, so their bodies decode.
        request, consumer, cid, commitment, client_key, deadline = decode_body(Kind.REQUESTED, event.body)
        return RequestRow(
            id=request,
            lane=self.lane,
            publication=event.subject,
            consumer=consumer,
            input=cid,
            input_commitment=commitment,
            client_key=client_key,
            deadline=deadline,
            seen=self._clock.now(),
            height=final.height,
            state=RequestState.SEEN,
        )


def _is(final: FinalEvent, kind: Kind) -> bool:
    return final.item.event.schema == 1 and final.item.event.kind == kind


def _accepted(final: FinalEvent) -> AcceptedAnswer:
    request, receipt_hash, _ = decode_body(Kind.ANSWERED, final.item.event.body)
    return AcceptedAnswer(request=request, receipt_hash=receipt_hash, height=final.height)
