"""`HostStore` on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from caimi.ports.crash import CrashPoints
from caimi.ports.host_store import (
    AcceptedAnswer,
    HostStep,
    Mark,
    RequestRow,
    RequestState,
    ShelfRow,
    SignedAnswer,
)
from caimi.protocol.registry_state import GovernedLane
from caimi.storage.sqlite_database import Durability, SqliteDatabase
from caimi.types.primitives import Address, Bytes32, Generation, UnixSeconds
from caimi.types.primitives import Sequence as EventSequence
from caimi.types.records import Cid, Lane

__all__ = ["SqliteHostStore"]

_VERSION: Final = 3
_SCHEMA: Final = """
CREATE TABLE followed (chain BLOB, registry BLOB, sequence INTEGER, height INTEGER NOT NULL,
  block_hash BLOB NOT NULL, PRIMARY KEY (chain, registry, sequence)) STRICT, WITHOUT ROWID;
CREATE TABLE governed (chain BLOB, registry BLOB, version INTEGER NOT NULL, generation INTEGER NOT NULL,
  height INTEGER NOT NULL, block_hash BLOB NOT NULL, dropped INTEGER NOT NULL, PRIMARY KEY (chain, registry))
  STRICT, WITHOUT ROWID;
CREATE TABLE requests (
  number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, chain BLOB NOT NULL, registry BLOB NOT NULL,
  publication BLOB NOT NULL, consumer BLOB NOT NULL, input_codec INTEGER NOT NULL, input BLOB NOT NULL,
  input_commitment BLOB NOT NULL, client_key BLOB NOT NULL, deadline INTEGER NOT NULL, seen INTEGER NOT NULL,
  height INTEGER NOT NULL, settled INTEGER,
  state TEXT NOT NULL, reason TEXT NOT NULL, text TEXT NOT NULL, sent INTEGER, answer BLOB, answer_signature BLOB,
  receipt BLOB, receipt_signature BLOB, receipt_hash BLOB, host_key BLOB, operator_signature BLOB,
  output_codec INTEGER, output BLOB) STRICT;
