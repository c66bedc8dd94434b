"""One SQLite file of one process: opening, schema version, and writes that announce their step once durable.

Errors:

* StoreError: an operator's matter
  + StoreInUse: another process holds the file
  + StoreVersionUnknown: made by another version of the program

Any other `sqlite3.Error` (disk full, input/output error) is left as it is: the process must stop, not go on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum, StrEnum

from caimi.ports.crash import CrashPoints
from caimi.types.errors import Blame, CaimiError, Certainty, Retry

__all__ = ["Durability", "SqliteDatabase", "StoreError", "StoreInUse", "StoreVersionUnknown"]


class StoreError(CaimiError):
    """The file of a store cannot be used."""

    blame = Blame.OPERATOR
    certainty = Certainty.PROVEN


class StoreInUse(StoreError):
    """Another process holds the file: two writers could contradict each other."""

    retry = Retry.AFTER
    hint = "stop the other process of this configuration first"


class StoreVersionUnknown(StoreError):
    """The file was made by another version of the program."""

    hint = "migrate the state folder with the version that made it, or wipe it"


class Durability(Enum):
    """What a commit survives."""

    POWER_LOSS = "FULL"
    """Every commit is forced to the disk: for what must never be contradicted."""
    PROCESS_CRASH = "NORMAL"
    """A commit survives the process; after a power loss the last ones may be missing, none is torn."""


class SqliteDatabase:
    """A connection that writes in named steps."""

    def __init__(
        self,
        path: str,
        *,
        schema: str,
        version: int,
        durability: Durability,
        crash: CrashPoints,
        additions: tuple[str, ...] = (),
    ) -> None:
        """Open or create the file `path` (":memory:" for none) and take hold of it.

        Arguments:
            additions: CREATE INDEX or CREATE TABLE IF NOT EXISTS statements. They change nothing that is stored
                elsewhere, so that they need no version: a file without them gets them, a program that does not know
                them keeps indexes up and leaves tables as they are.
        Raises:
            StoreInUse, StoreVersionUnknown: See above.
        """
        self.crash = crash
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=0.0)
        try:
            self._prepare(schema, version, durability, additions)
        except sqlite3.OperationalError as error:
            self._connection.close()
            if "locked" in str(error):
                raise StoreInUse(path) from error
            raise
        except StoreError:
            self._connection.close()
            raise

    def _prepare(self, schema: str, version: int, durability: Durability, additions: tuple[str, ...]) -> None:
        run = self._connection.execute
        run("PRAGMA locking_mode=EXCLUSIVE")
        run("PRAGMA journal_mode=WAL")
        run(f"PRAGMA synchronous={durability.value}")
        # The first write transaction takes the exclusive lock, which is then held until the connection closes.
        run("BEGIN IMMEDIATE")
        found = int(run("PRAGMA user_version").fetchone()[0])
        if found == 0:
            for statement in schema.split(";"):
                run(statement)
            run(f"PRAGMA user_version={version}")
        if found not in (0, version):
            run("ROLLBACK")
            raise StoreVersionUnknown(f"found {found}, know {version}")
        for addition in additions:
            run(addition)
        run("COMMIT")

    @contextmanager
    def step(self, step: StrEnum) -> Generator[sqlite3.Cursor, None, None]:
        """A transaction: all of it becomes durable, then `step` is announced; or nothing does."""
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            yield cursor
            cursor.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                cursor.execute("ROLLBACK")
            raise
        finally:
            cursor.close()
        self.crash.reached(step.value)

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """All rows of a query."""
        return self._connection.execute(query, values).fetchall()

    def row(self, query: str, *values: object) -> tuple[object, ...] | None:
        """The first row of a query, None if there is none."""
        return self._connection.execute(query, values).fetchone()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
