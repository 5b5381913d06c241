"""Transactions, spans and errors of other processes, in a store of the viewer's own.

They come in any order: spans before the transaction they are in, an error before either. So the row
of a transaction is found by its root span's id, and is there from the first that is heard of it. An
error of which nothing else is known has a row of its own, until something is.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from ..attributes import OP_CONVERSATION_PART
from ..records import SpanRecord
from ..store import Limits, SpanRow, StoredError, bounded
from ..store.forgetting import forget
from ..store.rows import OPEN, put_spans, to_json
from ..store.sqlite_file import text
from .envelopes import (
    RefusedError,
    event_id_of,
    is_shallow,
    items,
    streamed,
    time_of,
    trace_of,
    transaction,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from ..store import TraceStore
    from .envelopes import Part

OP_ERROR: Final = "error"
"""The op of an error's own row."""
SILENT_SECONDS: Final = 600.0
"""A transaction that hasn't ended and was silent for so long is taken for cut off."""
_LIMITS: Final = Limits(bytes=500_000_000)
_FORGET_EVERY: Final = 50
"""Envelopes between two rounds of forgetting."""
_KINDS: Final = 50
"""Kinds of refusals that are told apart; all others are one."""
_LONGEST_MESSAGE: Final = 2_000


class Received:
    """The store of what was received. Any thread may add to it."""

    def __init__(self, store: TraceStore) -> None:
        self.store = store
        self._lock = threading.Lock()
        """Held while it is written to."""
        self._counting = threading.Lock()
        """Held for moments: refusals are counted on the event loop."""
        self._refused: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._envelopes = 0
        self._heard: dict[int, float] = {}
        """By the key of what hasn't ended: when something of it came (monotonic)."""

    @property
    def refused(self) -> dict[str, int]:
        """Envelopes and items that were refused, by reason."""
        with self._counting:
            return dict(self._refused)

    @property
    def dropped(self) -> dict[str, int]:
        """Drops that other processes report, by reason."""
        with self._counting:
            return dict(self._dropped)

    def refuse(self, reason: str) -> None:
        """Count a refusal."""
        with self._counting:
            _count(self._refused, reason, 1)

    def add(self, body: bytes) -> list[int]:
        """Add what is in an envelope; the keys of the conversations that it is of.

        Raises:
            RefusedError: it isn't an envelope, or nothing in it could be taken.
            TraceStoreError: the store can't be written to.
        """
        parts: list[Part] = []
        errors: list[Mapping[str, Any]] = []
        wrong: list[RefusedError] = []
        for item in items(body):
            try:
                match item.kind:
                    case "transaction":
                        parts.append(transaction(item.content))
                    case "span":
                        parts += streamed(item.content)
                    case "event":
                        errors.append(_error_event(item.content))
                    case "client_report":
                        self._report(item.content)
            except RefusedError as refused:  # the other items are as good as before
                wrong.append(refused)
        if wrong and not (parts or errors):
            raise wrong[0]
        for each in wrong:
            self.refuse(each.reason)
        keys: list[int] = []
        if parts or errors:
            with self._lock, self.store.writing() as cursor:
                keys += [self._put(cursor, part) for part in parts]
                keys += [_put_error(cursor, event) for event in errors]
                self._forget(cursor)
        return keys

    def _put(self, cursor: sqlite3.Cursor, part: Part) -> int:
        """Add a transaction, or some of its spans; its key."""
        root: SpanRecord | None = part.root
        root_span_id = part.root_span_id
        if root is not None and root.op == OP_CONVERSATION_PART and root.parent_span_id:
            root_span_id, root = root.parent_span_id, None  # the rest of a long one
        key = _row(cursor, part.trace_id, root_span_id, part.spans[0])
        if root is not None:
            _end(cursor, key, part, root)
            self._heard.pop(key, None)
        elif cursor.execute(
            "SELECT 1 FROM conversation WHERE key = ? AND ended_at IS NULL", (key,)
        ).fetchone():
            self._heard[key] = time.monotonic()
        put_spans(cursor, key, map(SpanRow, part.spans))
        return key

    def _forget(self, cursor: sqlite3.Cursor) -> None:
        """Close what was silent for long, and now and then delete what is old."""
        now = time.monotonic()
        for key, at in [*self._heard.items()]:
            if now - at > SILENT_SECONDS:
                del self._heard[key]
                _cut_off(cursor, "key = ?", key)
        if self._envelopes % _FORGET_EVERY == 0:
            marks = ", ".join("?" * len(self._heard))
            _cut_off(cursor, f"key NOT IN ({marks})", *self._heard)  # of a viewer before this one
            forget(cursor, _LIMITS)
        self._envelopes += 1

    def _report(self, content: Any) -> None:
        """Count what another process reports as dropped."""
        if not isinstance(content, dict) or not isinstance(
            discarded := content.get("discarded_events"), list
        ):
            raise RefusedError("malformed", "a report isn't one")
        with self._counting:
            for one in discarded[:100]:
                if isinstance(one, dict) and type(number := one.get("quantity")) is int:
                    what = f"{one.get('category')}s: {one.get('reason')}"[:60]
                    _count(self._dropped, what, min(max(number, 0), 1_000_000_000))


def _count(counter: Counter[str], reason: str, number: int) -> None:
    counter[reason if reason in counter or len(counter) < _KINDS else "others"] += number


# -- rows ------------------------------------------------------------------------------------------


