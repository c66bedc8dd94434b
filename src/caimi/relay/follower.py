"""Stores a lane's final events, with the publications and outcomes that they tell of."""

from __future__ import annotations

from collections import deque
from typing import Final

from caimi.ports.chain import FinalEvent, Forgetful, Head
from caimi.ports.clock import Clock
from caimi.ports.observer import Observer
from caimi.ports.relay_store import AddEvents, AddPublication, Change, PublicationRow, RelayStep, RelayStore, Watched
from caimi.protocol.publication import Role, State
from caimi.relay.batch_calls import take_out_all
from caimi.relay.branch import Branch
from caimi.relay.calls import subjects_of
from caimi.relay.lanes import RelayLane
from caimi.relay.resumption import LaneDecisions, undone_above
from caimi.types.errors import BadBody, CaimiError
from caimi.types.primitives import PublicationId, Sequence, UnixSeconds
from caimi.types.records import Kind
from caimi.wire.functions import decode_body

__all__ = ["Follower"]

_PAGE: Final = 1024
_WATCHED: Final = {
    Kind.LOCKED: Watched.PUBLICATION,
    Kind.OUTCOME: Watched.PUBLICATION,
    Kind.BATCH_LOCKED: Watched.BATCH,
    Kind.BATCH_OUTCOME: Watched.BATCH,
}
_TIPS: Final = 4096


class Follower:
    """Follows one lane."""

    def __init__(
        self, lane: RelayLane, *, decisions: LaneDecisions, store: RelayStore, clock: Clock, observer: Observer
    ) -> None:
        self._lane = lane
        self._decisions = decisions
        self._decided = decisions.of(lane.lane)
        self._store = store
        self._clock = clock
        self._observer = observer
        self._head: Head | None = None
        self._read_at = clock.monotonic()
        self._trouble = ""
        # Height and clock of tips that were seen and are not final yet, oldest first.
        self._tips: deque[tuple[int, UnixSeconds]] = deque(maxlen=_TIPS)
        self._final_time: UnixSeconds | None = None
        self._read_up_to: bytes | None = None
        self._branch = Branch(lane, store=store)

    @property
    def head(self) -> Head | None:
        """The lane's tip when it was last asked, None before that."""
        return self._head

    @property
    def final_time(self) -> UnixSeconds | None:
        """The lane's clock at the highest final block whose clock was seen, all events up to which are stored."""
        return self._final_time

    @property
    def unread_seconds(self) -> float:
        """For how long the lane was not read without an error; from the start on if it never was."""
        return self._clock.monotonic() - self._read_at

    @property
    def trouble(self) -> str:
        """Why the last turn failed, "" if it did not."""
        return self._trouble

    async def turn(self) -> None:
        """Store what became final since the last turn.

        Raises:
            ChainError: Ask again later.
        """
        try:
            await self._follow()
        except CaimiError as error:
            self._trouble = f"{type(error).__name__}: {error}"
            raise
        self._trouble, self._read_at = "", self._clock.monotonic()
        self._note_time()

    def _note_time(self) -> None:
        head = self._head
        if head is None:
            return
        if not self._tips or self._tips[-1] != (head.height, head.time):
            self._tips.append((head.height, head.time))
        while self._tips and self._tips[0][0] <= head.final_height:
            self._final_time = self._tips.popleft()[1]

    async def _follow(self) -> None:
        head = await self._lane.port.head()
        self._head = head
        await self._note_decision()
        while head.final_hash != self._read_up_to:
            # Each page begins with the last event that is stored: one answer shows whether both are of one branch.
            last = self._last()
            page = await self._lane.port.events(last.item.sequence if last else Sequence(1), _PAGE)
            kept = await self._branch.kept(head, last, page)
            if self._last() != last:
                # The lane was resumed meanwhile: what was stored is dropped, and these events follow nothing.
                continue
            if kept is not None:
                self._go_back(kept)
                self._branch.note(head)
                # The next turn reads on, by another look at the tip: a node that goes to and fro keeps no turn busy.
                return
            self._take(page[1:] if last else page)
            self._branch.note(head)
            if len(page) < _PAGE:
                self._read_up_to = head.final_hash

    def _last(self) -> FinalEvent | None:
        lane = self._lane.lane
        stored = self._store.followed(lane, self._store.last_followed(lane), 1)
        return stored[-1] if stored else None

    def _take(self, new: tuple[FinalEvent, ...]) -> None:
        decided = self._decisions.changes(new, self._clock.now())
        self._store.write(RelayStep.FOLLOWED, *self._changes(new), *decided)
        self._decisions.learn(new)
        self._tell(new)

    def _go_back(self, kept: int) -> None:
        # Validators judge the new branch when it is carried: those who signed of the old one refuse it.
        self._observer.step("relay.blocks-gone", lane=self._lane.name, kept=kept)
        self._store.write(RelayStep.REWOUND, *undone_above(self._store, self._lane.lane, kept, self._clock.now()))

    async def _note_decision(self) -> None:
        # After a decision about this lane, what its node said before counts no more.
        decided = self._decisions.of(self._lane.lane)
        if decided == self._decided:
            return
        if isinstance(self._lane.port, Forgetful):
            await self._lane.port.forget(Sequence(self._store.last_followed(self._lane.lane) + 1))
        self._decided, self._read_up_to = decided, None
        self._observer.step(
            "relay.governed",
            lane=self._lane.name,
            version=decided.version,
            generation=decided.generation,
            dropped=decided.dropped,
        )

    def _tell(self, page: tuple[FinalEvent, ...]) -> None:
        if page:
            subjects = dict.fromkeys(subject for final in page for subject in subjects_of(final.item.event))
            numbers = {"first": page[0].item.sequence, "last": page[-1].item.sequence}
            self._observer.step("relay.followed", about=tuple(subjects), lane=self._lane.name, **numbers)

    def read_again(self) -> None:
        """Forget that there is nothing new: stored events were dropped."""
        self._read_up_to = None

    def _changes(self, page: tuple[FinalEvent, ...]) -> list[Change]:
        if not page:
            return []
        lane = self._lane.lane
        subjects = tuple(subjects_of(event.item.event) for event in page)
        changes: list[Change] = [AddEvents(lane=lane, events=page, subjects=subjects)]
        for event in page:
            change = self._publication_change(event)
            if change is not None:
                changes.append(change)
                changes += self._refunds(change.row)
        return changes

    def _refunds(self, row: PublicationRow) -> list[Change]:
        # Deposits of an aborted batch go back one by one (spec 37 §4).
        if row.watched is not Watched.BATCH or row.outcome is not State.ABORTED:
            return []
        return [*take_out_all(self._store.batch_items(row.id), self._lane, self._clock.now())]

    def _publication_change(self, final: FinalEvent) -> AddPublication | None:
        event = final.item.event
        if event.schema != 1 or event.kind not in _WATCHED:
            return None
        try:
            word = decode_body(Kind(event.kind), event.body)[0]
        except BadBody:
            return None
        if event.kind == Kind.LOCKED and word != Role.HOME:
            return None
        is_outcome = event.kind in (Kind.OUTCOME, Kind.BATCH_OUTCOME)
        if is_outcome and word not in (State.COMMITTED, State.ABORTED):
            return None
        row = PublicationRow(
            id=PublicationId(event.subject),
            publication=None,
            signature=None,
            home=self._lane.lane,
            mirrors=event.destinations,
            deadline=None,
            outcome=State(word) if is_outcome else None,
            accepted=self._clock.now(),
            watched=_WATCHED[Kind(event.kind)],
        )
        return AddPublication(row=row)
