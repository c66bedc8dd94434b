"""An auditor's judgement from the ledgers alone: one outcome, deposits that add up, nothing twice (spec 30 §1, §5).

It trusts no process of ours: only what each registry's final events and records say.

The rules, by the name that a finding carries:

* gap: a registry's events are numbered 1, 2, 3 ...
* answered-twice: a mirror answers a publication once, a registry answers a request once
* answered-unasked: a registry answers only what was asked there before, of the same publication
* asked-twice: a registry takes a request once
* asked-uncommitted: a registry takes requests only of what is committed there
* decided-twice: home decides once
* foreign-decision: only home decides
* split: nowhere COMMITTED (or SUPERSEDED, REVOKED) while elsewhere ABORTED or REFUSED
* uncaused-commit: home commits only what all its mirrors have locked; a mirror is COMMITTED only if home is
* revoked-twice: a registry tells of a publication's revocation once
* revoked-untold: what is REVOKED was revoked by its publisher's signature at one of its registries, which told it
* unfinished: after the last fault everything reaches an end everywhere (asked for, not always due)
* deposit: a deposit is held at home while LOCKED or COMMITTED, and nowhere else
* money: what an account put in is what it has, by balance, deposits and withdrawals (all accounts together,
  where batches hold deposits whose owners are not known)

Publications of batches are judged by the same rules; `caimi.protocol.audit_batches` has those of batches as such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from caimi.protocol.audit_batches import BatchHistory, audit_batches, batched_ids, joined_state
from caimi.protocol.publication import Role, State
from caimi.types.primitives import Address, Bytes32, PublicationId
from caimi.types.records import Item, Kind, Lane
from caimi.wire.functions import decode_body

__all__ = ["AccountHistory", "Completeness", "Finding", "LaneHistory", "RecordHistory", "audit"]

_GOOD: Final = (State.COMMITTED, State.SUPERSEDED, State.REVOKED)
_BAD: Final = (State.ABORTED, State.REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordHistory:
    """A publication's record at one registry."""

    role: Role
    state: State
    publisher: Address
    home: Lane
    mirrors: tuple[Lane, ...]
    deposit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountHistory:
    """An account's money at one registry, in the token's smallest unit."""

    funded: int
    withdrawn: int
    balance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneHistory:
    """All that one ledger says."""

    name: str
    lane: Lane
    items: tuple[Item, ...]
    records: Mapping[PublicationId, RecordHistory]
    accounts: Mapping[Address, AccountHistory]
    batches: Mapping[tuple[Lane, Bytes32], BatchHistory] = field(
        default_factory=dict[tuple[Lane, Bytes32], BatchHistory]
    )
    """By home and root."""
    told: frozenset[tuple[Bytes32, int]] = field(init=False, repr=False)
    """Subject and kind of every event: each publication asks for some."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "told", frozenset((i.event.subject, i.event.kind) for i in self.items))


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule."""

    rule: str
    lane: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Completeness:
    """Whether everything has to have reached its end. `lanes`: those that work; others may lag."""

    lanes: frozenset[Lane] = field(default_factory=frozenset[Lane])


def audit(histories: Sequence[LaneHistory], *, finished: Completeness | None = None) -> tuple[Finding, ...]:
    """All broken rules; empty if there is none.

    Arguments:
        histories: one for each ledger.
        finished: given, publications whose registries all are in `lanes` must have ended there.
    """
    findings: list[Finding] = []
    for history in histories:
        findings += _gaps(history)
        findings += _twice(history)
        findings += _inference(history)
        findings += _money(history)
        findings += _batches(history, finished)
    findings += _batched(histories)
    if finished is not None:
        findings += _uncarried(histories, finished)
    places = batched_ids([h.batches for h in histories])
    for identifier in sorted({i for h in histories for i in h.records}):
        records = {h.lane: (h, h.records[identifier]) for h in histories if identifier in h.records}
        findings += _outcome(identifier, records, {h.lane: h for h in histories})
        findings += _revocation(identifier, records, finished)
        if finished is not None:
            findings += _unfinished(identifier, records, finished, places.get(identifier))
    return tuple(findings)


def _shown(value: bytes) -> str:
    return "0x" + value.hex()


