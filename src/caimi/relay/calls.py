"""Rows of the outbox: how a call is keyed, made and changed, and the transactions that carry it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from caimi.ports.chain import PreparedCall
from caimi.ports.relay_store import AddCall, CallRow, CallState, Purpose, PutCall, TransactionRow, TransactionState
from caimi.protocol.publication import Role
from caimi.types.errors import BadBody, BatchItem, CaimiError, Refusal, Retry
from caimi.types.primitives import Bytes32, Generation, PublicationId, UnixSeconds
from caimi.types.primitives import Sequence as EventSequence
from caimi.types.records import Certificate, Event, Item, Kind, Lane
from caimi.types.refusals import BY_CODE, BY_NAME
from caimi.wire.functions import decode_body, decode_call, encode_call
from caimi.wire.refusal_json import refusal_to_json

__all__ = [
    "Failure",
    "abort_key",
    "answer_key",
    "brought_again",
    "carried_run",
    "carry_key",
    "carry_prefix",
    "changed",
    "concerns",
    "failed",
    "gives_up",
    "is_for_good",
    "lock_key",
    "new_call",
    "new_transaction",
    "other_key",
    "packed",
    "prepared_call",
    "request_key",
    "same_slot",
    "subjects_in",
    "subjects_of",
    "take_out_key",
]

_CALL_LIMIT: Final = 1 << 23


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt failed: the error's name and its values."""

    name: str
    values: Mapping[str, str | int]

    @classmethod
    def of(cls, error: CaimiError) -> Failure:
        """What an error says."""
        values = refusal_to_json(error) if isinstance(error, Refusal) else {"cause": str(error)}
        return cls(name=type(error).__name__, values=values)


def lock_key(identifier: PublicationId, lane: str) -> str:
    """Key of a publication's lock on a lane."""
    return f"lock/{identifier.hex()}/{lane}"


def abort_key(identifier: PublicationId) -> str:
    """Key of a publication's abort at its home."""
    return f"abort/{identifier.hex()}"


def take_out_key(identifier: PublicationId, lane: str) -> str:
    """Key of taking a publication out of its batch on a lane."""
    return f"take-out/{identifier.hex()}/{lane}"


def carry_key(source: str, destination: str, first: EventSequence, last: EventSequence, generation: Generation) -> str:
    """Key of a run's application. In another generation the same numbers are other events."""
    life = "" if generation == 1 else f"g{generation}/"
    return f"{carry_prefix(source, destination)}{life}{first}-{last}"


def carry_prefix(source: str, destination: str) -> str:
    """How the keys of all runs between two lanes begin."""
    return f"carry/{source}/{destination}/"


def request_key(request: Bytes32) -> str:
    """Key of an inference request."""
    return f"request/{request.hex()}"


def answer_key(request: Bytes32) -> str:
    """Key of a request's answer."""
    return f"answer/{request.hex()}"


def other_key(lane: str, digest: Bytes32) -> str:
    """Key of any other call, by the hash of its bytes."""
    return f"call/{lane}/{digest.hex()}"


def new_call(
    key: str, lane: Lane, call: bytes, *, purpose: Purpose, subjects: tuple[Bytes32, ...], now: UnixSeconds
) -> CallRow:
    """A call that waits to be sent."""
    return CallRow(
        key=key,
        lane=lane,
        call=call,
        purpose=purpose,
        subjects=tuple(sorted(set(subjects))),
        state=CallState.QUEUED,
        attempts=0,
        transaction=None,
        height=None,
        refusal=None,
        values="",
        created=now,
        updated=now,
    )


def changed(row: CallRow, state: CallState, now: UnixSeconds, **fields: Any) -> CallRow:
    """The row in another state."""
    return dataclasses.replace(row, state=state, updated=now, **fields)


def failed(row: CallRow, state: CallState, cause: Failure, now: UnixSeconds) -> CallRow:
    """The row after an attempt that failed, without its transaction."""
    return dataclasses.replace(
        row,
        state=state,
        attempts=row.attempts + 1,
        transaction=None,
        refusal=cause.name,
        values=json.dumps(cause.values),
        updated=now,
    )


