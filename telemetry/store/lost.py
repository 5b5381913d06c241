"""The conversations and envelopes of a process that was killed, or couldn't send them.

Taking over is one transaction: of several processes that look at the same time one has it. Open
conversations are closed as ``aborted``, with all that was recorded; spans that were open in them
end at the last sign of life. What of a conversation isn't in an envelope yet is then made into
some of its rows, by whoever has taken it over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .rows import Owed, SpanRow, StoredConversation, conversation_of, settle, spans_of
from .sqlite_file import text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

ABORTED: Final = "aborted"
"""The status of a conversation whose process was killed, and of what was open in it."""


@dataclass(frozen=True, slots=True)
class Left:
    """A conversation that is still to be sent."""

    key: int
    conversation: StoredConversation
    """With all of its spans."""
    spans: tuple[SpanRow, ...]
    """Those that are in no envelope yet, the root among them."""
    facts: Mapping[str, Any]
    """Notes of its process on how it is to be sent."""


def take_over(cursor: sqlite3.Cursor, gone: Sequence[int], process: int | None) -> int:
    """Take what these processes left; the number of conversations that were open.

    Args:
        cursor: in a transaction that writes.
        gone: keys of processes that don't run any more.
        process: key of the one that is to send what they left; None if nobody here can.
    """
    if gone:
        closed = sum(_close_all(cursor, key) for key in gone)
        marks = ", ".join("?" * len(gone))
        cursor.execute(
            f"UPDATE unsent SET process = ? WHERE process IN ({marks})",  # noqa: S608 - marks
            (process, *gone),
        )
        cursor.execute(
            "UPDATE conversation SET owed = CASE WHEN owed > 0 THEN 2 ELSE 0 END, "  # noqa: S608
            f"process = CASE WHEN owed > 0 THEN ? END WHERE process IN ({marks})",
            (process, *gone),
        )
        cursor.execute(f"DELETE FROM process WHERE key IN ({marks})", (*gone,))  # noqa: S608
    else:
        closed = 0
    if process is not None:  # also what somebody took over who couldn't send
        cursor.execute("UPDATE unsent SET process = ? WHERE process IS NULL", (process,))
        cursor.execute(
            "UPDATE conversation SET process = ? WHERE process IS NULL AND owed = 2", (process,)
        )
    return closed


def _close_all(cursor: sqlite3.Cursor, process: int) -> int:
    """Close what a process left open, at its last sign of life."""
    (seen_at,) = cursor.execute(
        "SELECT seen_at FROM process WHERE key = ?", (process,)
    ).fetchone() or (0.0,)
    rows = cursor.execute(
        "SELECT key, started_at FROM conversation WHERE process = ? AND ended_at IS NULL",
        (process,),
    ).fetchall()
    for row in rows:
        (latest,) = cursor.execute(
            "SELECT max(coalesce(ended_at, started_at)) FROM span WHERE conversation = ?",
            (row["key"],),
        ).fetchone()
        end = max(seen_at, row["started_at"], latest or 0.0)
        cursor.execute(
            "UPDATE span SET ended_at = ?, status = ? WHERE conversation = ? AND ended_at IS NULL",
            (end, ABORTED, row["key"]),
        )
        cursor.execute(
            "UPDATE conversation SET ended_at = ?, status = ? WHERE key = ?",
            (end, ABORTED, row["key"]),
        )
    cursor.execute(  # such as late ones, of a conversation that had ended
        "UPDATE span SET ended_at = max(started_at, ?), status = ? WHERE ended_at IS NULL "
        "AND conversation IN (SELECT key FROM conversation WHERE process = ?)",
        (seen_at, ABORTED, process),
    )
    return len(rows)


def owed_by(cursor: sqlite3.Cursor, process: int) -> int:
    """The number of conversations that a process is to make envelopes of."""
    (count,) = cursor.execute(
        "SELECT count(*) FROM conversation WHERE process = ? AND owed = ?",
        (process, Owed.FROM_ROWS),
    ).fetchone()
    return int(count)


def next_left(cursor: sqlite3.Cursor, process: int) -> Left | None:
    """The oldest conversation that a process has taken over and that is still to be sent."""
    row = cursor.execute(
        "SELECT *, 0 AS span_count, 0 AS error_count FROM conversation "
        "WHERE process = ? AND owed = ? ORDER BY started_at LIMIT 1",
        (process, Owed.FROM_ROWS),
    ).fetchone()
    if row is None:
        return None
    codes = dict(
        cursor.execute(
            "SELECT span_id, code FROM span WHERE conversation = ?1 AND span_id NOT IN "
            "(SELECT span_id FROM handed WHERE conversation = ?1)",
            (row["key"],),
        ).fetchall()
    )
    conversation = conversation_of(row, spans_of(cursor, row))
    return Left(
        row["key"],
        conversation,
        tuple(
            SpanRow(span, code=_code(codes[span.span_id], span.op, span.name))
            for span in conversation.spans
            if span.span_id in codes
        ),
        json.loads(row["facts"] or "{}"),
    )


def _code(code: str | None, op: str, name: str) -> tuple[str, str] | None:
    if code is None:
        return None
    if not code:
        return op, name
    op, name = json.loads(code)
    return op, name


def sent(cursor: sqlite3.Cursor, left: Left) -> None:
    """Note that a conversation that was left is in envelopes.

    Nothing is noted in another file than it was found in, which may have taken its place
    meanwhile: the key is somebody else's there.
    """
    conversation = left.conversation
    row = cursor.execute(
        "SELECT 1 FROM conversation WHERE key = ? AND trace_id = ? AND id = ?",
        (left.key, conversation.trace_id, text(conversation.id)),
    ).fetchone()
    if row is not None:
        settle(cursor, left.key)