def _gaps(history: LaneHistory) -> Iterable[Finding]:
    for place, item in enumerate(history.items, start=1):
        if item.sequence != place:
            yield Finding("gap", history.name, str(item.sequence), f"stands at place {place}")
            return


def _twice(history: LaneHistory) -> Iterable[Finding]:
    answers: Counter[Bytes32] = Counter()
    outcomes: Counter[Bytes32] = Counter()
    revocations: Counter[Bytes32] = Counter()
    for item in history.items:
        event = item.event
        record = history.records.get(PublicationId(event.subject))
        if event.kind in (Kind.LOCKED, Kind.REFUSED):
            answers[event.subject] += 1
        elif event.kind == Kind.REVOKED:
            revocations[event.subject] += 1
        elif event.kind == Kind.OUTCOME:
            outcomes[event.subject] += 1
            if record is None or record.role is not Role.HOME:
                yield Finding(
                    "foreign-decision", history.name, _shown(event.subject), "OUTCOME at a registry not its home"
                )
    yield from _more_than_once("answered-twice", history, answers)
    yield from _more_than_once("decided-twice", history, outcomes)
    yield from _more_than_once("revoked-twice", history, revocations)


def _inference(history: LaneHistory) -> Iterable[Finding]:
    asked: Counter[Bytes32] = Counter()
    receipts: Counter[Bytes32] = Counter()
    subjects: dict[Bytes32, Bytes32] = {}
    for item in history.items:
        event = item.event
        if event.kind == Kind.REQUESTED:
            request = decode_body(Kind.REQUESTED, event.body)[0]
            asked[request] += 1
            subjects[request] = event.subject
            record = history.records.get(PublicationId(event.subject))
            if record is None or record.state not in _GOOD:
                state = "unknown" if record is None else record.state.name
                yield Finding("asked-uncommitted", history.name, _shown(request), f"of a publication that is {state}")
        elif event.kind == Kind.ANSWERED:
            request = decode_body(Kind.ANSWERED, event.body)[0]
            receipts[request] += 1
            if subjects.get(request) != event.subject:
                yield Finding("answered-unasked", history.name, _shown(request), "no such request before it")
    yield from _more_than_once("asked-twice", history, asked)
    yield from _more_than_once("answered-twice", history, receipts)


def _more_than_once(rule: str, history: LaneHistory, counted: Counter[Bytes32]) -> Iterable[Finding]:
    for subject, times in counted.items():
        if times > 1:
            yield Finding(rule, history.name, _shown(subject), f"{times} times")


def _money(history: LaneHistory) -> Iterable[Finding]:
    held: Counter[Address] = Counter()
    unowned = 0
    for batch in history.batches.values():
        held.update(batch.held)
        unowned += batch.deposits - sum(batch.held.values())
    for identifier, record in history.records.items():
        held[record.publisher] += record.deposit
        due = record.role is Role.HOME and record.state in (State.LOCKED, State.COMMITTED)
        if (record.deposit > 0) != due:
            yield Finding(
                "deposit", history.name, _shown(identifier), f"{record.deposit} held while {record.state.name}"
            )
    have = {a: money.balance + held[a] + money.withdrawn for a, money in history.accounts.items()}
    if unowned:
        put_in, has = sum(money.funded for money in history.accounts.values()), sum(have.values()) + unowned
        if has != put_in:
            yield Finding("money", history.name, "all", f"put in {put_in}, has {has}")
        return
    for account, money in history.accounts.items():
        if have[account] != money.funded:
            yield Finding("money", history.name, _shown(account), f"put in {money.funded}, has {have[account]}")


def _outcome(
    identifier: PublicationId,
    records: Mapping[Lane, tuple[LaneHistory, RecordHistory]],
    histories: Mapping[Lane, LaneHistory],
) -> Iterable[Finding]:
    yield from _one_outcome(identifier, {h.name: r.state for h, r in records.values()})
    for history, record in records.values():
        if record.state not in _GOOD:
            continue
        if record.role is Role.HOME:
            for mirror in record.mirrors:
                there = histories.get(mirror)
                if there is not None and not _has_locked(history, there, identifier):
                    yield Finding("uncaused-commit", history.name, _shown(identifier), f"{there.name} never locked it")
        else:
            home = histories.get(record.home)
            if home is not None and not _has_decided(home, identifier):
                yield Finding("uncaused-commit", history.name, _shown(identifier), f"{home.name} never decided it")


