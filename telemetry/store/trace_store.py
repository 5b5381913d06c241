"""Conversations, their spans and errors, as rows of the store.

One thread writes (delivery), anyone reads: see :mod:`.sqlite_file` for how the file is
shared. A conversation is the row of one root: the same conversation id, or the same trace, used
twice makes two rows. So is any other transaction, with an op of its own: what a service did for a
conversation is found by the trace they share. The newest conversations are kept, the rest is
forgotten.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..attributes import OP_CONVERSATION
from ..printable import printable
from . import deleting, recordings, stored_errors
from .forgetting import by_number
from .leases import Observer, gone_at_a_look
from .rows import (
    SpanRow,
    StoredConversation,
    add_spans,
    conversation_of,
    key_of,
    put_conversation,
    put_spans,
    spans_of,
)
from .sqlite_file import SqliteFile, TraceStoreError, text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from ..records import AudioRecord, ConversationRecord, SpanRecord
    from .recordings import Recording
    from .stored_errors import StoredError

__all__ = ["AmbiguousId", "StoredConversation", "TraceStore"]

_PRUNE_EVERY: Final = 100
"""Conversations between two rounds of forgetting."""
_MATCHES: Final = 10
"""Conversations named when an id is ambiguous."""

_SUMMARY: Final = """
SELECT conversation.*,
    (SELECT count(*) FROM span WHERE span.conversation = conversation.key) AS span_count,
    (SELECT count(*) FROM error WHERE error.conversation = conversation.key) AS error_count
FROM conversation
"""
_ONE_OF_ITS_TRACE: Final = """(op = ?3 OR NOT EXISTS (
    SELECT 1 FROM conversation AS other WHERE other.trace_id = conversation.trace_id
    AND (other.op = ?3 OR other.key < conversation.key)
))"""


class AmbiguousId(TraceStoreError):  # noqa: N818 - the contract's name, read as a sentence
    """Several conversations go by what was asked for.

    Attributes:
        matches: the newest of them, without spans.
        more: whether there are others.
    """

    def __init__(self, asked: str, matches: tuple[StoredConversation, ...], more: bool) -> None:
        self.matches = matches
        self.more = more
        listed = ", ".join(
            f"{printable(match.id)} (trace {printable(match.trace_id)}, "
            f"root {printable(match.root_span_id or 'unknown')}, "
            f"{datetime.fromtimestamp(match.started_at, UTC):%Y-%m-%d %H:%M:%S} UTC)"
            for match in matches
        )
        super().__init__(
            f"{asked!r} is ambiguous: {listed}{', and others' if more else ''}: "
            "give more of the id, or the trace's or root span's"
        )


@dataclass(frozen=True, slots=True)
class Remains:
    """The contents of a store that somebody is still to see to."""

    unsent: int = 0
    """Envelopes that Sentry hasn't acknowledged."""
    since: float | None = None
    """The time at which the first of them was recorded (Unix seconds)."""
    conversations: int = 0
    """Conversations of processes that are gone."""


