"""The auditor's judgement of batches (spec 37), by the rules of `caimi.protocol.audit` and these:

* answered-twice, decided-twice, foreign-decision, uncaused-commit: as of a publication, by root
* decided-twice also: home decided an id alone that its batch's commit holds
* deposit: what a batch holds is due to ids that have no record of their own
* unfinished: a batch that home has is decided everywhere, and an aborted one holds nothing
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from caimi.protocol.publication import Role, State
from caimi.types.primitives import Address, Bytes32, PublicationId
from caimi.types.records import Item, Kind, Lane

__all__ = ["BatchHistory", "Broken", "audit_batches", "batched_ids", "joined_state"]

Broken = tuple[str, Bytes32, str]
"""Rule, subject and detail of a finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchHistory:
    """A batch's record at one registry."""

    role: Role
    state: State
    taken: int
    mirrors: tuple[Lane, ...]
    """As home has them; empty at a mirror."""
    ids: tuple[PublicationId, ...]
    """By index, as home logged them; empty at a mirror."""
    deposits: int
    held: Mapping[Address, int] = field(default_factory=dict[Address, int])
    """Whose deposits they are, as far as this is known."""


Batches = Mapping[tuple[Lane, Bytes32], BatchHistory]
"""By home and root."""


def batched_ids(batches: Sequence[Batches]) -> dict[PublicationId, tuple[Lane, Bytes32, int]]:
    """Home, root and index of every id that a home logged."""
    return {
        identifier: (home, root, index)
        for some in batches
        for (home, root), batch in some.items()
        for index, identifier in enumerate(batch.ids)
    }


def joined_state(own: tuple[Role, State] | None, batch: BatchHistory | None, index: int) -> State:
    """What a registry says of an id by its own record and by its batch (spec 37 §5)."""
    if own is not None and (own[0] is Role.HOME or own[1] is not State.LOCKED):
        return own[1]
    if batch is None or (batch.state is not State.LOCKED and batch.taken >> index & 1):
        return State.NONE if own is None else own[1]
    return batch.state


def audit_batches(
    lane: Lane, items: Sequence[Item], batches: Batches, recorded: frozenset[PublicationId], *, is_finished: bool
) -> Iterable[Broken]:
    """Broken rules that one registry's events and records show.

    Arguments:
        recorded: ids with a record of their own here.
        is_finished: everything has to have reached its end.
    """
    yield from _twice(lane, items, batches)
    for (home, root), batch in batches.items():
        if home != lane:
            continue
        left = [i for i in batch.ids if i not in recorded]
        if (batch.deposits > 0) != bool(left):
            yield "deposit", root, f"{batch.deposits} held for {len(left)} publications"
        if is_finished and batch.state is State.LOCKED:
            yield "unfinished", root, "a batch that is still LOCKED"
        if is_finished and batch.state is State.ABORTED and batch.deposits > 0:
            yield "unfinished", root, f"an aborted batch still holds {batch.deposits}"


def _twice(lane: Lane, items: Sequence[Item], batches: Batches) -> Iterable[Broken]:
    seen: Counter[tuple[int, Bytes32]] = Counter()
    for item in items:
        event = item.event
        if event.kind in (Kind.BATCH_LOCKED, Kind.BATCH_ANSWERED, Kind.BATCH_OUTCOME):
            seen[event.kind, event.subject] += 1
        if event.kind == Kind.BATCH_OUTCOME and (lane, event.subject) not in batches:
            yield "foreign-decision", event.subject, "BATCH_OUTCOME at a registry not its home"
    for (kind, root), times in seen.items():
        if times > 1:
            yield "decided-twice" if kind == Kind.BATCH_OUTCOME else "answered-twice", root, f"{times} times"
    alone = {event.subject for event in (item.event for item in items) if event.kind == Kind.OUTCOME}
    for (home, root), batch in batches.items():
        if home != lane or batch.state is not State.COMMITTED:
            continue
        for index, identifier in enumerate(batch.ids):
            if identifier in alone and not batch.taken >> index & 1:
                yield "decided-twice", Bytes32(identifier), f"alone, and in batch 0x{root.hex()}"