def brought_again(before: CallRow | None, row: CallRow) -> AddCall | PutCall:
    """What becomes of a call that a user brings, given the one of that key: what was given up is tried anew.

    So is another call of the same key after the first was refused, or a stranger's bogus answer would bar the true one.
    """
    if before is None or before.state is not CallState.REFUSED:
        return AddCall(row=row)
    refusal = BY_NAME.get(before.refusal or "")
    is_for_good = refusal is not None and refusal.retry is Retry.NEVER
    return AddCall(row=row) if is_for_good and before.call == row.call else PutCall(row=row)


def is_for_good(error: CaimiError) -> bool:
    """Whether the same call will be refused for ever: of a batch, because of the item that is to blame."""
    if isinstance(error, BatchItem):
        item = BY_CODE.get(int(error.values[1]))
        return item is not None and item.retry is Retry.NEVER
    return error.retry is Retry.NEVER


def gives_up(row: CallRow, max_attempts: int) -> bool:
    """Whether the attempt that just failed was the last one."""
    return not row.purpose.never_given_up and row.attempts + 1 >= max_attempts


def packed(rows: Sequence[CallRow]) -> bytes:
    """One call that does what all rows do, in order."""
    return rows[0].call if len(rows) == 1 else encode_call("multicall", tuple(row.call for row in rows))


def new_transaction(lane: Lane, prepared: PreparedCall, now: UnixSeconds) -> TransactionRow:
    """A signed transaction that was not sent yet."""
    return TransactionRow(
        lane=lane,
        transaction=prepared.transaction,
        slot=prepared.slot,
        raw=prepared.raw,
        state=TransactionState.PREPARED,
        height=None,
        cause="",
        prepared=now,
        sent=None,
        included=None,
        final=None,
    )


def prepared_call(row: TransactionRow) -> PreparedCall:
    """The bytes of a transaction."""
    return PreparedCall(transaction=row.transaction, raw=row.raw, slot=row.slot)


def same_slot(rows: Iterable[TransactionRow]) -> list[list[TransactionRow]]:
    """Live transactions of one lane by slot, in the given order; one without a slot stands alone.

    Those of one slot carry the same calls at different prices: the ledger takes one of them at most.
    """
    groups: dict[int | str, list[TransactionRow]] = {}
    for row in rows:
        groups.setdefault(row.transaction if row.slot is None else row.slot, []).append(row)
    return list(groups.values())


def subjects_in(rows: Sequence[CallRow]) -> tuple[Bytes32, ...]:
    """What the calls serve, each once."""
    return tuple(dict.fromkeys(subject for row in rows for subject in row.subjects))


def carried_run(row: CallRow) -> tuple[Certificate, tuple[Item, ...], tuple[Bytes32, ...]]:
    """Certificate, items and multiproof of a CARRY row."""
    _, arguments = decode_call(row.call, limit=_CALL_LIMIT)
    return arguments[0], arguments[1], arguments[2]


def concerns(event: Event, destination: Lane) -> bool:
    """Whether carrying the event to `destination` can do anything there (spec 20 §4).

    Kinds and schemas that this version does not know are carried.
    """
    if event.destinations and destination not in event.destinations:
        return False
    if event.schema != 1:
        return True
    if event.kind == Kind.LOCKED:
        with suppress(BadBody):
            return decode_body(Kind.LOCKED, event.body)[0] != Role.HOME
    return event.kind not in (Kind.REQUESTED, Kind.BATCH_LOCKED)


def subjects_of(event: Event) -> tuple[Bytes32, ...]:
    """What an event is about: the request if there is one, else its subject."""
    if event.schema == 1 and event.kind in (Kind.REQUESTED, Kind.ANSWERED):
        with suppress(BadBody):
            return (decode_body(Kind(event.kind), event.body)[0],)
    return (event.subject,)
