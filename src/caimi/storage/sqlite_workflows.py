"""What a relay's file knows of workflows that are under way (the tables are those of `caimi.storage.sqlite_relay`)."""

from __future__ import annotations

from typing import Any, Final

from caimi.ports.relay_store import OpenWorkflow
from caimi.storage.sqlite_database import SqliteDatabase
from caimi.types.primitives import Bytes32, UnixSeconds

__all__ = ["INDEXES", "UNANSWERED", "on_the_way", "open_subjects", "workflow"]

INDEXES: Final = ("CREATE INDEX IF NOT EXISTS calls_requests ON calls (lane, id) WHERE purpose = 'request'",)
"""For `UNANSWERED`."""
# Events about a request are its REQUESTED and its ANSWERED, in that order.
UNANSWERED: Final = (
    "id IN (SELECT id FROM calls WHERE lane = ? AND purpose = 'request' ORDER BY id DESC LIMIT ?) AND state = 'done'"
    " AND (SELECT count(*) FROM call_subjects s JOIN event_subjects e USING (subject) WHERE s.id = calls.id) < 2"
)
"""Condition on calls, of a lane and a limit: see `RelayStore.unanswered`."""
_LIVE: Final = "c.lane = ? AND c.state IN ('queued', 'uncertified', 'bound', 'elsewhere')"
# Attempts that failed move `updated` too; a call that failed before counts as moved only at its end.
_MOVED: Final = "CASE WHEN c.refusal IS NULL OR c.state IN ('done', 'elsewhere') THEN c.updated ELSE c.created END"


def open_subjects(database: SqliteDatabase, lane: bytes, limit: int) -> tuple[Bytes32, ...]:
    """See `RelayStore.open_subjects`."""
    rows: list[Any] = database.rows(
        "SELECT id FROM (SELECT id FROM publications WHERE home = ? AND outcome IS NULL ORDER BY number LIMIT ?)"
        " UNION SELECT subject FROM call_subjects WHERE id IN"
        f" (SELECT c.id FROM calls c WHERE {_LIVE} ORDER BY c.id LIMIT ?)",
        *(lane, limit, lane, limit),
    )
    return tuple(Bytes32(row[0]) for row in rows)


def workflow(database: SqliteDatabase, subject: Bytes32) -> OpenWorkflow | None:
    """See `RelayStore.workflow`."""
    accepted: Any = database.row("SELECT accepted FROM publications WHERE id = ?", subject)
    # Whether its transaction is on the ledger is progress too, whatever became of the call before.
    moved: Any = database.row(
        f"SELECT min(c.created), max({_MOVED}), max(t.included) FROM call_subjects s JOIN calls c ON c.id = s.id"
        " LEFT JOIN transactions t ON t.lane = c.lane AND t.tx = c.tx WHERE s.subject = ?",
        subject,
    )
    times = [time for time in (*(accepted or ()), *moved) if time is not None]
    if not times:
        return None
    since = accepted[0] if accepted else moved[0]
    return OpenWorkflow(
        subject=subject,
        is_publication=accepted is not None,
        since=UnixSeconds(since),
        progressed=UnixSeconds(max(times)),
    )


def on_the_way(database: SqliteDatabase, destination: bytes, key_prefix: str) -> tuple[int, UnixSeconds | None]:
    """See `RelayStore.on_the_way`."""
    row: Any = database.row(
        "SELECT count(DISTINCT s.subject), min(c.created) FROM calls c JOIN call_subjects s ON s.id = c.id"
        f" WHERE {_LIVE} AND substr(c.key, 1, ?) = ?",
        *(destination, len(key_prefix), key_prefix),
    )
    return row[0], None if row[1] is None else UnixSeconds(row[1])
