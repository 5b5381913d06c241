"""The index: what all stores hold, in tables made for the views, in memory.

A conversation that has ended doesn't change, so its spans are read once. What is new is looked for
when somebody asks, in a few milliseconds; spans are read by a thread of its own, the newest
conversation first, so that ten thousand of them keep nobody waiting. What people said isn't written
to another file by that, and is gone with the process.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ..printable import printable
from ..store import TraceStoreError
from . import entries
from .figures import figures_of
from .seen import ROWS, Seen, mark
from .tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..store import TraceStore
    from .figures import Figures

log = logging.getLogger(__name__)

FRESH_SECONDS: Final = 0.2
"""The stores are looked at no more often."""
_PATIENCE_SECONDS: Final = 0.1
_AT_FIRST: Final = 300
"""Rows that are looked at before the first page is shown, and at a time of those before them."""
_AT_ONCE: Final = 50
"""Conversations whose spans are read between two looks at what is newer."""
_STEPS: Final = 200
"""Steps of SQLite's machine between two looks at the clock, in a query that has a time limit."""
_AFTER_A_FAILURE_SECONDS: Final = 1.0
"""What can't be read now is tried again after so long, unless there is something else to read."""


class Index:
    """The index of some stores. Any thread may ask."""

    def __init__(self, stores: Sequence[TraceStore]) -> None:
        self._stores = tuple(stores)
        self._seen = [Seen() for _ in stores]
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False
        )
        self._connection.executescript(f"PRAGMA foreign_keys = ON; {TABLES}")
        self._lock = threading.Lock()
        """Held for as long as a query takes."""
        self._refreshing = threading.Lock()
        self._refreshed_at = -FRESH_SECONDS
        self._pending: dict[tuple[int, int], int] = {}
        """Of what is to be read: store and key, with the entry's number."""
        self._at_work: list[tuple[tuple[int, int], int]] = []
        """Of that, what is being read."""
        self._changed = threading.Condition(threading.Lock())
        self._filling: threading.Thread | None = None
        self._closed = False

    # -- asked by the views --------------------------------------------------------------------

    @contextmanager
    def reading(self, seconds: float | None = None) -> Iterator[sqlite3.Cursor]:
        """The tables, as new as the stores, for a short query.

        Args:
            seconds: the time after which a query is given up.

        Raises:
            TimeoutError: one was.
        """
        self.refresh()
        with self._lock:
            cursor = self._connection.cursor()
            cursor.row_factory = sqlite3.Row
            if seconds is None:
                yield cursor
                return
            until = time.monotonic() + seconds
            self._connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
            try:
                yield cursor
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                    raise
                raise TimeoutError from error
            finally:
                self._connection.set_progress_handler(None, 0)

    @property
    def pending(self) -> int:
        """The number of conversations whose spans are still to be read."""
        with self._changed:
            return len(self._pending) + len(self._at_work) + self._unseen()

    @property
    def problems(self) -> list[str]:
        """A line of text for each store that can't be read, or not all of it."""
        found: list[str] = []
        for store, seen in zip(self._stores, self._seen, strict=True):
            found += [] if seen.problem is None else [seen.problem]
            if unread := [*seen.unread.values()]:
                found.append(
                    f"{store.path}: conversations whose figures are left out, because they can't "
                    f"be read: {len(unread)}; of the first: {printable(unread[0], 200)}"
                )
        return found

    def wait(self, timeout: float) -> bool:
        """Wait until the spans of all that is there were read; False if they weren't in time."""
        self.refresh(at_once=True)
        with self._changed:
            return self._changed.wait_for(self._is_done, timeout)

    def settle(self) -> None:
        """Wait a moment, so that a page that is opened shows what was just said."""
        self.refresh()
        with self._changed:
            self._changed.wait_for(self._is_done, _PATIENCE_SECONDS)

    def _is_done(self) -> bool:
        return not (self._pending or self._at_work or self._unseen())

    def touch(self, store: TraceStore, keys: Sequence[int]) -> None:
        """Look again at conversations of a store: something was added to them."""
        with self._refreshing:
            self._refreshed_at = -FRESH_SECONDS
            for one, seen in zip(self._stores, self._seen, strict=True):
                if one is store:
                    seen.unsettled.update(dict.fromkeys(keys, time.monotonic()))
                    seen.looked_again_at = 0.0

    def close(self) -> None:
        """End the thread that reads. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._filling is not None:
            self._filling.join()

    # -- what is new ---------------------------------------------------------------------------

    def refresh(self, *, at_once: bool = False) -> None:
        """Look for what is new in the stores, unless somebody has just done so."""
        with self._refreshing:
            if not at_once and time.monotonic() - self._refreshed_at < FRESH_SECONDS:
                return
            for number, store in enumerate(self._stores):
                try:
                    self._look_at(number, store)
                    self._seen[number].problem = None
                except TraceStoreError as error:
                    self._seen[number].problem = str(error)
            self._refreshed_at = time.monotonic()
        if self._filling is None:
            with self._changed:
                if self._filling is None and not self._closed:
                    self._filling = threading.Thread(
                        target=self._fill, name="viewer-index", daemon=True
                    )
                    self._filling.start()

    def _look_at(self, number: int, store: TraceStore) -> None:
        with store.reading() as cursor:
            if cursor is None or self._seen[number].is_another(cursor):
                with self._writing() as index:
                    entries.forget(index, number)
                self._seen[number] = Seen()
            if cursor is None:
                return
            seen = self._seen[number]
            if seen.first_key is None:
                (last,) = cursor.execute("SELECT max(key) FROM conversation").fetchone()
                seen.first_key = max((last or 0) - _AT_FIRST, 0)
            rows = cursor.execute(
                f"{ROWS} WHERE key > ? ORDER BY key", (max(seen.last_key, seen.first_key),)
            ).fetchall()
            for key in seen.again({row["key"] for row in rows}):
                rows += cursor.execute(f"{ROWS} WHERE key = ?", (key,)).fetchall()
            self._take(number, cursor, rows)
            self._forget_deleted(number, cursor)

    def _look_back(self) -> None:
        """Look at some of what was there before the first look."""
        failure: TraceStoreError | None = None
        with self._refreshing:
            for number, (store, seen) in enumerate(zip(self._stores, self._seen, strict=True)):
                if not seen.first_key:
                    continue
                between = (max(seen.first_key - _AT_FIRST, 0), seen.first_key)
                try:
                    with store.reading() as cursor:
                        if cursor is not None and not seen.is_another(cursor):
                            rows = cursor.execute(
                                f"{ROWS} WHERE key > ? AND key <= ? ORDER BY key", between
                            ).fetchall()
                            self._take(number, cursor, rows)
                except TraceStoreError as error:
                    failure = error
                    continue
                seen.first_key = between[0]  # now that they are taken
                return
        if failure is not None:
            raise failure

    def _forget_deleted(self, number: int, cursor: sqlite3.Cursor) -> None:
        """Forget what isn't in a store any more, if there is less in it than there was."""
        above = (self._seen[number].first_key,)
        (count,) = cursor.execute(
            "SELECT count(*) FROM conversation WHERE key > ?", above
        ).fetchone()
        with self._lock:
            (have,) = self._connection.execute(
                "SELECT count(*) FROM entry WHERE store = ?", (number,)
            ).fetchone()
        if have != count:
            keys = {
                key
                for (key,) in cursor.execute("SELECT key FROM conversation WHERE key > ?", above)
            }
            with self._writing() as index:
                entries.forget(index, number, keys)
            for key in self._seen[number].unread.keys() - keys:
                self._seen[number].unread.pop(key, None)

    def _errors(self, cursor: sqlite3.Cursor, seen: Seen, *, again: bool) -> list[tuple[int, int]]:
        """The number of errors of each conversation, if there are new ones, or ``again``."""
        (last,) = cursor.execute("SELECT coalesce(max(rowid), 0) FROM error").fetchone()
        if last == seen.last_error and not again:
            return []
        seen.last_error = last
        return [
            (key, count)
            for key, count in cursor.execute(
                "SELECT conversation, count(*) FROM error WHERE conversation IS NOT NULL GROUP BY 1"
            )
        ]

    def _take(self, store: int, cursor: sqlite3.Cursor, rows: Sequence[sqlite3.Row]) -> None:
        """Put rows of a store into the index, and note that their spans are to be read."""
        seen = self._seen[store]
        are_open = any(row["ended_at"] is None for row in rows)
        gone = set(seen.observer.gone(cursor, None)) if are_open else set()
        errors = self._errors(cursor, seen, again=bool(rows))
        if not rows and not errors:
            return
        pending: dict[tuple[int, int], int] = {}
        with self._writing() as index:
            for row in rows:
                key = row["key"]
                runs = row["ended_at"] is None and row["process"] not in gone
                pending[store, key] = entries.put(index, store, row, runs=runs)
                seen.settle(key, row["ended_at"], runs=runs)
                if key >= seen.last_key:
                    seen.last_key, seen.last = key, mark(row)
            entries.put_errors(index, store, errors)
            entries.relist(index, {row["trace_id"] for row in rows})
        with self._changed:
            self._pending.update(pending)
            self._changed.notify_all()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Cursor]:
        """One transaction of the index: all of it or, after an error, nothing."""
        with self._lock, self._connection:
            cursor = self._connection.cursor()
            cursor.execute("BEGIN")
            yield cursor

    # -- the thread that reads spans -------------------------------------------------------------

    def _fill(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closed or self._unseen() > 0)
                if self._closed:
                    return
                # the last that were noted are the newest
                self._at_work = [
                    self._pending.popitem() for _ in range(min(_AT_ONCE, len(self._pending)))
                ]
            failed = False
            try:
                if self._at_work:
                    self._read(self._at_work)
                else:
                    self._look_back()
            except Exception:  # the thread goes on, whatever anybody has written
                log.exception("a store can't be read")
                failed = True
            with self._changed:
                self._at_work = []
                self._changed.notify_all()
                if failed:
                    self._changed.wait_for(
                        lambda: self._pending or self._closed, _AFTER_A_FAILURE_SECONDS
                    )

    def _unseen(self) -> int:
        """The number of conversations that weren't looked at yet, or more."""
        return sum(seen.first_key or 0 for seen in self._seen)

    def _read(self, wanted: Sequence[tuple[tuple[int, int], int]]) -> None:
        """Read the spans of some conversations, and note what they say."""
        for store in {place[0] for place, _ in wanted}:
            mine = [(place[1], number) for place, number in wanted if place[0] == store]
            try:
                with self._stores[store].reading() as cursor:
                    if cursor is not None:
                        for key, number in mine:
                            self._read_one(cursor, self._seen[store], key, number)
                            time.sleep(0)  # whoever asks for a page goes first
            except TraceStoreError as error:
                log.warning("%s", error)
                with self._refreshing:  # and they are looked at again
                    seen, now = self._seen[store], time.monotonic()
                    for key, _ in mine:
                        seen.unread[key] = str(error)
                        seen.unsettled.setdefault(key, now)

    def _read_one(self, cursor: sqlite3.Cursor, seen: Seen, key: int, number: int) -> None:
        """Read the spans of one. If that can't be done, whoever wrote it, it keeps no other from
        being read; it is told as a problem."""
        try:
            found = _figures(cursor, key)
            if found is not None:
                with self._writing() as index:
                    entries.put_figures(index, number, *found)
        except Exception as error:
            if key not in seen.unread:
                log.exception("conversation %d can't be read", key)
            seen.unread[key] = f"{type(error).__name__}: {error}"
        else:
            seen.unread.pop(key, None)


def _figures(cursor: sqlite3.Cursor, key: int) -> tuple[str, Figures] | None:
    """The names and the figures of a conversation; None if it isn't there any more."""
    row = cursor.execute(f"{ROWS} WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    about = " ".join(str(row[name]) for name in ("id", "name", "trace_id", "user", "tags"))
    return about, figures_of(cursor, key, row["root_span_id"], row["ended_at"])
