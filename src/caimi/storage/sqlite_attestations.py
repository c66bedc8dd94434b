"""`AttestationStore` on SQLite: every commit is forced to the disk before it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from caimi.ports.attestation_store import AttestedBlock, IndexedEvent, LaneLife, ValidatorStep
from caimi.ports.crash import CrashPoints
from caimi.protocol.registry_state import GovernedLane
from caimi.storage.sqlite_database import Durability, SqliteDatabase
from caimi.types.primitives import Bytes32, Generation
from caimi.types.primitives import Sequence as EventSequence
from caimi.types.records import Lane

__all__ = ["SqliteAttestationStore"]

_VERSION: Final = 2
_SCHEMA: Final = """
CREATE TABLE indexed (
  chain BLOB, registry BLOB, generation INTEGER, sequence INTEGER, leaf BLOB NOT NULL, height INTEGER NOT NULL,
  block_hash BLOB NOT NULL, PRIMARY KEY (chain, registry, generation, sequence)) STRICT, WITHOUT ROWID;
CREATE TABLE attested_leaf (
  chain BLOB, registry BLOB, generation INTEGER, sequence INTEGER, leaf BLOB NOT NULL,
  PRIMARY KEY (chain, registry, generation, sequence)) STRICT, WITHOUT ROWID;
CREATE TABLE attested_block (
  chain BLOB, registry BLOB, generation INTEGER, height INTEGER, block_hash BLOB NOT NULL,
  PRIMARY KEY (chain, registry, generation, height)) STRICT, WITHOUT ROWID;
CREATE TABLE halted (
  chain BLOB, registry BLOB, generation INTEGER, cause TEXT NOT NULL,
  PRIMARY KEY (chain, registry, generation)) STRICT, WITHOUT ROWID;
CREATE TABLE governed (
  chain BLOB, registry BLOB, version BLOB NOT NULL, generation BLOB NOT NULL, height BLOB NOT NULL,
  block_hash BLOB NOT NULL, dropped INTEGER NOT NULL, PRIMARY KEY (chain, registry)) STRICT, WITHOUT ROWID
