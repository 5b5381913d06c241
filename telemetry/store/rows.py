"""Rows of conversations and spans: written and read, all inside a transaction of somebody's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ..records import ConversationRecord, SpanRecord
from . import pieces
from .sqlite_file import text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_AT_ONCE: Final = 20
"""Rows that are made before they are written."""
OPEN: Final = "open"
"""The status of a span, or a conversation, that hasn't ended."""


class Owed(IntEnum):
    """A conversation's delivery to Sentry."""

    NOTHING = 0
    """All of it is in envelopes, or none of it is to be sent."""
    BY_ITS_PROCESS = 1
    """The process that records it will see to that."""
    FROM_ROWS = 2
    """That process is gone: somebody has to make envelopes of the rows."""


@dataclass(frozen=True, slots=True)
class SpanRow:
    """A span to store."""

    record: SpanRecord
    is_open: bool = False
    code: tuple[str, str] | None = None
    """The parts of its op and its name that may be sent; None where nobody knows."""


@dataclass(frozen=True, slots=True)
class StoredConversation(ConversationRecord):
    """A conversation as the store knows it."""

    root_span_id: str | None = None
    span_count: int = 0
    """Spans stored for it; a listing has the number without the spans."""
    error_count: int = 0


# -- writing -----------------------------------------------------------------------------------


def put_conversation(
    cursor: sqlite3.Cursor,
    record: ConversationRecord,
    *,
    ended_at: float | None,
    process: int | None = None,
    owed: Owed = Owed.NOTHING,
    facts: str | None = None,
) -> int:
    """Insert a conversation or update the one that it is; its key.

    What is owed of it is said once, when it is inserted: see :func:`settle`.
    """
    (key,) = cursor.execute(
        "INSERT INTO conversation (id, trace_id, root_span_id, op, name, started_at, ended_at, "
        "status, user, tags, process, owed, facts) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET root_span_id = coalesce(excluded.root_span_id, root_span_id), "
        "name = excluded.name, ended_at = excluded.ended_at, status = excluded.status, "
        "user = excluded.user, tags = excluded.tags, process = excluded.process, "
        "facts = excluded.facts, "
        # somebody took the process for dead; it goes on, and sees to it itself
        "owed = CASE WHEN owed = 2 AND excluded.owed = 1 THEN 1 ELSE owed END RETURNING key",
        (
            text(record.id),
            record.trace_id,
            record.spans[0].span_id if record.spans else None,
            text(record.op),
            text(record.name),
            record.started_at,
            ended_at,
            record.status,
            to_json(record.user),
            to_json(record.tags),
            process,
            owed,
            facts,
        ),
    ).fetchone()
    return int(key)


def is_stored(cursor: sqlite3.Cursor, key: int, *, trace_id: str, process: int) -> bool:
    """True if this is the key of a transaction of this trace, and this process still has it."""
    row = cursor.execute(
        "SELECT 1 FROM conversation WHERE key = ? AND trace_id = ? AND process = ?",
        (key, trace_id, process),
    ).fetchone()
    return row is not None


def put_spans(
    cursor: sqlite3.Cursor, key: int, spans: Iterable[SpanRow], *, again: str = "REPLACE"
) -> None:
    """Add spans to a conversation; of one that is there already, and has ended, the one given
    here stays, or ``again="IGNORE"`` the former."""
    rest = iter(spans)
    while some := [*islice(rest, _AT_ONCE)]:
        parts: dict[int, str] = {}
        values = [(*_span_values(key, span, parts), again) for span in some]
        pieces.put(cursor, key, parts)
        _put_some(cursor, values)


def _put_some(cursor: sqlite3.Cursor, values: list[tuple[object, ...]]) -> None:
    cursor.executemany(
        "INSERT INTO span VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) "
        "ON CONFLICT DO UPDATE SET "
        "op = excluded.op, name = excluded.name, ended_at = excluded.ended_at, "
        "status = excluded.status, origin = excluded.origin, attributes = excluded.attributes, "
        "code = excluded.code WHERE ended_at IS NULL OR ?12 = 'REPLACE'",
        values,
    )


def _span_values(key: int, span: SpanRow, parts: dict[int, str]) -> tuple[object, ...]:
    record = span.record
    code: str | None = None
    if span.code is not None:
        code = "" if span.code == (record.op, record.name) else json.dumps(span.code)
    return (
        key,
        record.span_id,
        record.parent_span_id,
        text(record.op),
        text(record.name),
        record.started_at,
        None if span.is_open else record.ended_at,
        record.status,
        record.origin,
        to_json(pieces.divided(record.attributes, parts)),
        code,
    )


