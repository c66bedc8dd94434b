"""`RelayStore` on SQLite: one transaction for all changes of a step."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, assert_never

from caimi.ports.chain import FinalEvent
from caimi.ports.crash import CrashPoints
from caimi.ports.relay_store import (
    AddBatchItems,
    AddCall,
    AddEvents,
    AddPublication,
    BatchItem,
    CallRow,
    CallState,
    Change,
    DropEvents,
    FollowedEvent,
    MoveCursor,
    OpenWorkflow,
    PublicationRow,
    Purpose,
    PutCall,
    PutTransaction,
    RelayStep,
    TransactionRow,
    TransactionState,
    Watched,
)
from caimi.protocol.publication import State
from caimi.storage.sqlite_database import Durability, SqliteDatabase
from caimi.storage.sqlite_workflows import INDEXES, UNANSWERED, on_the_way, open_subjects, workflow
from caimi.types.primitives import Bytes32, PublicationId, Sequence, UnixSeconds
from caimi.types.records import Item, Lane
from caimi.wire.codec import decode, encode

__all__ = ["SqliteRelayStore"]

_VERSION: Final = 2
_LATEST: Final = (1 << 63) - 1
_SCHEMA: Final = """
CREATE TABLE calls (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, lane BLOB NOT NULL, call BLOB NOT NULL, purpose TEXT NOT NULL,
  state TEXT NOT NULL, attempts INTEGER NOT NULL, tx TEXT, height INTEGER, refusal TEXT, arguments TEXT NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL) STRICT;
CREATE INDEX calls_by_state ON calls (lane, state, id);
CREATE INDEX calls_by_transaction ON calls (lane, tx, id);
CREATE TABLE call_subjects (
  subject BLOB, id INTEGER, PRIMARY KEY (subject, id)) STRICT, WITHOUT ROWID;
CREATE INDEX subjects_by_call ON call_subjects (id);
CREATE TABLE transactions (
  id INTEGER PRIMARY KEY, lane BLOB NOT NULL, tx TEXT NOT NULL, slot INTEGER, raw BLOB NOT NULL, state TEXT NOT NULL,
  height INTEGER, cause TEXT NOT NULL, prepared INTEGER NOT NULL, sent INTEGER, included INTEGER, final INTEGER,
  UNIQUE (lane, tx)) STRICT;
CREATE INDEX transactions_by_state ON transactions (lane, state, id);
CREATE TABLE events (
  lane BLOB, sequence INTEGER, item BLOB NOT NULL, height INTEGER NOT NULL, block_hash BLOB NOT NULL,
  tx TEXT NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (lane, sequence)) STRICT, WITHOUT ROWID;
CREATE TABLE event_subjects (
  subject BLOB, lane BLOB, sequence INTEGER, PRIMARY KEY (subject, lane, sequence)) STRICT, WITHOUT ROWID;
CREATE TABLE cursors (
  source BLOB, destination BLOB, sequence INTEGER NOT NULL, PRIMARY KEY (source, destination)) STRICT, WITHOUT ROWID;
CREATE TABLE publications (
  number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, publication BLOB, signature BLOB, home BLOB NOT NULL,
  mirrors TEXT NOT NULL, deadline INTEGER, outcome INTEGER, accepted INTEGER NOT NULL, capsule BLOB,
  watched TEXT NOT NULL) STRICT;
CREATE INDEX publications_undecided ON publications (home, number) WHERE outcome IS NULL;
CREATE TABLE batch_items (
  id BLOB PRIMARY KEY, root BLOB NOT NULL, place INTEGER NOT NULL, publication BLOB NOT NULL,
  signature BLOB NOT NULL, capsule BLOB) STRICT;