def _revocation(
    identifier: PublicationId,
    records: Mapping[Lane, tuple[LaneHistory, RecordHistory]],
    finished: Completeness | None,
) -> Iterable[Finding]:
    told = any((identifier, Kind.REVOKED) in history.told for history, _ in records.values())
    for history, record in records.values():
        # A registry that is not shown may have told it.
        if record.state is State.REVOKED and not told and all(r in records for r in (record.home, *record.mirrors)):
            yield Finding("revoked-untold", history.name, _shown(identifier), "no registry of it told a revocation")
        due = finished is not None and history.lane in finished.lanes
        if due and told and record.state in (State.COMMITTED, State.SUPERSEDED):
            yield Finding("unfinished", history.name, _shown(identifier), f"revoked, and still {record.state.name}")


def _has_locked(home: LaneHistory, mirror: LaneHistory, identifier: PublicationId) -> bool:
    batch = batched_ids([home.batches]).get(identifier)
    answered = batch is not None and (batch[0], batch[1]) in mirror.batches
    return answered or (identifier, Kind.LOCKED) in mirror.told


def _has_decided(home: LaneHistory, identifier: PublicationId) -> bool:
    batch = batched_ids([home.batches]).get(identifier)
    decided = batch is not None and home.batches[batch[0], batch[1]].state is not State.LOCKED
    return decided or (identifier, Kind.OUTCOME) in home.told


def _batches(history: LaneHistory, finished: Completeness | None) -> Iterable[Finding]:
    is_finished = finished is not None and history.lane in finished.lanes
    recorded = frozenset(history.records)
    for rule, subject, detail in audit_batches(
        history.lane, history.items, history.batches, recorded, is_finished=is_finished
    ):
        yield Finding(rule, history.name, _shown(subject), detail)


def _batched(histories: Sequence[LaneHistory]) -> Iterable[Finding]:
    # What each registry says of an id of a batch, by its own record and by its batch.
    for identifier, (home, root, index) in sorted(batched_ids([h.batches for h in histories]).items()):
        deciding = next((h for h in histories if h.lane == home), None)
        mirrors = deciding.batches[home, root].mirrors if deciding else ()
        states: dict[str, State] = {}
        for history in histories:
            if history.lane != home and history.lane not in mirrors:
                continue
            record = history.records.get(identifier)
            own = None if record is None else (record.role, record.state)
            states[history.name] = joined_state(own, history.batches.get((home, root)), index)
        yield from _one_outcome(identifier, states)


def _uncarried(histories: Sequence[LaneHistory], finished: Completeness) -> Iterable[Finding]:
    for home in histories:
        for key, batch in home.batches.items():
            if key[0] != home.lane or batch.state is State.LOCKED:
                continue
            for mirror in (h for h in histories if h.lane in batch.mirrors and h.lane in finished.lanes):
                there = mirror.batches.get(key)
                if there is None or there.state is not batch.state:
                    state = "unknown" if there is None else there.state.name
                    yield Finding(
                        "unfinished", mirror.name, _shown(key[1]), f"{batch.state.name} at home, {state} here"
                    )


def _one_outcome(identifier: PublicationId, states: Mapping[str, State]) -> Iterable[Finding]:
    if any(s in _GOOD for s in states.values()) and any(s in _BAD for s in states.values()):
        shown = ", ".join(f"{name} {state.name}" for name, state in sorted(states.items()))
        yield Finding("split", "all", _shown(identifier), shown)


def _unfinished(
    identifier: PublicationId,
    records: Mapping[Lane, tuple[LaneHistory, RecordHistory]],
    finished: Completeness,
    place: tuple[Lane, Bytes32, int] | None,
) -> Iterable[Finding]:
    for history, record in records.values():
        if place is not None:
            # A mirror that locked it alone shows its batch's outcome, and moves the record when it is taken out.
            home, root, index = place
            batch = history.batches.get((home, root))
            if joined_state((record.role, record.state), batch, index) is not State.LOCKED:
                continue
        # Home always ends. A mirror whose home never saw the signed bytes waits for ever: no money is there.
        due = record.role is Role.HOME or record.home in records
        if due and history.lane in finished.lanes and record.state is State.LOCKED:
            yield Finding("unfinished", history.name, _shown(identifier), "still LOCKED")