CREATE INDEX requests_by_state ON requests (state, number)
"""
_SHELF: Final = (
    "CREATE TABLE IF NOT EXISTS shelf (publication BLOB PRIMARY KEY, opening BLOB NOT NULL, lease_end INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID"
)
_COLUMNS: Final = (
    "id, chain, registry, publication, consumer, input_codec, input, input_commitment, client_key, deadline, seen,"
    " height, state, reason, text, sent, answer, answer_signature, receipt, receipt_signature, receipt_hash, host_key,"
    " operator_signature, output_codec, output"
)
_PLACES: Final = ", ".join("?" * (_COLUMNS.count(",") + 1))
_OPEN: Final = tuple(state.value for state in RequestState if not state.is_settled)
_IS_OPEN: Final = f"state IN ({', '.join(repr(state) for state in _OPEN)})"
_LATEST: Final = 2**63 - 1
_OF_LANE: Final = "chain = ? AND registry = ?"
# Ends of pages to go back to when a lane is resumed; before them it is followed again from its first event.
_MARKS: Final = 4_096


class SqliteHostStore:
    """The requests of one host, in one file."""

    def __init__(self, path: str, *, crash: CrashPoints) -> None:
        """Open or create the file.

        Raises:
            StoreInUse, StoreVersionUnknown: See `caimi.storage.sqlite_database`.
        """
        self._database = SqliteDatabase(
            path,
            schema=_SCHEMA,
            version=_VERSION,
            durability=Durability.POWER_LOSS,
            crash=crash,
            additions=(_SHELF,),
        )

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def marks(self, lane: Lane, limit: int) -> tuple[Mark, ...]:
        """See `HostStore`."""
        query = f"SELECT sequence, height, block_hash FROM followed WHERE {_OF_LANE} ORDER BY sequence DESC LIMIT ?"
        rows: list[Any] = self._database.rows(query, lane.chain, lane.registry, limit)
        return tuple(Mark(sequence=EventSequence(s), height=h, block_hash=Bytes32(b)) for s, h, b in rows)

    def governed(self, lane: Lane) -> GovernedLane:
        """See `HostStore`."""
        query = f"SELECT version, generation, height, block_hash, dropped FROM governed WHERE {_OF_LANE}"
        row: Any = self._database.row(query, lane.chain, lane.registry)
        if row is None:
            return GovernedLane()
        version, generation, height, block_hash, dropped = row
        return GovernedLane(
            version=version,
            generation=Generation(generation),
            height=height,
            block_hash=Bytes32(block_hash),
            dropped=bool(dropped),
        )

    def follow(
        self,
        step: HostStep,
        lane: Lane,
        upto: Mark,
        *,
        requests: Sequence[RequestRow],
        answered: Sequence[AcceptedAnswer],
        decisions: Sequence[tuple[Lane, GovernedLane]],
    ) -> None:
        """See `HostStore`."""
        with self._database.step(step) as cursor:
            _mark(cursor, lane, upto)
            for row in requests:
                # A known one may have come into another block.
                add = f"INSERT INTO requests ({_COLUMNS}) VALUES ({_PLACES})"
                cursor.execute(f"{add} ON CONFLICT (id) DO UPDATE SET height = excluded.height", _values(row))
            for answer in answered:
                _settle(cursor, answer)
            for governed, decided in decisions:
                _govern(cursor, governed, decided)

    def rewind(self, step: HostStep, lane: Lane, height: int) -> None:
        """See `HostStore`."""
        with self._database.step(step) as cursor:
            _rewind(cursor, (lane.chain, lane.registry), height)

    def request(self, identifier: Bytes32) -> RequestRow | None:
        """See `HostStore`."""
        row = self._database.row(f"SELECT {_COLUMNS} FROM requests WHERE id = ?", identifier)
        return None if row is None else _row(row)

    def requests(self, state: RequestState, limit: int) -> tuple[RequestRow, ...]:
        """See `HostStore`."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM requests WHERE state = ? ORDER BY number LIMIT ?", state.value, limit
        )
        return tuple(_row(row) for row in rows)

    def put(self, step: HostStep, row: RequestRow) -> None:
        """See `HostStore`."""
        with self._database.step(step) as cursor:
            cursor.execute(
                f"UPDATE requests SET ({_COLUMNS}) = ({_PLACES}) WHERE id = ? AND {_IS_OPEN}", (*_values(row), row.id)
            )

    def counts(self) -> Mapping[RequestState, int]:
        """See `HostStore`."""
        rows: list[Any] = self._database.rows("SELECT state, count(*) FROM requests GROUP BY state")
        return {RequestState(state): count for state, count in rows}

    def shelf(self) -> tuple[ShelfRow, ...]:
        """See `HostStore`."""
        rows: list[Any] = self._database.rows("SELECT publication, opening, lease_end FROM shelf")
        return tuple(
            ShelfRow(publication=Bytes32(publication), opening=Bytes32(opening), lease_end=UnixSeconds(end))
            for publication, opening, end in rows
        )

    def put_shelf(self, rows: Sequence[ShelfRow]) -> None:
        """See `HostStore`."""
        with self._database.step(HostStep.SHELVED) as cursor:
            cursor.execute("DELETE FROM shelf")
            cursor.executemany(
                "INSERT INTO shelf VALUES (?, ?, ?)", [(row.publication, row.opening, row.lease_end) for row in rows]
            )


def _mark(cursor: sqlite3.Cursor, lane: Lane, upto: Mark) -> None:
    values = (lane.chain, lane.registry, upto.sequence, upto.height, upto.block_hash)
    cursor.execute("INSERT OR REPLACE INTO followed VALUES (?, ?, ?, ?, ?)", values)
    oldest = f"SELECT sequence FROM followed WHERE {_OF_LANE} ORDER BY sequence DESC LIMIT 1 OFFSET {_MARKS}"
    place = (lane.chain, lane.registry)
    cursor.execute(f"DELETE FROM followed WHERE {_OF_LANE} AND sequence <= ({oldest})", (*place, *place))


