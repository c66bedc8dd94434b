"""Stores a lane's final events, with the publications and outcomes that they tell of."""

from __future__ import annotations

from typing import Final

from caimi.ports.chain import FinalEvent, Head
from caimi.ports.clock import Clock
from caimi.ports.relay_store import AddEvents, AddPublication, Change, PublicationRow, RelayStep, RelayStore
from caimi.protocol.publication import Role, State
from caimi.relay.calls import subjects_of
from caimi.relay.lanes import RelayLane
from caimi.types.errors import BadBody, CaimiError
from caimi.types.primitives import PublicationId, Sequence
from caimi.types.records import Kind
from caimi.wire.functions import decode_body

__all__ = ["Follower"]

_PAGE: Final = 1024


class Follower:
    """Follows one lane."""

    def __init__(self, lane: RelayLane, *, store: RelayStore, clock: Clock) -> None:
        self._lane = lane
        self._store = store
        self._clock = clock
        self._head: Head | None = None
        self._read_at = clock.monotonic()
        self._trouble = ""
        self._read_up_to: bytes | None = None

    @property
    def head(self) -> Head | None:
        """The lane's tip when it was last asked, None before that."""
        return self._head

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

    async def _follow(self) -> None:
        head = await self._lane.port.head()
        self._head = head
        while head.final_hash != self._read_up_to:
            first = Sequence(self._store.last_followed(self._lane.lane) + 1)
            page = await self._lane.port.events(first, _PAGE)
            self._store.write(RelayStep.FOLLOWED, *self._changes(page))
            if len(page) < _PAGE:
                self._read_up_to = head.final_hash

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
        return changes

    def _publication_change(self, final: FinalEvent) -> Change | None:
        event = final.item.event
        if event.schema != 1 or event.kind not in (Kind.LOCKED, Kind.OUTCOME):
            return None
        try:
            word = decode_body(Kind(event.kind), event.body)[0]
        except BadBody:
            return None
        if event.kind == Kind.LOCKED and word != Role.HOME:
            return None
        if event.kind == Kind.OUTCOME and word not in (State.COMMITTED, State.ABORTED):
            return None
        row = PublicationRow(
            id=PublicationId(event.subject),
            publication=None,
            signature=None,
            home=self._lane.lane,
            mirrors=event.destinations,
            deadline=None,
            outcome=State(word) if event.kind == Kind.OUTCOME else None,
            accepted=self._clock.now(),
        )
        return AddPublication(row=row)
