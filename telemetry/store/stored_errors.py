"""Errors as rows of the store: each as a whole, under the id by which Sentry knows it.

What people said isn't sent, so what an error says of it is here only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from .rows import find
from .sqlite_file import text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

LONGEST_EVENT: Final = 100_000
"""Characters of an event's JSON; of a longer one, parts are left out."""
_LONGEST_TEXT: Final = 2_000
"""Characters left of each text of an event that is still too long."""
_LEAST_WANTED: Final = ("modules", "sdk", "_meta", "breadcrumbs", "extra", "contexts", "request")
"""Parts of an event, in the order in which they are left out."""
_SHORTEST_PREFIX: Final = 8
"""Characters of an event's id that are enough to ask for it."""

_FIELDS: Final = "error.trace_id, span_id, time, type, message, event_id, event"


@dataclass(frozen=True, slots=True)
class StoredError:
    """An error captured in a conversation, or outside of any."""

    trace_id: str | None
    span_id: str | None
    time: float
    type: str
    message: str
    event_id: str | None = None
    """Sentry's id of it, 32 hex digits."""
    event: Mapping[str, Any] = field(default_factory=dict)
    """All that it said, as Sentry's event dictionary."""
    conversation: str | None = None
    """The id of the conversation that it is of; known to who asks for it by its own id."""


def add(
    cursor: sqlite3.Cursor, conversation_id: str | None, error: StoredError, event: str | None
) -> None:
    """Add an error, with its event as JSON, to the newest conversation of its trace (and this id);
    it may have none."""
    key = None
    if error.trace_id:
        key = find(cursor, error.trace_id, conversation_id, before=error.time)
    cursor.execute(
        "INSERT INTO error VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key,
            error.trace_id,
            error.span_id,
            error.time,
            text(error.type),
            text(error.message),
            error.event_id,
            event,
        ),
    )


def count(cursor: sqlite3.Cursor, conversation: int) -> int:
    """The number of errors of a conversation."""
    (found,) = cursor.execute(
        "SELECT count(*) FROM error WHERE conversation = ?", (conversation,)
    ).fetchone()
    return int(found)


def of_conversation(
    cursor: sqlite3.Cursor, trace_id: str, id: str, started_at: float
) -> list[StoredError]:
    """The errors of a conversation, in order of time."""
    rows = cursor.execute(
        f"SELECT {_FIELDS} FROM error "  # noqa: S608 - names of ours
        "JOIN conversation ON conversation.key = error.conversation "
        "WHERE conversation.trace_id = ? AND id = ? AND started_at = ? ORDER BY time",
        (trace_id, id, started_at),
    )
    return [_error(row) for row in rows]


def of_trace(cursor: sqlite3.Cursor, trace_id: str) -> list[StoredError]:
    """The errors of everything in a trace, in order of time."""
    rows = cursor.execute(
        f"SELECT {_FIELDS}, conversation.id FROM error "  # noqa: S608 - names of ours
        "JOIN conversation ON conversation.key = error.conversation "
        "WHERE conversation.trace_id = ? ORDER BY time",
        (trace_id,),
    )
    return [_error(row) for row in rows]


def by_event(cursor: sqlite3.Cursor, wanted: str) -> list[StoredError]:
    """The errors that go by an event id, or by the beginning of one."""
    wanted = wanted.replace("-", "").lower()
    if len(wanted) < _SHORTEST_PREFIX:
        return []
    rows = cursor.execute(
        f"SELECT {_FIELDS}, conversation.id FROM error "  # noqa: S608 - names of ours
        "LEFT JOIN conversation ON conversation.key = error.conversation "
        "WHERE event_id BETWEEN ?1 AND ?1 || char(0x10ffff) ORDER BY time",
        (wanted,),
    )
    return [_error(row) for row in rows]


def _error(row: sqlite3.Row) -> StoredError:
    fields = dict(zip(row.keys(), row, strict=True))
    event = fields.pop("event")
    conversation = fields.pop("id", None)
    return StoredError(
        **fields, event=json.loads(event) if event else {}, conversation=conversation
    )


def bounded(event: Mapping[str, Any]) -> str:
    """The event as JSON, without parts that would make it too long."""
    whole = _json(event)
    kept = dict(event)
    for name in _LEAST_WANTED:
        if len(whole) <= LONGEST_EVENT:
            return whole
        kept.pop(name, None)
        whole = _json(kept)
    return whole if len(whole) <= LONGEST_EVENT else _json(_cut(kept, 12))


def _cut(value: Any, deep: int) -> Any:
    """A value of short texts and short lists."""
    match value:
        case str():
            return value if len(value) <= _LONGEST_TEXT else f"{value[:_LONGEST_TEXT]}…"
        case dict():
            return {key: _cut(one, deep - 1) for key, one in [*value.items()][:20] if deep}
        case list():
            return [_cut(one, deep - 1) for one in value[-20:] if deep]
        case _:
            return value


def _json(value: object) -> str:
    return text(json.dumps(value, default=str))
