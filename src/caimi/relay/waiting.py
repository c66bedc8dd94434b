"""What a workflow waits for, and whom: said so that an operator knows where to look next.

A sentence holds nothing that changes while nothing happens (no ages, no countdowns), so that a new one is news.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from caimi.ports.chain import Head
from caimi.ports.relay_store import (
    CallRow,
    CallState,
    FollowedEvent,
    PublicationRow,
    Purpose,
    RelayStore,
    TransactionState,
)
from caimi.protocol.publication import State
from caimi.relay.calls import carried_run
from caimi.relay.lanes import RelayLanes
from caimi.relay.refused import problem_of_call
from caimi.types.failure import Blame
from caimi.types.primitives import UnixSeconds
from caimi.types.records import Kind, Lane

__all__ = ["CertificateWait", "Situation", "Wait", "Waiting", "call_progress"]

_BEHIND: Final = (State.NONE.name, State.LOCKED.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One thing that is waited for."""

    text: str
    """A sentence without a subject: it waits for …"""
    on: tuple[str, ...] = ()
    """Whom: "validator 3", "ledger ethereum", "sender on ethereum", "host", "publisher", …; nobody if it is over."""

    @classmethod
    def all_of(cls, waits: Sequence[Wait]) -> Wait:
        """Several at once."""
        on = dict.fromkeys(who for wait in waits for who in wait.on)
        return cls(text="; ".join(wait.text for wait in waits), on=tuple(on))


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateWait:
    """Why there is no certificate of a range, when it was last asked for."""

    text: str
    """What the validators said."""
    missing: tuple[int, ...]
    """Validators, counted from 1, whose signature is missing."""


class Situation(Protocol):
    """How the relay's parts are now."""

    def head(self, lane: Lane) -> Head | None:
        """A lane's tip when it was last read."""
        ...

    def final_time(self, lane: Lane) -> UnixSeconds | None:
        """The lane's clock at its highest final block, as far as that was seen."""
        ...

    def reading_trouble(self, lane: Lane) -> str:
        """Why a lane cannot be read now, "" if it can."""
        ...

    def sending_trouble(self, lane: Lane) -> str:
        """What the lane's ledger or its node says against sending, "" for nothing."""
        ...

    def certificate_trouble(self, source: Lane, destination: Lane) -> CertificateWait | None:
        """What is in the way of the next certificate between two lanes, None for nothing."""
        ...