CREATE INDEX batch_items_by_root ON batch_items (root, place)
"""
_CALL: Final = "id, key, lane, call, purpose, state, attempts, tx, height, refusal, arguments, created, updated"
_TRANSACTION: Final = "lane, tx, slot, raw, state, height, cause, prepared, sent, included, final"
_EVENT: Final = "e.item, e.height, e.block_hash, e.tx, e.time"
_PUBLICATION: Final = "id, publication, signature, home, mirrors, deadline, outcome, accepted, capsule, watched"
_BATCH_ITEM: Final = "id, root, place, publication, signature, capsule"


class SqliteRelayStore:
    """All that one relay knows, in one file."""

    def __init__(self, path: str, *, crash: CrashPoints, durability: Durability = Durability.PROCESS_CRASH) -> None:
        """Open or create the file.

        A relay that lost its last commits does again what it did: every call is harmless when repeated.

        Raises:
            StoreInUse, StoreVersionUnknown: See `caimi.storage.sqlite_database`.
        """
        self._database = SqliteDatabase(
            path, schema=_SCHEMA, version=_VERSION, durability=durability, crash=crash, additions=INDEXES
        )
        self._listener: Callable[[tuple[Change, ...]], None] | None = None

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    # --- writing

    def write(self, step: RelayStep, *changes: Change) -> None:
        """See `RelayStore`."""
        if not changes:
            return
        with self._database.step(step) as cursor:
            for change in changes:
                _apply(cursor, change)
        if self._listener is not None:
            self._listener(changes)

    def listen(self, listener: Callable[[tuple[Change, ...]], None]) -> None:
        """See `RelayStore`."""
        self._listener = listener

    # --- calls

    def call(self, key: str) -> CallRow | None:
        """See `RelayStore`."""
        rows = self._calls("WHERE key = ?", key)
        return rows[0] if rows else None

    def calls(self, lane: Lane, state: CallState, limit: int) -> tuple[CallRow, ...]:
        """See `RelayStore`."""
        return self._calls("WHERE lane = ? AND state = ? ORDER BY id LIMIT ?", _lane_bytes(lane), state.value, limit)

    def calls_in(self, lane: Lane, transaction: str) -> tuple[CallRow, ...]:
        """See `RelayStore`."""
        return self._calls("WHERE lane = ? AND tx = ? ORDER BY id", _lane_bytes(lane), transaction)

    def calls_about(self, subject: Bytes32) -> tuple[CallRow, ...]:
        """See `RelayStore`."""
        return self._calls("WHERE id IN (SELECT id FROM call_subjects WHERE subject = ?) ORDER BY id", subject)

    def call_counts(self, lane: Lane) -> Mapping[CallState, int]:
        """See `RelayStore`."""
        rows: list[Any] = self._database.rows(
            "SELECT state, count(*) FROM calls WHERE lane = ? GROUP BY state", _lane_bytes(lane)
        )
        return {CallState(state): count for state, count in rows}

    def _calls(self, where: str, *values: object) -> tuple[CallRow, ...]:
        rows: list[Any] = self._database.rows(f"SELECT {_CALL} FROM calls {where}", *values)
        return tuple(_call_row(row, self._subjects(row[0])) for row in rows)

    def _subjects(self, call_id: int) -> tuple[Bytes32, ...]:
        rows: list[Any] = self._database.rows(
            "SELECT subject FROM call_subjects WHERE id = ? ORDER BY subject", call_id
        )
        return tuple(Bytes32(row[0]) for row in rows)

    # --- transactions

    def transaction(self, lane: Lane, transaction: str) -> TransactionRow | None:
        """See `RelayStore`."""
        row = self._database.row(
            f"SELECT {_TRANSACTION} FROM transactions WHERE lane = ? AND tx = ?", _lane_bytes(lane), transaction
        )
        return None if row is None else _transaction_row(row)

    def transactions(self, lane: Lane, states: Collection[TransactionState]) -> tuple[TransactionRow, ...]:
        """See `RelayStore`."""
        places = ", ".join("?" * len(states))
        rows = self._database.rows(
            f"SELECT {_TRANSACTION} FROM transactions WHERE lane = ? AND state IN ({places}) ORDER BY id",
            _lane_bytes(lane),
            *(state.value for state in states),
        )
        return tuple(_transaction_row(row) for row in rows)

    # --- events and cursors

    def last_followed(self, lane: Lane) -> Sequence:
        """See `RelayStore`."""
        row: Any = self._database.row("SELECT max(sequence) FROM events WHERE lane = ?", _lane_bytes(lane))
        return Sequence(row[0] or 0)

    def followed(self, lane: Lane, first: Sequence, limit: int) -> tuple[FinalEvent, ...]:
        """See `RelayStore`."""
        rows = self._database.rows(
            f"SELECT {_EVENT} FROM events e WHERE lane = ? AND sequence >= ? ORDER BY sequence LIMIT ?",
            _lane_bytes(lane),
            first,
            limit,
        )
        return tuple(_event(row) for row in rows)

    def followed_about(self, subject: Bytes32) -> tuple[FollowedEvent, ...]:
        """See `RelayStore`."""
        rows: list[Any] = self._database.rows(
            f"SELECT {_EVENT}, e.lane FROM event_subjects s JOIN events e USING (lane, sequence)"
            " WHERE s.subject = ? ORDER BY e.time, e.lane, e.sequence",
            subject,
        )
        return tuple(FollowedEvent(lane=_lane(row[5]), event=_event(row[:5])) for row in rows)

    def first_above(self, lane: Lane, height: int) -> Sequence | None:
        """See `RelayStore`."""
        row: Any = self._database.row(
            "SELECT min(sequence) FROM events WHERE lane = ? AND height > ?", _lane_bytes(lane), min(height, _LATEST)
        )
        return Sequence(row[0]) if row and row[0] is not None else None

    def done_above(self, lane: Lane, height: int) -> tuple[CallRow, ...]:
        """See `RelayStore`."""
        values = (_lane_bytes(lane), CallState.DONE.value, min(height, _LATEST))
        return self._calls("WHERE lane = ? AND state = ? AND height > ? ORDER BY id", *values)

    def cursor(self, source: Lane, destination: Lane) -> Sequence:
        """See `RelayStore`."""
        row: Any = self._database.row(
            "SELECT sequence FROM cursors WHERE source = ? AND destination = ?",
            _lane_bytes(source),
            _lane_bytes(destination),
        )
        return Sequence(row[0] if row else 0)

    # --- publications

    def publication(self, identifier: PublicationId) -> PublicationRow | None:
        """See `RelayStore`."""
        rows = self._publications("WHERE id = ?", identifier)
        return rows[0] if rows else None

    def publications(self, limit: int) -> tuple[PublicationRow, ...]:
        """See `RelayStore`."""
        return self._publications("ORDER BY number DESC LIMIT ?", limit)

    def undecided(self, home: Lane) -> tuple[PublicationRow, ...]:
        """See `RelayStore`."""
        return self._publications("WHERE home = ? AND outcome IS NULL ORDER BY number", _lane_bytes(home))

    def batch_item(self, identifier: PublicationId) -> BatchItem | None:
        """See `RelayStore`."""
        items = self._batch_items("WHERE id = ?", identifier)
        return items[0] if items else None

    def batch_items(self, root: Bytes32) -> tuple[BatchItem, ...]:
        """See `RelayStore`."""
        return self._batch_items("WHERE root = ? ORDER BY place", root)

    def _batch_items(self, where: str, *values: object) -> tuple[BatchItem, ...]:
        rows: list[Any] = self._database.rows(f"SELECT {_BATCH_ITEM} FROM batch_items {where}", *values)
        return tuple(
            BatchItem(id=i, root=root, index=place, publication=publication, signature=signature, capsule=capsule)
            for i, root, place, publication, signature, capsule in rows
        )

    # --- workflows

    def open_subjects(self, lane: Lane, limit: int) -> tuple[Bytes32, ...]:
        """See `RelayStore`."""
        return open_subjects(self._database, _lane_bytes(lane), limit)

    def unanswered(self, lane: Lane, limit: int) -> tuple[CallRow, ...]:
        """See `RelayStore`."""
        return self._calls(f"WHERE {UNANSWERED} ORDER BY id", _lane_bytes(lane), limit)

    def workflow(self, subject: Bytes32) -> OpenWorkflow | None:
        """See `RelayStore`."""
        return workflow(self._database, subject)

    def on_the_way(self, destination: Lane, key_prefix: str) -> tuple[int, UnixSeconds | None]:
        """See `RelayStore`."""
        return on_the_way(self._database, _lane_bytes(destination), key_prefix)

    def _publications(self, where: str, *values: object) -> tuple[PublicationRow, ...]:
        rows = self._database.rows(f"SELECT {_PUBLICATION} FROM publications {where}", *values)
        return tuple(_publication_row(row) for row in rows)


# --- one change


def _apply(cursor: sqlite3.Cursor, change: Change) -> None:
    match change:
        case AddCall(row=row):
            _add_call(cursor, row)
        case PutCall(row=row):
            cursor.execute(
                "UPDATE calls SET call = ?, state = ?, attempts = ?, tx = ?, height = ?, refusal = ?, arguments = ?,"
                " updated = ? WHERE key = ?",
                (
                    *(row.call, row.state.value, row.attempts, row.transaction, row.height, row.refusal),
                    *(row.values, row.updated, row.key),
                ),
            )
        case PutTransaction(row=row):
            _put_transaction(cursor, row)
        case AddEvents():
            _add_events(cursor, change)
        case DropEvents(lane=lane, first=first, reopened=reopened):
            key = _lane_bytes(lane)
            cursor.executemany(
                "UPDATE publications SET outcome = NULL WHERE id = ? AND home = ?",
                [(identifier, key) for identifier in reopened],
            )
            cursor.execute("DELETE FROM events WHERE lane = ? AND sequence >= ?", (key, first))
            cursor.execute("DELETE FROM event_subjects WHERE lane = ? AND sequence >= ?", (key, first))
            cursor.execute("UPDATE cursors SET sequence = min(sequence, ?) WHERE source = ?", (first - 1, key))
        case MoveCursor(source=source, destination=destination, sequence=sequence):
            cursor.execute(
                "INSERT INTO cursors VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET sequence = excluded.sequence",
                (_lane_bytes(source), _lane_bytes(destination), sequence),
            )
        case AddPublication(row=row):
            cursor.execute(
                f"INSERT INTO publications ({_PUBLICATION}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE"
                " SET publication = coalesce(publication, excluded.publication),"
                " signature = coalesce(signature, excluded.signature),"
                " deadline = coalesce(deadline, excluded.deadline),"
                " outcome = coalesce(outcome, excluded.outcome),"
                " capsule = coalesce(capsule, excluded.capsule)",
                _publication_values(row),
            )
        case AddBatchItems(items=items):
            cursor.executemany(
                f"INSERT INTO batch_items ({_BATCH_ITEM}) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET capsule = coalesce(capsule, excluded.capsule)",
                [(i.id, i.root, i.index, i.publication, i.signature, i.capsule) for i in items],
            )
        case _:
            assert_never(change)


def _add_call(cursor: sqlite3.Cursor, row: CallRow) -> None:
    values = (row.key, _lane_bytes(row.lane), row.call, row.purpose.value, row.state.value, row.attempts)
    values += (row.transaction, row.height, row.refusal, row.values, row.created, row.updated)
    cursor.execute(
        f"INSERT INTO calls ({_CALL}) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
        values,
    )
    if cursor.rowcount == 1:
        call_id = cursor.lastrowid
        cursor.executemany("INSERT OR IGNORE INTO call_subjects VALUES (?, ?)", [(s, call_id) for s in row.subjects])


def _put_transaction(cursor: sqlite3.Cursor, row: TransactionRow) -> None:
    values = (_lane_bytes(row.lane), row.transaction, row.slot, row.raw, row.state.value, row.height, row.cause)
    values += (row.prepared, row.sent, row.included, row.final)
    cursor.execute(
        f"INSERT INTO transactions ({_TRANSACTION}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (lane, tx)"
        " DO UPDATE SET state = excluded.state, height = excluded.height, cause = excluded.cause, sent = excluded.sent,"
        " included = excluded.included, final = excluded.final",
        values,
    )


def _add_events(cursor: sqlite3.Cursor, change: AddEvents) -> None:
    lane = _lane_bytes(change.lane)
    for event, subjects in zip(change.events, change.subjects, strict=True):
        sequence = event.item.sequence
        values = (lane, sequence, encode(event.item), event.height, event.block_hash, event.transaction, event.time)
        cursor.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        cursor.executemany(
            "INSERT OR IGNORE INTO event_subjects VALUES (?, ?, ?)", [(s, lane, sequence) for s in subjects]
        )


# --- rows


def _lane_bytes(lane: Lane) -> bytes:
    return lane.chain + lane.registry


def _lane(data: bytes) -> Lane:
    return Lane(chain=Bytes32(data[:32]), registry=Bytes32(data[32:]))


def _call_row(row: Any, subjects: tuple[Bytes32, ...]) -> CallRow:
    _, key, lane, call, purpose, state, attempts, transaction, height, refusal, arguments, created, updated = row
    return CallRow(
        key=key,
        lane=_lane(lane),
        call=call,
        purpose=Purpose(purpose),
        subjects=subjects,
        state=CallState(state),
        attempts=attempts,
        transaction=transaction,
        height=height,
        refusal=refusal,
        values=arguments,
        created=UnixSeconds(created),
        updated=UnixSeconds(updated),
    )


def _transaction_row(row: Any) -> TransactionRow:
    lane, transaction, slot, raw, state, height, cause, prepared, sent, included, final = row
    return TransactionRow(
        lane=_lane(lane),
        transaction=transaction,
        slot=slot,
        raw=raw,
        state=TransactionState(state),
        height=height,
        cause=cause,
        prepared=prepared,
        sent=sent,
        included=included,
        final=final,
    )


def _event(row: Any) -> FinalEvent:
    item, height, block_hash, transaction, time = row
    return FinalEvent(item=decode(Item, item), height=height, block_hash=block_hash, transaction=transaction, time=time)


def _publication_row(row: Any) -> PublicationRow:
    identifier, publication, signature, home, mirrors, deadline, outcome, accepted, capsule, watched = row
    return PublicationRow(
        id=identifier,
        publication=publication,
        signature=signature,
        home=_lane(home),
        mirrors=tuple(_lane(bytes.fromhex(mirror)) for mirror in json.loads(mirrors)),
        deadline=deadline,
        outcome=None if outcome is None else State(outcome),
        accepted=accepted,
        capsule=capsule,
        watched=Watched(watched),
    )


def _publication_values(row: PublicationRow) -> tuple[object, ...]:
    mirrors = json.dumps([_lane_bytes(mirror).hex() for mirror in row.mirrors])
    outcome = None if row.outcome is None else row.outcome.value
    # A deadline is 64 bits wide and SQLite's integers are 63: beyond those no clock gets, so that they are one.
    deadline = None if row.deadline is None else min(row.deadline, _LATEST)
    home = _lane_bytes(row.home)
    record = (row.id, row.publication, row.signature, home, mirrors, deadline, outcome, row.accepted, row.capsule)
    return (*record, row.watched.value)
