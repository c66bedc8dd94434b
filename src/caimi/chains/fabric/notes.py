"""What the registry's chaincode tells in a transaction's single event, as JSON (spec 30 §6, 37 §6)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from caimi.chains.fabric.port_errors import BrokenLedger
from caimi.protocol.batches import MAX_BATCH
from caimi.protocol.calls import MAX_CALLS
from caimi.types.json_text import load_json
from caimi.types.primitives import Bytes32, Epoch, PublicationId
from caimi.types.records import Event, Lane

__all__ = ["EVENT_NAME", "LoggedBatch", "LoggedPost", "Notes", "read_notes"]

T = TypeVar("T")

EVENT_NAME: Final = "caimi"
"""Name of the chaincode event."""
_KEYS: Final = frozenset({"events", "applied", "leases", "partials", "posts", "batches"})
_EVENT_KEYS: Final = frozenset({"schema", "kind", "destinations", "subject", "body"})
_POST_KEYS: Final = frozenset({"epoch", "phase", "index"})
_BATCH_KEYS: Final = frozenset({"root", "ids"})
_MAX_EVENTS: Final = 100_000
_MAX_DESTINATIONS: Final = 64
_MAX_BODY: Final = 1_024
_HEX: Final = re.compile(r"0x((?:[0-9a-f]{2})*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedBatch:
    """The ids of a batch that a transaction locked. Whether they make the root is for whoever uses them to check."""

    root: Bytes32
    identifiers: tuple[PublicationId, ...]
    """1 to 256, by index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedPost:
    """That a transaction put a message of a key ceremony on the board."""

    epoch: Epoch
    phase: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What readers of the ledger use of one transaction."""

    events: tuple[Event, ...]
    """Sequenced by their place among all events of the registry."""
    leases: tuple[Bytes32, ...]
    """Leases that it opened."""
    batches: tuple[LoggedBatch, ...]
    """Batches that it locked, at most 1,000: no multicall holds more calls."""
    posts: tuple[LoggedPost, ...]
    """Messages that it put on the board, at most 1,000, in their order."""


def read_notes(payload: bytes) -> Notes:
    """Read an event's payload.

    Raises:
        BrokenLedger: It is not what the chaincode writes: other keys, types, lengths or more than the limits.
    """
    try:
        decoded: object = load_json(payload, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise BrokenLedger("a registry event is no JSON object") from error
    fields = _object(decoded)
    if not fields or not fields.keys() <= _KEYS:
        raise BrokenLedger(f"a registry event with the fields {sorted(fields)}")
    return Notes(
        events=_each(fields.get("events", []), _event),
        leases=_each(fields.get("leases", []), _bytes32),
        batches=_each(fields.get("batches", []), _batch, limit=MAX_CALLS),
        posts=_each(fields.get("posts", []), _post, limit=MAX_CALLS),
    )


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a repeated key")
    return fields


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BrokenLedger("a registry event holds something else than an object")
    return cast("dict[str, Any]", value)


def _each(value: object, read: Callable[[Any], T], *, limit: int = _MAX_EVENTS) -> tuple[T, ...]:
    if not isinstance(value, list) or len(cast("list[Any]", value)) > limit:
        raise BrokenLedger(f"a registry event holds no list of at most {limit}")
    return tuple(read(entry) for entry in cast("list[Any]", value))


def _event(value: object) -> Event:
    fields = _object(value)
    if fields.keys() != _EVENT_KEYS:
        raise BrokenLedger(f"a sequenced event with the fields {sorted(fields)}")
    body = _hex(fields["body"])
    if len(body) > _MAX_BODY:
        raise BrokenLedger(f"a sequenced event with a body of {len(body)} bytes")
    return Event(
        schema=_u16(fields["schema"]),
        kind=_u16(fields["kind"]),
        destinations=_each(fields["destinations"], _lane, limit=_MAX_DESTINATIONS),
        subject=_bytes32(fields["subject"]),
        body=body,
    )


def _batch(value: object) -> LoggedBatch:
    fields = _object(value)
    if fields.keys() != _BATCH_KEYS:
        raise BrokenLedger(f"a batch with the fields {sorted(fields)}")
    identifiers = _each(fields["ids"], _bytes32, limit=MAX_BATCH)
    if not identifiers:
        raise BrokenLedger("a batch without ids")
    return LoggedBatch(root=_bytes32(fields["root"]), identifiers=tuple(PublicationId(i) for i in identifiers))


def _post(value: object) -> LoggedPost:
    fields = _object(value)
    if fields.keys() != _POST_KEYS:
        raise BrokenLedger(f"a message on the board with the fields {sorted(fields)}")
    return LoggedPost(
        epoch=Epoch(_unsigned(fields["epoch"], 64)),
        phase=_unsigned(fields["phase"], 8),
        index=_unsigned(fields["index"], 8),
    )


def _lane(value: object) -> Lane:
    words = _each(value, _bytes32, limit=2)
    if len(words) != 2:
        raise BrokenLedger("a destination is no pair")
    return Lane(chain=words[0], registry=words[1])


def _u16(value: object) -> int:
    return _unsigned(value, 16)


def _unsigned(value: object, bits: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value >> bits:
        raise BrokenLedger(f"something else than a number of {bits} bits")
    return value


def _bytes32(value: object) -> Bytes32:
    data = _hex(value)
    if len(data) != 32:
        raise BrokenLedger(f"{len(data)} bytes where 32 were due")
    return Bytes32(data)


def _hex(value: object) -> bytes:
    found = _HEX.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BrokenLedger("something else than lower-case hexadecimal bytes")
    return bytes.fromhex(found[1])