class Waiting:
    """Finds what is in the way."""

    def __init__(self, lanes: RelayLanes, store: RelayStore, situation: Situation) -> None:
        self._lanes = lanes
        self._store = store
        self._situation = situation

    def publication(
        self, row: PublicationRow, states: dict[str, str], calls: Sequence[CallRow], events: Sequence[FollowedEvent]
    ) -> Wait:
        """What a publication waits for.

        Arguments:
            states: at the tip, by lane name.
        """
        if row.outcome is not None:
            return self._outcome(row, states, calls, events)
        home = self._lanes.name(row.home)
        ends = next((c for c in calls if c.purpose is Purpose.ABORT), None)
        if ends is not None:
            return self.call(f"the abort on {home}", ends)
        missing = [lane for lane in (row.home, *row.mirrors) if not _has_answered(lane, events)]
        if missing:
            return Wait.all_of([self._lock(lane, calls, home) for lane in missing])
        waits = [self._carriage(m, row.home, "the answer", calls, events, _ANSWERS) for m in row.mirrors]
        carried = [wait for wait in waits if wait is not None]
        if carried:
            head = Wait(text=f"the certified answers of the mirrors to be carried to {home}")
            return Wait.all_of([head, *carried])
        return Wait(
            text=f"the certified answers of the mirrors to be carried to {home}, and its outcome to be final",
            on=(f"ledger {home}",),
        )

    def request(self, lane: Lane, call: CallRow | None, *, is_on_ledger: bool) -> Wait:
        """What a request waits for that is not answered and was not refused."""
        name = self._lanes.name(lane)
        if not is_on_ledger:
            return self.call(f"the request on {name}", call)
        answer = Wait(text="a host's answer, then its block to be final", on=("host",))
        return Wait.all_of([answer, *self._reading(lane)])

    def answer(self, lane: Lane, call: CallRow) -> Wait:
        """What a request waits for whose answer this relay has."""
        return self.call(f"the answer on {self._lanes.name(lane)}", call)

    # --- parts

    def _outcome(
        self, row: PublicationRow, states: dict[str, str], calls: Sequence[CallRow], events: Sequence[FollowedEvent]
    ) -> Wait:
        unknown = [self._lanes.name(m) for m in row.mirrors if self._lanes.get(m) is None]
        served = [m for m in row.mirrors if self._lanes.get(m) is not None]
        behind = [m for m in served if states.get(self._lanes.name(m)) not in _SETTLED]
        if behind:
            names = ", ".join(self._lanes.name(m) for m in behind)
            waits = [self._carriage(row.home, m, "the outcome", calls, events, _OUTCOMES) for m in behind]
            found = [wait for wait in waits if wait is not None]
            reading = [wait for m in behind for wait in self._reading(m)]
            return Wait.all_of([Wait(text=f"home's outcome to be carried to {names}"), *found, *reading])
        if unknown:
            return Wait(text=f"nothing here: this relay does not serve {', '.join(unknown)}", on=("another relay",))
        return Wait(text="nothing: all lanes have the outcome")

    def _lock(self, lane: Lane, calls: Sequence[CallRow], home: str) -> Wait:
        name = self._lanes.name(lane)
        if self._lanes.get(lane) is None:
            text = f"{name} is not served by this relay: unless another one locks there, home aborts after the deadline"
            return Wait(text=text, on=("another relay",))
        lock = next((c for c in calls if c.purpose is Purpose.LOCK and c.lane == lane), None)
        if lock is not None and lock.state is CallState.REFUSED:
            text = f"the deadline, after which {home} aborts it: the lock on {name} is {call_progress(lock)}"
            return Wait(text=text, on=(f"ledger {home}",))
        return self.call(f"the lock on {name} to be final", lock)

    def _carriage(
        self,
        source: Lane,
        destination: Lane,
        what: str,
        calls: Sequence[CallRow],
        events: Sequence[FollowedEvent],
        kinds: frozenset[int],
    ) -> Wait | None:
        # None: it is there as far as this relay knows.
        if self._lanes.get(source) is None:
            return Wait(text=f"{self._lanes.name(source)} is not served by this relay", on=("another relay",))
        way = f"{what} of {self._lanes.name(source)} for {self._lanes.name(destination)}"
        carries = [c for c in calls if c.purpose is Purpose.CARRY and c.lane == destination and _from(c, source)]
        under_way = [c for c in carries if c.state not in (CallState.DONE, CallState.SPLIT)]
        if under_way:
            return self.call(way, under_way[0])
        told = next((e for e in events if e.lane == source and e.event.item.event.kind in kinds), None)
        if told is None:
            return Wait(text=f"{way} to be final", on=(f"ledger {self._lanes.name(source)}",))
        if self._store.cursor(source, destination) >= told.event.item.sequence:
            return None
        return self._certificate(way, told, source, destination)

    def _certificate(self, way: str, told: FollowedEvent, source: Lane, destination: Lane) -> Wait:
        number, height = told.event.item.sequence, told.event.height
        text = f"{way}: signatures over event {number} in block {height}"
        trouble = self._situation.certificate_trouble(source, destination)
        if trouble is None:
            return Wait(text=text, on=("validators",))
        on = tuple(f"validator {one}" for one in trouble.missing) or ("validators",)
        return Wait(text=f"{text}: {trouble.text}", on=on)

    def _reading(self, lane: Lane) -> list[Wait]:
        trouble, name = self._situation.reading_trouble(lane), self._lanes.name(lane)
        return [Wait(text=f"{name} to be readable: {trouble}", on=(f"ledger {name}",))] if trouble else []

    # --- one call

    def call(self, what: str, call: CallRow | None) -> Wait:
        """What a call waits for; None is one that this relay does not send.

        Arguments:
            what: how it is named.
        """
        if call is None:
            return Wait(text=f"{what}: somebody else sends it", on=("another relay",))
        wait = self._call(call)
        reading = self._reading(call.lane)
        return Wait.all_of([Wait(text=f"{what}: {wait.text}", on=wait.on), *reading])

    def _call(self, call: CallRow) -> Wait:
        name, progress = self._lanes.name(call.lane), call_progress(call)
        ledger, sender = f"ledger {name}", f"sender on {name}"
        match call.state:
            case CallState.QUEUED if call.refusal is not None:
                return Wait(text=progress, on=(_to_blame(call, ledger),))
            case CallState.QUEUED:
                trouble = self._situation.sending_trouble(call.lane)
                return Wait(text=f"{progress}; {trouble}" if trouble else progress, on=(sender,))
            case CallState.UNCERTIFIED:
                return self._uncertified(call, progress)
            case CallState.BOUND:
                return self._bound(call, progress, ledger, sender)
            case CallState.ELSEWHERE | CallState.DONE:
                height = "" if call.height is None else f", block {call.height} of {name} to be final"
                return Wait(text=progress + height, on=(ledger,))
            case _:
                return Wait(text=progress)

    def _bound(self, call: CallRow, progress: str, ledger: str, sender: str) -> Wait:
        transaction = self._store.transaction(call.lane, call.transaction) if call.transaction else None
        if transaction is None:
            return Wait(text=progress, on=(sender,))
        slot = "" if transaction.slot is None else f" (nonce {transaction.slot})"
        text = f"{progress}, transaction {transaction.transaction}{slot} {transaction.state.value}"
        if transaction.state in (TransactionState.INCLUDED, TransactionState.REVERTED):
            height = transaction.height if transaction.height is not None else "of it"
            return Wait(text=f"{text}, block {height} of {self._lanes.name(call.lane)} to be final", on=(ledger,))
        trouble = self._situation.sending_trouble(call.lane)
        return Wait(text=f"{text}; {trouble}" if trouble else text, on=(sender, ledger))

    def _uncertified(self, call: CallRow, progress: str) -> Wait:
        source = carried_run(call)[0].checkpoint.source
        trouble = self._situation.certificate_trouble(source, call.lane)
        if trouble is None:
            return Wait(text=f"{progress}: a fresh certificate", on=("validators",))
        on = tuple(f"validator {one}" for one in trouble.missing) or ("validators",)
        return Wait(text=f"{progress}: a fresh certificate: {trouble.text}", on=on)


def call_progress(call: CallRow) -> str:
    """How far a call is."""
    if call.refusal is None:
        return call.state.value
    return f"{call.state.value} after {call.attempts} failed attempts, the last: {call.refusal} {call.values}"


_ANSWERS: Final = frozenset(int(k) for k in (Kind.LOCKED, Kind.REFUSED, Kind.BATCH_LOCKED, Kind.BATCH_ANSWERED))
_OUTCOMES: Final = frozenset({int(Kind.OUTCOME), int(Kind.BATCH_OUTCOME)})
_SETTLED: Final = frozenset(state.name for state in State if state.name not in _BEHIND)


def _has_answered(lane: Lane, events: Sequence[FollowedEvent]) -> bool:
    return any(e.lane == lane and e.event.item.event.kind in _ANSWERS for e in events)


def _from(call: CallRow, source: Lane) -> bool:
    return carried_run(call)[0].checkpoint.source == source


def _to_blame(call: CallRow, ledger: str) -> str:
    # Who can do something about a refusal.
    problem = problem_of_call(call)
    return ledger if problem is None or problem.blame is Blame.NOBODY else problem.blame.value