def _row(cursor: sqlite3.Cursor, trace_id: str, root_span_id: str, first: SpanRecord) -> int:
    """The key of a transaction's row, which is made if there is none."""
    found = cursor.execute(
        "SELECT key FROM conversation WHERE trace_id = ? AND root_span_id = ?",
        (trace_id, root_span_id),
    ).fetchone()
    if found is not None:
        return int(found[0])
    (key,) = cursor.execute(
        "INSERT INTO conversation (id, trace_id, root_span_id, op, name, started_at, status, user, "
        "tags) VALUES (?, ?, ?, 'default', ?, ?, ?, '{}', '{}') RETURNING key",
        (root_span_id, trace_id, root_span_id, text(first.name), first.started_at, OPEN),
    ).fetchone()
    alone = [
        row[0]
        for row in cursor.execute(
            "SELECT key FROM conversation WHERE trace_id = ? AND op = ?", (trace_id, OP_ERROR)
        )
    ]
    for other in alone:  # errors that came before it
        cursor.execute("UPDATE error SET conversation = ? WHERE conversation = ?", (key, other))
        cursor.execute("DELETE FROM conversation WHERE key = ?", (other,))
    return int(key)


def _end(cursor: sqlite3.Cursor, key: int, part: Part, root: SpanRecord) -> None:
    """Note what is known of a transaction when it has ended."""
    known = (
        text(root.op),
        text(part.name),
        root.started_at,
        max(root.ended_at, root.started_at),
        text(root.status),
        text(to_json(part.user)),
        text(to_json(part.tags)),
        json.dumps(dict(part.facts)) if part.facts else None,
    )
    for id in (part.id or root.span_id, root.span_id):
        cursor.execute(
            "UPDATE OR IGNORE conversation SET id = ?, op = ?, name = ?, started_at = ?, "
            "ended_at = ?, status = ?, user = ?, tags = ?, facts = ? WHERE key = ?",
            (text(id), *known, key),
        )
        if cursor.rowcount:  # else there is another of this trace, this id and this start
            return


def _cut_off(cursor: sqlite3.Cursor, condition: str, *values: object) -> None:
    """Close what hasn't ended, at the last that was heard of it."""
    cursor.execute(
        "UPDATE conversation SET status = 'aborted', ended_at = max(started_at, coalesce((SELECT "  # noqa: S608
        "max(ended_at) FROM span WHERE span.conversation = conversation.key), started_at)) "
        f"WHERE ended_at IS NULL AND {condition}",
        values,
    )


def _error_event(content: Any) -> Mapping[str, Any]:
    """An error event, of which the fields that are used are as they should be, and those that are
    nested too deep are left out."""
    if not isinstance(content, dict):
        raise RefusedError("malformed", "an event is no JSON object")
    event_id_of(content)
    time_of(content)
    trace_of(content)
    return {name: one for name, one in content.items() if is_shallow(one)}


def _put_error(cursor: sqlite3.Cursor, event: Mapping[str, Any]) -> int:
    """Add an error to what it is of; the key of that."""
    event_id, at = event_id_of(event), time_of(event)
    trace_id, span_id = trace_of(event)
    trace_id = trace_id or event_id
    kind, message = _said(event)
    found = cursor.execute(
        "SELECT key FROM conversation WHERE trace_id = ? "
        "ORDER BY started_at <= ? DESC, started_at DESC LIMIT 1",
        (trace_id, at),
    ).fetchone()
    key = (
        _alone(cursor, trace_id, event_id, at, f"{kind}: {message}") if found is None else found[0]
    )
    again = "SELECT 1 FROM error WHERE event_id = ? AND conversation = ?"
    if cursor.execute(again, (event_id, key)).fetchone() is None:
        error = StoredError(trace_id, span_id, at, kind, message, event_id)
        kept = text(error.type), text(error.message), event_id, bounded(event)
        cursor.execute(
            "INSERT INTO error VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (key, trace_id, span_id, at, *kept),
        )
    return int(key)


def _alone(cursor: sqlite3.Cursor, trace_id: str, event_id: str, at: float, name: str) -> int:
    """The key of a new row for an error of which nothing else is known."""
    root = SpanRecord(
        span_id=event_id[:16],
        parent_span_id=None,
        op=OP_ERROR,
        name=name,
        started_at=at,
        ended_at=at,
        status="internal_error",
    )
    (key,) = cursor.execute(
        "INSERT INTO conversation (id, trace_id, root_span_id, op, name, started_at, ended_at, "
        "status, user, tags) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, '{}', '{}') RETURNING key",
        (event_id, trace_id, root.span_id, root.op, text(name), at, root.status),
    ).fetchone()
    put_spans(cursor, key, [SpanRow(root)])
    return int(key)


def _said(event: Mapping[str, Any]) -> tuple[str, str]:
    """The type and the message of an error."""
    exception, entry = event.get("exception"), event.get("logentry")
    values = exception.get("values") if isinstance(exception, dict) else exception
    last = values[-1] if isinstance(values, list) and values else None
    if isinstance(last, dict):
        return str(last.get("type") or "Error")[:200], str(last.get("value") or "")[
            :_LONGEST_MESSAGE
        ]
    message = event.get("message")
    if isinstance(entry, dict):
        message = entry.get("formatted") or entry.get("message")
    return str(event.get("level") or OP_ERROR)[:40], str(message or "")[:_LONGEST_MESSAGE]
