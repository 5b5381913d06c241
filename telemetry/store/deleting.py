"""Conversations go because somebody asks for it: all there is of a trace, or all that is old.

With a conversation go its spans, its errors, and the files of its recordings. What is running
stays: its process would only write it again. Envelopes that wait for Sentry stay too: they are its
already, but for the sending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .leases import gone_at_a_look

if TYPE_CHECKING:
    import sqlite3

AT_ONCE: Final = 100
"""Transactions that go in one of SQLite's."""


def trace(cursor: sqlite3.Cursor, trace_id: str) -> int:
    """Delete some of a trace that isn't running; the number of transactions that were deleted."""
    deleted = _delete(cursor, "trace_id = ?", trace_id)
    left = cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM conversation WHERE trace_id = ?)", (trace_id,)
    ).fetchone()[0]
    if not left:
        cursor.execute("DELETE FROM error WHERE trace_id = ?", (trace_id,))
    return deleted


def before(cursor: sqlite3.Cursor, started_at: float) -> int:
    """Delete some of what began before then and isn't running; the number of them."""
    cursor.execute("DELETE FROM error WHERE conversation IS NULL AND time < ?", (started_at,))
    return _delete(cursor, "started_at < ?", started_at)


def count_before(cursor: sqlite3.Cursor, started_at: float) -> int:
    """The number of transactions that began before then."""
    [(count,)] = cursor.execute(
        "SELECT count(*) FROM conversation WHERE started_at < ?", (started_at,)
    )
    return int(count)


def _delete(cursor: sqlite3.Cursor, condition: str, value: object) -> int:
    gone = gone_at_a_look(cursor)
    marks = ", ".join("?" * len(gone))
    cursor.execute(
        "DELETE FROM conversation WHERE key IN (SELECT key FROM conversation "  # noqa: S608 - marks
        f"WHERE {condition} AND (process IS NULL OR process IN ({marks})) LIMIT ?)",
        (value, *gone, AT_ONCE),
    )
    return cursor.rowcount