class TraceStore:
    """A store in this file, which the first write creates.

    Args:
        path: the file. Missing folders on the way are created with it.
        keep: how many conversations to keep, the newest, and what is as new as they; old ones go a
            hundred at a time.

    Raises:
        TraceStoreError: the path can't hold a store, or the file isn't one this version reads.
            Every other method raises it too, when the file can't be used any more.
    """

    def __init__(self, path: str | Path, *, keep: int = 10_000) -> None:
        self._file = SqliteFile(Path(path))
        self._keep = keep
        self._closed = 0

    @property
    def path(self) -> Path:
        """The file; it may not exist yet."""
        return self._file.path

    @property
    def audio_folder(self) -> Path:
        """The folder of its recordings; it may not exist yet."""
        return recordings.folder_of(self.path)

    # -- writing, from one thread --------------------------------------------------------------

    def open_conversation(self, record: ConversationRecord) -> None:
        """Show a conversation that has begun; without a close it stays as running or lost."""
        with self._file.writing() as cursor:
            key = put_conversation(cursor, record, ended_at=None)
            put_spans(cursor, key, map(SpanRow, record.spans), again="IGNORE")

    def add_spans(
        self, trace_id: str, conversation_id: str | None, spans: Sequence[SpanRecord]
    ) -> None:
        """Add finished spans to a conversation, open or closed; each span id counts once.

        Spans of an unknown conversation, or of none, become one of status ``unknown``.
        """
        if not spans:
            return
        with self._file.writing() as cursor:
            add_spans(cursor, trace_id, conversation_id, [*map(SpanRow, spans)])

    def close_conversation(self, record: ConversationRecord) -> None:
        """Record how a conversation ended, with the spans not added before, in one transaction.

        Of a span that is stored already, the one given here stays.
        """
        with self._file.writing() as cursor:
            key = put_conversation(cursor, record, ended_at=record.ended_at)
            put_spans(cursor, key, map(SpanRow, record.spans))
            if self._closed % _PRUNE_EVERY == 0:
                by_number(cursor, self._keep)
        self._closed += 1

    def add_error(
        self, conversation_id: str | None, error: StoredError, event: str | None = None
    ) -> None:
        """Add an error to the newest conversation of its trace (and this id); it may have none.

        ``event`` is all that it said, as JSON: :func:`bounded` makes it.
        """
        with self._file.writing() as cursor:
            stored_errors.add(cursor, conversation_id, error, event)

    def add_recording(self, record: ConversationRecord, audio: AudioRecord) -> None:
        """Add a file of :attr:`audio_folder` to a conversation, or say more of it."""
        with self._file.writing() as cursor:
            recordings.put(cursor, key_of(cursor, record), [audio])

    def delete(self, trace_id: str) -> int:
        """Delete all that there is of a trace, recordings too; the number of its transactions.

        What is still running stays, and isn't counted.
        """
        return self._delete(lambda cursor: deleting.trace(cursor, trace_id))

    def delete_before(self, started_at: float) -> int:
        """Delete what began before this Unix time, and has ended; the number of transactions."""
        return self._delete(lambda cursor: deleting.before(cursor, started_at))

    def _delete(self, some_of_it: Callable[[sqlite3.Cursor], int]) -> int:
        deleted = 0
        while True:
            with self._file.writing() as cursor:  # others write between two of these
                some = some_of_it(cursor)
                recordings.sweep(cursor, self.audio_folder)
            deleted += some
            if not some:
                return deleted

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Cursor]:
        """One transaction, for what is written by :mod:`.rows`, :mod:`.unsent` and :mod:`.lost`."""
        with self._file.writing() as cursor:
            yield cursor

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Cursor | None]:
        """A snapshot; None while nothing has been written."""
        with self._file.reading() as cursor:
            yield cursor

    @property
    def is_new(self) -> bool:
        """True, once, if the file of the last write is another than that of the writes before."""
        return self._file.is_new

    def set_aside(self) -> Path | None:
        """Give a damaged file another name, so that the next write makes a new one; that name."""
        return self._file.set_aside()

    def has_left(self, observer: Observer, own: int | None, *, sends: bool) -> bool:
        """True if there is something of a process that is gone, for a process of this key."""
        with self._file.reading() as cursor:
            if cursor is None:
                return False
            if observer.gone(cursor, own):
                return True
            (ownerless,) = cursor.execute(
                "SELECT EXISTS (SELECT 1 FROM unsent WHERE process IS NULL) "
                "OR EXISTS (SELECT 1 FROM conversation WHERE process IS NULL AND owed = 2)"
            ).fetchone()
            return sends and bool(ownerless)

    def left(self) -> Remains:
        """What waits for Sentry in it, and what killed processes left; changes nothing."""
        with self._file.reading() as cursor:
            if cursor is None:
                return Remains()
            unsent, since = cursor.execute(
                "SELECT count(*), min(recorded_at) FROM unsent"
            ).fetchone()
            gone = Observer().gone(cursor, None)
            owned = sum(
                cursor.execute(
                    "SELECT count(*) FROM conversation WHERE process = ?", (key,)
                ).fetchone()[0]
                for key in gone
            )
            (ownerless,) = cursor.execute(
                "SELECT count(*) FROM conversation WHERE process IS NULL AND owed = 2"
            ).fetchone()
            return Remains(unsent, since, owned + ownerless)

    def close(self) -> None:
        """Close the writer's connection. Idempotent; a later write opens a new one."""
        self._file.close()

    def pause(self) -> None:
        """Before a fork: wait for the write that is going on, and let no other begin."""
        self._file.pause()

    def resume(self) -> None:
        """After it, in both processes."""
        self._file.resume()

    # -- reading, from anywhere ----------------------------------------------------------------

    def conversations(
        self, limit: int = 20, before: float | None = None
    ) -> list[StoredConversation]:
        """Conversations that started before this Unix time, the newest first, without spans.

        A trace without a conversation is listed as the first of its transactions; what else is in
        a trace, :meth:`trace` has.
        """
        with self._file.reading() as cursor:
            if cursor is None:
                return []
            rows = cursor.execute(
                f"{_SUMMARY} WHERE (?1 IS NULL OR started_at < ?1) AND {_ONE_OF_ITS_TRACE} "
                "ORDER BY started_at DESC, key DESC LIMIT ?2",
                (before, limit, OP_CONVERSATION),
            )
            return [conversation_of(row) for row in rows]

    def conversation(self, id_or_prefix: str) -> StoredConversation | None:
        """A conversation with its spans, the root first, then by start; None if there is none.

        Goes by the id of the conversation, its trace or its root span, or the beginning of one.

        Raises:
            AmbiguousId: several go by it.
        """
        wanted = text(id_or_prefix)
        with self._file.reading() as cursor:
            if cursor is None or not wanted:
                return None
            rows = _matching(cursor, wanted)
            if not rows:
                return None
            if len(rows) > 1:
                matches = tuple(conversation_of(row) for row in rows[:_MATCHES])
                raise AmbiguousId(id_or_prefix, matches, more=len(rows) > _MATCHES)
            return conversation_of(rows[0], spans_of(cursor, rows[0]))

    def trace(self, trace_id: str) -> list[StoredConversation]:
        """Everything of one trace, by start: conversations and other transactions, with spans."""
        with self._file.reading() as cursor:
            if cursor is None:
                return []
            rows = cursor.execute(
                f"{_SUMMARY} WHERE trace_id = ? ORDER BY started_at, key", (trace_id,)
            ).fetchall()
            return [conversation_of(row, spans_of(cursor, row)) for row in rows]

    def count_before(self, started_at: float) -> int:
        """The number of transactions that began before this Unix time."""
        with self._file.reading() as cursor:
            return 0 if cursor is None else deleting.count_before(cursor, started_at)

    def unwanted_recordings(self) -> int:
        """The number of files of :attr:`audio_folder` that nobody wants, and that are still there:
        a round that could delete them is still to come."""
        with self._file.reading() as cursor:
            return 0 if cursor is None else recordings.count_unwanted(cursor)

    def errors(self, record: ConversationRecord) -> list[StoredError]:
        """Errors captured in a conversation, in order of time."""
        with self._file.reading() as cursor:
            if cursor is None:
                return []
            return stored_errors.of_conversation(
                cursor, record.trace_id, record.id, record.started_at
            )

    def trace_errors(self, trace_id: str) -> list[StoredError]:
        """Errors captured in whatever a trace holds, in order of time."""
        with self._file.reading() as cursor:
            return [] if cursor is None else stored_errors.of_trace(cursor, trace_id)

    def runs(self, record: ConversationRecord) -> bool:
        """True if a conversation has not ended, and its process isn't known to be gone."""
        with self._file.reading() as cursor:
            if cursor is None:
                return False
            row = cursor.execute(
                "SELECT process FROM conversation WHERE trace_id = ? AND id = ? "
                "AND started_at = ? AND ended_at IS NULL",
                (record.trace_id, text(record.id), record.started_at),
            ).fetchone()
            return row is not None and row["process"] not in gone_at_a_look(cursor)

    def recordings(self, conversation: ConversationRecord) -> list[Recording]:
        """The audio of a conversation, the earliest first: one file, as a rule, or none.

        While it is running the file grows, and can be read as far as it goes.
        """
        with self._file.reading() as cursor:
            if cursor is None:
                return []
            return recordings.of_conversation(
                cursor,
                self.audio_folder,
                conversation.trace_id,
                text(conversation.id),
                conversation.started_at,
            )

    def errors_by_event(self, id_or_prefix: str) -> list[StoredError]:
        """Errors that Sentry knows by this id, or one that begins so (of 8 characters or more)."""
        with self._file.reading() as cursor:
            return [] if cursor is None else stored_errors.by_event(cursor, id_or_prefix)


# -- queries ----------------------------------------------------------------------------------


def _matching(cursor: sqlite3.Cursor, wanted: str) -> list[Any]:
    """Rows that go by exactly this or, if none does, by something that begins with it.

    Where a trace has a conversation in it, that is what goes by the trace's id.
    """
    for condition in ("= ?1", "BETWEEN ?1 AND ?1 || char(0x10ffff)"):
        names = (f"{name} {condition}" for name in ("id", "trace_id", "root_span_id"))
        rows = cursor.execute(
            f"{_SUMMARY} WHERE {' OR '.join(names)} "
            "ORDER BY op = ?3 DESC, started_at DESC, key DESC LIMIT ?2",
            (wanted, _MATCHES + 1, OP_CONVERSATION),
        ).fetchall()
        if rows:
            return [row for row in rows if row["op"] == OP_CONVERSATION] or rows
    return []