def add_spans(
    cursor: sqlite3.Cursor, trace_id: str, conversation_id: str | None, spans: Sequence[SpanRow]
) -> None:
    """Add finished spans to a conversation, open or closed; each span id counts once.

    Spans of an unknown conversation, or of none, become one of status ``unknown``.
    """
    start = min(span.record.started_at for span in spans)
    key = find(cursor, trace_id, conversation_id, before=start)
    if key is None:
        key = put_conversation(
            cursor,
            ConversationRecord(
                id=conversation_id or trace_id,
                trace_id=trace_id,
                name=spans[0].record.name,
                started_at=start,
                ended_at=None,
                status="unknown",
            ),
            ended_at=max(span.record.ended_at for span in spans),
        )
    put_spans(cursor, key, spans, again="IGNORE")


def put_handed(cursor: sqlite3.Cursor, key: int, span_ids: Iterable[str]) -> None:
    """Note the spans of a conversation that are in an envelope."""
    cursor.executemany(
        "INSERT OR IGNORE INTO handed VALUES (?, ?)", ((key, span_id) for span_id in span_ids)
    )


def settle(cursor: sqlite3.Cursor, key: int) -> None:
    """Note that all of a conversation is in envelopes."""
    cursor.execute("UPDATE conversation SET owed = 0, process = NULL WHERE key = ?", (key,))
    cursor.execute("DELETE FROM handed WHERE conversation = ?", (key,))


def key_of(cursor: sqlite3.Cursor, record: ConversationRecord) -> int:
    """The key of a conversation that is stored."""
    row = cursor.execute(
        "SELECT key FROM conversation WHERE trace_id = ? AND id = ? AND started_at = ?",
        (record.trace_id, text(record.id), record.started_at),
    ).fetchone()
    return (
        put_conversation(cursor, record, ended_at=record.ended_at) if row is None else int(row[0])
    )


def find(
    cursor: sqlite3.Cursor, trace_id: str, conversation_id: str | None, *, before: float
) -> int | None:
    """The newest conversation of this trace (and id) that had begun by then, or else any."""
    row = cursor.execute(
        "SELECT key FROM conversation WHERE trace_id = ?1 AND (?2 IS NULL OR id = ?2) "
        "ORDER BY started_at <= ?3 DESC, started_at DESC, key DESC LIMIT 1",
        (trace_id, None if conversation_id is None else text(conversation_id), before),
    ).fetchone()
    return None if row is None else int(row[0])


# -- reading -----------------------------------------------------------------------------------


def conversation_of(row: sqlite3.Row, spans: tuple[SpanRecord, ...] = ()) -> StoredConversation:
    """A conversation out of its row, with these spans."""
    fields = dict(zip(row.keys(), row, strict=True))
    for name in ("key", "process", "owed", "facts"):
        del fields[name]
    fields["user"] = json.loads(fields["user"])
    fields["tags"] = json.loads(fields["tags"])
    return StoredConversation(**fields, spans=spans)


def spans_of(cursor: sqlite3.Cursor, row: sqlite3.Row) -> tuple[SpanRecord, ...]:
    """The spans of a conversation: the root first, then by start."""
    found = cursor.execute(
        "SELECT span_id, parent_span_id, op, name, started_at, ended_at, status, origin, "
        "attributes FROM span WHERE conversation = ? "
        "ORDER BY span_id IS NOT ?, started_at, ended_at DESC, span_id",
        (row["key"], row["root_span_id"]),
    )
    rows = found.fetchall()
    parts = pieces.of_conversation(cursor, row["key"])
    return tuple(_span(span, parts) for span in rows)


def ended_spans(cursor: sqlite3.Cursor, conversation: int, *, besides: str) -> Iterator[SpanRecord]:
    """The spans of a conversation that have ended, but for one, with long texts in pieces."""
    found = cursor.execute(
        "SELECT span_id, parent_span_id, op, name, started_at, ended_at, status, origin, "
        "attributes FROM span WHERE conversation = ? AND span_id <> ? AND ended_at IS NOT NULL",
        (conversation, besides),
    )
    for row in found:
        fields = dict(zip(row.keys(), row, strict=True))
        fields["attributes"] = json.loads(fields["attributes"])
        yield SpanRecord(**fields)


def _span(row: sqlite3.Row, parts: Mapping[int, str]) -> SpanRecord:
    fields = dict(zip(row.keys(), row, strict=True))
    fields["attributes"] = pieces.whole(json.loads(fields["attributes"]), parts)
    if fields["ended_at"] is None:
        fields["ended_at"], fields["status"] = fields["started_at"], OPEN
    return SpanRecord(**fields)


# -- JSON --------------------------------------------------------------------------------------


def to_json(values: Mapping[str, Any]) -> str:
    """JSON of a mapping; what has no JSON form becomes text."""
    try:
        return _dumps(dict(values))
    except (TypeError, ValueError, RecursionError):  # an odd key, a NaN, a cycle
        return _dumps({str(key): _plain(value) for key, value in values.items()})


def _plain(value: object) -> object:
    try:
        _dumps(value)
    except (TypeError, ValueError, RecursionError):
        return str(value)
    return value


_ENCODER: Final = json.JSONEncoder(allow_nan=False, default=str)


def _dumps(value: object) -> str:
    return _ENCODER.encode(value)
