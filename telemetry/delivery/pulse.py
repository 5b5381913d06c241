"""All that the store is to be told: taken from running transactions, and from what delivery gave.

All of it in the store's thread. Nothing is forgotten before it has been committed: whatever
couldn't be written is written with the next transaction, or dropped for want of room, and counted.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ..encoding.values import paced
from ..frozen import freeze
from ..store import Owed, SpanRow, lost, recordings, rows, stored_errors, unsent
from . import chosen_audio, given
from .given import Error, Forget, Late, Put

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Container
    from pathlib import Path

    from ..records import AudioRecord
    from ..store import Unsent
    from ..trace.registry import Registry
    from ..trace.span import Span
    from ..trace.transaction import Transaction
    from .given import Change
    from .recovered import Notes

SPANS_AT_ONCE: Final = 500
"""Written in one transaction: other processes wait for its end."""
NOTES_SECONDS: Final = 2.0
"""Between two looks at what a running conversation's scopes say."""


# -- a running transaction -------------------------------------------------------------------------


@dataclass(slots=True)
class _News:
    """News of a transaction, to be written."""

    known_as: tuple[Any, ...]
    """What its row says."""
    notes: str | None
    finished: list[Span]
    opened: dict[str, tuple[Any, ...]]
    """Open spans that aren't stored as they are now, by id: what they are known by."""
    spans: list[Span]
    """Those; at the end also the root. Rows are made of them one by one: many objects at once would
    have garbage collected, which stops every loop of the process."""
    audio: tuple[AudioRecord, ...]
    """Its recordings."""
    is_over: bool
    key: int = 0
    """Of its row, once that is written."""


class _Running:
    """A transaction that delivery isn't done with, and what of it is stored."""

    def __init__(self, transaction: Transaction, *, owed: bool) -> None:
        self.transaction = transaction
        self.owed = owed
        self.finished: deque[Span] = deque()
        self.is_over = False
        """Its end is stored."""
        self.key = 0
        """Of its row; 0 while there is none."""
        self.known_as: tuple[Any, ...] = ()
        """What its row says."""
        self.notes: str | None = None
        self.audio: tuple[AudioRecord, ...] = ()
        self._noted_at = float("-inf")
        self._noted: str | None = None
        """The last notes, stored or not."""
        self._heard: tuple[Any, ...] = ()
        """What they are made of."""
        self._open: dict[str, tuple[Any, ...]] = {}

    @property
    def rows(self) -> int:
        """Spans that have ended and aren't stored."""
        return len(self.finished)

    def take(self) -> None:
        """Take what has ended."""
        self.finished.extend(self.transaction.spans.take_unstored())

    def forget_what_is_stored(self) -> None:
        """Have all of it written that is still known."""
        self.key = 0
        self.known_as = self.audio = ()
        self.notes = None
        self.is_over = False
        self._open.clear()
        self.finished.extend(span for span in self.transaction.spans.all() if not span.is_open)

    def news(self, notes: Notes, most: int) -> _News | None:
        """Take stock of what isn't stored yet, at most so many spans; None if all is."""
        transaction, root = self.transaction, self.transaction.root
        is_over = transaction.ended and root.ended_at is not None
        if not is_over and transaction.ended and not self.key:
            return None  # it is just ending, in another thread
        finished = [*islice(self.finished, most)]
        opened = {} if is_over else self._opened()
        ends = is_over and not self.is_over
        noted = self._notes(notes, is_over=is_over)
        news = _News(
            transaction.known_as() if is_over or not transaction.ended else self.known_as,
            noted,
            finished,
            opened,
            [*finished, *self._still(opened), *([root] if ends else ())],
            tuple(file.record for file in transaction.audio if file.record is not None),
            is_over,
        )
        is_known = not news.spans and not self.says_more(news) and news.audio == self.audio
        return None if is_known else news

    def says_more(self, news: _News) -> bool:
        """True if its row doesn't say all of this yet."""
        return not self.key or news.known_as != self.known_as or news.notes != self.notes

    def written(self, news: _News) -> None:
        """All of it is stored now."""
        for span in news.finished:
            self.finished.popleft()
            self._open.pop(span.id, None)
        self._open |= news.opened
        self.key, self.known_as, self.notes = news.key, news.known_as, news.notes
        self.audio, self.is_over = news.audio, news.is_over

    def _still(self, opened: Container[str]) -> list[Span]:
        """Spans of these that are open."""
        return [span for span in self.transaction.spans.open() if span.id in opened]

    def _opened(self) -> dict[str, tuple[Any, ...]]:
        found = {}
        for span in self.transaction.spans.open():
            if span.late:
                continue
            known = (
                span.status,
                span.name,
                tuple(span.attributes),
                *map(id, span.attributes.values()),
            )
            if self._open.get(span.id) != known:
                found[span.id] = known
        return found

    def _notes(self, notes: Notes, *, is_over: bool) -> str | None:
        """Notes for whoever has to send it."""
        if not self.owed:
            return None
        if self.is_over:
            return self.notes
        now = time.monotonic()
        if is_over or now - self._noted_at > NOTES_SECONDS:
            self._noted_at = now
            if (heard := notes.heard(self.transaction)) != self._heard:
                self._heard, self._noted = heard, notes.of(self.transaction)
        return self._noted

    def row(self, span: Span) -> SpanRow:
        """A span as a row."""
        record = span.record()
        is_open = span.ended_at is None
        if is_open:
            freeze(record.attributes)  # type: ignore[arg-type]  # a dict of its own
        if not self.owed:
            return SpanRow(record, is_open=is_open)
        op, name = span.written()
        return SpanRow(record, is_open=is_open, code=(_code(op), _code(name)))