def _settle(cursor: sqlite3.Cursor, answer: AcceptedAnswer) -> None:
    outcome = "CASE WHEN receipt_hash = ? THEN ? ELSE ? END"
    cursor.execute(
        f"UPDATE requests SET state = {outcome}, settled = ? WHERE id = ? AND {_IS_OPEN}",
        (
            answer.receipt_hash,
            RequestState.ANSWERED.value,
            RequestState.ELSEWHERE.value,
            answer.height,
            answer.request,
        ),
    )


def _govern(cursor: sqlite3.Cursor, lane: Lane, decided: GovernedLane) -> None:
    place = (lane.chain, lane.registry)
    known: Any = cursor.execute(f"SELECT version FROM governed WHERE {_OF_LANE}", place).fetchone()
    version, height = min(decided.version, _LATEST), min(decided.height, _LATEST)
    if known is not None and known[0] >= version:
        return
    values = (*place, version, min(decided.generation, _LATEST), height, decided.block_hash, int(decided.dropped))
    cursor.execute("INSERT OR REPLACE INTO governed VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    if not decided.dropped:
        _rewind(cursor, place, height)


def _rewind(cursor: sqlite3.Cursor, place: tuple[bytes, bytes], height: int) -> None:
    # What was signed stays: a request is answered once, and its answer repeated as it is.
    cursor.execute(f"DELETE FROM followed WHERE {_OF_LANE} AND height > ?", (*place, height))
    unsigned = f"answer IS NULL AND ({_IS_OPEN} OR settled IS NOT NULL)"
    cursor.execute(f"DELETE FROM requests WHERE {_OF_LANE} AND height > ? AND {unsigned}", (*place, height))
    reopened = f"CASE WHEN answer IS NULL THEN '{RequestState.SEEN.value}' ELSE '{RequestState.SIGNED.value}' END"
    cursor.execute(
        f"UPDATE requests SET state = {reopened}, settled = NULL WHERE {_OF_LANE} AND settled > ?", (*place, height)
    )


def _values(row: RequestRow) -> tuple[object, ...]:
    signed = row.signed
    # A deadline is 64 bits wide and SQLite's integers are 63: beyond those no clock gets, so that they are one.
    values: tuple[object, ...] = (row.id, row.lane.chain, row.lane.registry, row.publication, row.consumer)
    values += (row.input.codec, row.input.digest, row.input_commitment, row.client_key, min(row.deadline, _LATEST))
    values += (row.seen, row.height, row.state.value, row.reason, row.text, row.sent)
    if signed is None:
        return values + (None,) * 9
    values += (signed.answer, signed.answer_signature, signed.receipt, signed.receipt_signature, signed.receipt_hash)
    return (*values, signed.host_key, signed.operator_signature, signed.output.codec, signed.output.digest)


def _row(row: Any) -> RequestRow:
    identifier, chain, registry, publication, consumer, codec, digest, commitment, client_key, *rest = row
    deadline, seen, height, state, reason, text, sent, *signed = rest
    return RequestRow(
        id=Bytes32(identifier),
        lane=Lane(chain=chain, registry=registry),
        publication=Bytes32(publication),
        consumer=Address(consumer),
        input=Cid(codec=codec, digest=digest),
        input_commitment=Bytes32(commitment),
        client_key=Bytes32(client_key),
        deadline=UnixSeconds(deadline),
        seen=UnixSeconds(seen),
        height=height,
        state=RequestState(state),
        reason=reason,
        text=text,
        signed=None if signed[0] is None else _signed(signed),
        sent=sent,
    )


def _signed(row: list[Any]) -> SignedAnswer:
    answer, answer_signature, receipt, receipt_signature, receipt_hash, host_key, operator_signature, codec, digest = (
        row
    )
    return SignedAnswer(
        answer=answer,
        answer_signature=answer_signature,
        receipt=receipt,
        receipt_signature=receipt_signature,
        receipt_hash=receipt_hash,
        host_key=host_key,
        operator_signature=operator_signature,
        output=Cid(codec=codec, digest=digest),
    )
