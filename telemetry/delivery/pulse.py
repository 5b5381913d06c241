"""All that the store is to be told: taken from running transactions, and from what delivery gave.

All of it in the store's thread. Nothing is forgotten before it has been committed: whatever
couldn't be written is written with the next transaction, or dropped for want of room, and counted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..encoding.values import paced
from ..store import Owed, SpanRow, lost, recordings, rows, stored_errors, unsent
from . import chosen_audio, given
from .given import Error, Forget, Late, Put
from .running import Running

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from ..store import Unsent
    from ..trace.registry import Registry
    from ..trace.transaction import Transaction
    from .given import Change
    from .recovered import Notes
    from .running import News

SPANS_AT_ONCE: Final = 500
"""Written in one transaction: other processes wait for its end."""


@dataclass(slots=True)
class Done:
    """Writes in a transaction that isn't committed yet."""

    news: list[tuple[Running, News]] = field(default_factory=list)
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
        self._running: dict[int, Running] = {}
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

    def _of(self, transaction: Transaction) -> Running:
        running = self._running.get(id(transaction))
        if running is None:
            running = Running(transaction, owed=self._sends(transaction))
            self._running[id(transaction)] = running
        return running

    def _spare(self, forget: Forget) -> None:
        """Don't write what would be deleted at once."""
        for change in self._changes:
            if isinstance(change, Put) and change.unsent:
                change.unsent = tuple(one for one in change.unsent if one.key not in forget.keys)

    def _write_news(
        self, cursor: sqlite3.Cursor, process: int, running: Running, news: News
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