"""
_LIFE: Final = "chain = ? AND registry = ? AND generation = ?"


class SqliteAttestationStore:
    """What one validator signed, in one file."""

    def __init__(self, path: str, *, crash: CrashPoints) -> None:
        """Open or create the file.

        Raises:
            StoreInUse, StoreVersionUnknown: See `caimi.storage.sqlite_database`.
        """
        self._database = SqliteDatabase(
            path, schema=_SCHEMA, version=_VERSION, durability=Durability.POWER_LOSS, crash=crash
        )

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def tail(self, life: LaneLife) -> IndexedEvent | None:
        """See `AttestationStore`."""
        row = self._database.row(
            f"SELECT sequence, leaf, height, block_hash FROM indexed WHERE {_LIFE} ORDER BY sequence DESC LIMIT 1",
            *_key(life),
        )
        return None if row is None else _event(row)

    def indexed(self, life: LaneLife, first: EventSequence, last: EventSequence) -> tuple[IndexedEvent, ...]:
        """See `AttestationStore`."""
        rows = self._database.rows(
            f"SELECT sequence, leaf, height, block_hash FROM indexed WHERE {_LIFE} AND sequence BETWEEN ? AND ?"
            " ORDER BY sequence",
            *_key(life),
            first,
            last,
        )
        return tuple(_event(row) for row in rows)

    def attested_leaves(
        self, life: LaneLife, first: EventSequence, last: EventSequence
    ) -> Mapping[EventSequence, Bytes32]:
        """See `AttestationStore`."""
        rows: list[Any] = self._database.rows(
            f"SELECT sequence, leaf FROM attested_leaf WHERE {_LIFE} AND sequence BETWEEN ? AND ?",
            *_key(life),
            first,
            last,
        )
        return {EventSequence(sequence): Bytes32(leaf) for sequence, leaf in rows}

    def attested_hash(self, life: LaneLife, height: int) -> Bytes32 | None:
        """See `AttestationStore`."""
        row: Any = self._database.row(
            f"SELECT block_hash FROM attested_block WHERE {_LIFE} AND height = ?", *_key(life), height
        )
        return None if row is None else Bytes32(row[0])

    def highest_attested(self, life: LaneLife) -> AttestedBlock | None:
        """See `AttestationStore`."""
        row: Any = self._database.row(
            f"SELECT height, block_hash FROM attested_block WHERE {_LIFE} ORDER BY height DESC LIMIT 1", *_key(life)
        )
        return None if row is None else AttestedBlock(height=row[0], block_hash=Bytes32(row[1]))

    def halt_cause(self, life: LaneLife) -> str | None:
        """See `AttestationStore`."""
        row: Any = self._database.row(f"SELECT cause FROM halted WHERE {_LIFE}", *_key(life))
        return None if row is None else row[0]

    def attested_below(self, life: LaneLife, height: int) -> AttestedBlock | None:
        """See `AttestationStore`."""
        row: Any = self._database.row(
            f"SELECT height, block_hash FROM attested_block WHERE {_LIFE} AND height <= ? ORDER BY height DESC LIMIT 1",
            *_key(life),
            height,
        )
        return None if row is None else AttestedBlock(height=row[0], block_hash=Bytes32(row[1]))

    def decision(self, lane: Lane) -> GovernedLane:
        """See `AttestationStore`."""
        row: Any = self._database.row(
            "SELECT version, generation, height, block_hash, dropped FROM governed WHERE chain = ? AND registry = ?",
            lane.chain,
            lane.registry,
        )
        if row is None:
            return GovernedLane()
        version, generation, height = (int.from_bytes(number, "big") for number in row[:3])
        return GovernedLane(
            version=version,
            generation=Generation(generation),
            height=height,
            block_hash=Bytes32(row[3]),
            dropped=bool(row[4]),
        )

    def append(
        self,
        step: ValidatorStep,
        life: LaneLife,
        events: Sequence[IndexedEvent],
        decisions: Sequence[tuple[Lane, GovernedLane]] = (),
    ) -> None:
        """See `AttestationStore`. A number that is there already is an error: the index is never overwritten."""
        with self._database.step(step) as cursor:
            cursor.executemany(
                "INSERT INTO indexed VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(*_key(life), e.sequence, e.leaf, e.height, e.block_hash) for e in events],
            )
            cursor.executemany(
                "INSERT INTO governed VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET version = excluded.version, generation = excluded.generation, height = excluded.height,"
                " block_hash = excluded.block_hash, dropped = excluded.dropped WHERE excluded.version > version",
                [_governed(lane, decision) for lane, decision in decisions],
            )

    def rewind(self, step: ValidatorStep, life: LaneLife) -> None:
        """See `AttestationStore`."""
        with self._database.step(step) as cursor:
            cursor.execute(f"DELETE FROM indexed WHERE {_LIFE}", _key(life))

    def attest(
        self, step: ValidatorStep, life: LaneLife, leaves: Mapping[EventSequence, Bytes32], block: AttestedBlock
    ) -> None:
        """See `AttestationStore`."""
        with self._database.step(step) as cursor:
            cursor.executemany(
                "INSERT OR IGNORE INTO attested_leaf VALUES (?, ?, ?, ?, ?)",
                [(*_key(life), sequence, leaf) for sequence, leaf in leaves.items()],
            )
            cursor.execute(
                "INSERT OR IGNORE INTO attested_block VALUES (?, ?, ?, ?, ?)",
                (*_key(life), block.height, block.block_hash),
            )

    def halt(self, step: ValidatorStep, life: LaneLife, cause: str) -> None:
        """See `AttestationStore`."""
        with self._database.step(step) as cursor:
            cursor.execute("INSERT OR IGNORE INTO halted VALUES (?, ?, ?, ?)", (*_key(life), cause))


def _key(life: LaneLife) -> tuple[bytes, bytes, int]:
    return life.lane.chain, life.lane.registry, life.generation


def _governed(lane: Lane, decision: GovernedLane) -> tuple[object, ...]:
    # Numbers are 64 bits wide and SQLite's integers are 63: as eight bytes they are all kept and keep their order.
    numbers = (decision.version, decision.generation, decision.height)
    eight = (number.to_bytes(8, "big") for number in numbers)
    return lane.chain, lane.registry, *eight, decision.block_hash, int(decision.dropped)


def _event(row: Any) -> IndexedEvent:
    sequence, leaf, height, block_hash = row
    return IndexedEvent(
        sequence=EventSequence(sequence), leaf=Bytes32(leaf), height=height, block_hash=Bytes32(block_hash)
    )