def _code(written: Any) -> str:
    return str.__str__(written.code)


# -- all of them -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Done:
    """Writes in a transaction that isn't committed yet."""

    news: list[tuple[_Running, _News]] = field(default_factory=list)
    is_all: bool = False
    """True if nothing of a transaction is left for the next."""
    changes: int = 0
    settled: list[int] = field(default_factory=list)
    puts: list[Unsent] = field(default_factory=list)
    forgotten: bool = False
    sent_left: bool = False


class Pulse:
    """Everything that isn't stored yet.

    Args:
        registry: the transactions of the process.
        notes: says how they are to be sent by whoever finds them.
        sends: whether a transaction is to be sent at all.
        audio_folder: the folder of the store's recordings.
    """

    def __init__(
        self,
        registry: Registry,
        notes: Notes,
        sends: Callable[[Transaction], bool],
        audio_folder: Path,
    ) -> None:
        self._registry = registry
        self._notes = notes
        self._sends = sends
        self._audio_folder = audio_folder
        self._running: dict[int, _Running] = {}
        self._changes: deque[Change] = deque()

    @property
    def rows(self) -> int:
        """Spans and errors that aren't stored, of those that have been taken."""
        running = [*self._running.values()]
        return sum(one.rows for one in running) + sum(one.rows for one in [*self._changes])

    @property
    def is_busy(self) -> bool:
        """True while transactions are open."""
        return bool(self._running)

    def take(self, change: Change) -> None:
        """Take what delivery gave."""
        if isinstance(change, Put) and change.of is not None:
            self._of(change.of)  # delivery is done with it, so nobody else knows it any more
        if isinstance(change, Forget):
            self._spare(change)
        self._changes.append(change)

    def look(self) -> None:
        """Take what has ended in running transactions."""
        for transaction in self._registry.alive():
            self._of(transaction)
        for running in self._running.values():
            running.take()

    def forget_what_is_stored(self) -> None:
        """The file is another one."""
        for running in self._running.values():
            running.forget_what_is_stored()

    def plan(self) -> Done | None:
        """Choose what to write next: at most :data:`SPANS_AT_ONCE`; None if there is nothing."""
        done = Done()
        room = SPANS_AT_ONCE
        for running in self._running.values():
            news = running.news(self._notes, room)
            if news is None:
                continue
            room -= len(news.finished)
            done.news.append((running, news))
            if len(news.finished) < len(running.finished) or room <= 0:
                return done
        done.is_all = True
        return done if done.news or self._changes else None

    def write(self, cursor: sqlite3.Cursor, process: int, done: Done) -> None:
        """Write what was planned; nothing is forgotten before :meth:`written`."""
        keys: dict[int, int] = {}
        for running, news in done.news:
            news.key = self._write_news(cursor, process, running, news)
            keys[id(running.transaction)] = news.key
        if done.is_all:  # changes come after the spans of their transactions
            for change in self._changes:
                self._apply(cursor, process, change, keys, done)
                done.changes += 1

    def written(self, done: Done) -> None:
        """Forget what was written: it is committed."""
        for running, news in done.news:
            running.written(news)
        for _ in range(done.changes):
            self._changes.popleft()
        for identity in done.settled:
            self._running.pop(identity, None)

    def shed(self, *, everything: bool) -> tuple[dict[str, int], int]:
        """Drop what there is no room for: envelopes, by key, and a number of spans and errors.

        Or everything, where nothing can ever be written.
        """
        most_rows, most_bytes = (0, -1) if everything else (given.ROWS, given.BYTES)
        keys: dict[str, int] = {}
        puts = [one for one in self._changes if isinstance(one, Put) and one.unsent]
        size = sum(len(each.envelope) for put in puts for each in put.unsent)
        for put in sorted(puts, key=lambda one: -one.unsent[0].worth):  # the oldest of them first
            if size <= most_bytes:
                break
            size -= sum(len(each.envelope) for each in put.unsent)
            keys |= {each.key: each.events for each in put.unsent}
            put.unsent = ()
        dropped = 0
        while (excess := self.rows - most_rows) > 0:
            before = dropped
            for running in self._running.values():
                for _ in range(min(len(running.finished), excess - (dropped - before))):
                    running.finished.popleft()
                    dropped += 1
            if dropped == before:
                dropped += self._shed_changes(excess)
                break
        if everything:
            dropped += self._forget_ended()
        return keys, dropped

    def _forget_ended(self) -> int:
        """Drop the ends of transactions, and what was to be written of them."""
        settled = [one.of for one in self._changes if isinstance(one, Put) and one.of is not None]
        for transaction in settled:
            self._running.pop(id(transaction), None)
        self._changes.clear()
        return len(settled)

    def _shed_changes(self, excess: int) -> int:
        """Drop the oldest late spans and errors."""
        least = [one for one in self._changes if isinstance(one, (Late, Error))][:excess]
        self._changes = deque(one for one in self._changes if one not in least)
        return len(least)

    def _of(self, transaction: Transaction) -> _Running:
        running = self._running.get(id(transaction))
        if running is None:
            running = _Running(transaction, owed=self._sends(transaction))
            self._running[id(transaction)] = running
        return running

    def _spare(self, forget: Forget) -> None:
        """Don't write what would be deleted at once."""
        for change in self._changes:
            if isinstance(change, Put) and change.unsent:
                change.unsent = tuple(one for one in change.unsent if one.key not in forget.keys)

    def _write_news(
        self, cursor: sqlite3.Cursor, process: int, running: _Running, news: _News
    ) -> int:
        """Write it; the key of the transaction's row."""
        transaction, key = running.transaction, running.key
        if running.says_more(news) or not rows.is_stored(
            cursor, key, trace_id=transaction.trace_id, process=process
        ):
            record = transaction.record()
            key = rows.put_conversation(
                cursor,
                record,
                ended_at=record.ended_at,
                process=process,
                owed=Owed.BY_ITS_PROCESS if running.owed else Owed.NOTHING,
                facts=news.notes,
            )
        rows.put_spans(cursor, key, map(running.row, paced(news.spans)))
        recordings.put(cursor, key, news.audio)
        return key

    def _apply(
        self,
        cursor: sqlite3.Cursor,
        process: int,
        change: Change,
        keys: dict[int, int],
        done: Done,
    ) -> None:
        match change:
            case Put(of=transaction, left=left):
                if transaction is not None:
                    key = keys.get(id(transaction))
                    if key is None:
                        key = rows.key_of(cursor, transaction.record())
                    rows.put_handed(cursor, key, change.handed)
                    if change.settles:
                        rows.settle(cursor, key)
                        chosen_audio.choose(cursor, key, transaction, self._audio_folder)
                        done.settled.append(id(transaction))
                if left is not None:
                    lost.sent(cursor, left)
                    done.sent_left = True
                unsent.put(cursor, process, change.unsent)
                done.puts += change.unsent
            case Late(transaction, span):
                row = [SpanRow(span.record())]
                rows.add_spans(cursor, transaction.trace_id, transaction.id, row)
            case Error(error, event):
                stored_errors.add(cursor, None, error, event)
            case Forget(keys=gone):
                unsent.forget(cursor, gone)
                done.forgotten = True
