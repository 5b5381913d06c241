"""The index: what all stores hold, in tables made for the views, in memory.

A conversation that has ended doesn't change, so its spans are read once. What is new is looked for
when somebody asks, in a few milliseconds; spans are read by a thread of its own, the newest
conversation first, so that ten thousand of them keep nobody waiting. What people said isn't written
to another file by that, and is gone with the process.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ..printable import printable
from ..store import TraceStoreError
from .figures import figures_of
from .search import BETWEEN
from .seen import ROWS, Seen, mark
from .tables import STAGE_COLUMNS, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..store import TraceStore
    from .figures import Figures

log = logging.getLogger(__name__)

FRESH_SECONDS: Final = 0.2
"""The stores are looked at no more often."""
_PATIENCE_SECONDS: Final = 0.1
_AT_ONCE: Final = 50
"""Conversations whose spans are read between two looks at what is newer."""
_COLUMNS: Final = (
    "outcome",
    "turns",
    "interruptions",
    "input_tokens",
    "output_tokens",
    "cost",
    "heard_seconds",
    "spoken_seconds",
    "spans",
    "orphans",
    "late",
    "open_at_finish",
)
"""Columns of an entry that have the names of its figures."""
_VALUES: Final = (
    "key",
    "id",
    "trace_id",
    "root_span_id",
    "op",
    "name",
    "started_at",
    "ended_at",
    "status",
    "tags",
    "release",
)
_PUT: Final = """
INSERT INTO entry (store, runs, key, id, trace_id, root, op, name, started_at, ended_at, status,
    tags, release)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (store, key) DO UPDATE SET id = excluded.id, trace_id = excluded.trace_id,
    root = excluded.root, op = excluded.op, name = excluded.name,
    started_at = excluded.started_at, ended_at = excluded.ended_at, status = excluded.status,
    runs = excluded.runs, tags = excluded.tags, release = excluded.release
RETURNING number
"""


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
        self._changed = threading.Condition(threading.Lock())
        self._filling: threading.Thread | None = None
        self._closed = False

    # -- asked by the views --------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Cursor]:
        """The tables, as new as the stores, for a short query."""
        self.refresh()
        with self._lock:
            cursor = self._connection.cursor()
            cursor.row_factory = sqlite3.Row
            yield cursor

    @property
    def pending(self) -> int:
        """The number of conversations whose spans are still to be read."""
        with self._changed:
            return len(self._pending)

    @property
    def problems(self) -> list[str]:
        """A line of text for each store that can't be read."""
        return [seen.problem for seen in self._seen if seen.problem is not None]

    def wait(self, timeout: float) -> bool:
        """Wait until the spans of all that is there were read; False if they weren't in time."""
        self.refresh(at_once=True)
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout)

    def settle(self) -> None:
        """Wait a moment, so that a page that is opened shows what was just said."""
        self.refresh()
        with self._changed:
            self._changed.wait_for(lambda: not self._pending, _PATIENCE_SECONDS)

    def touch(self, store: TraceStore, keys: Sequence[int]) -> None:
        """Look again at conversations of a store that have ended: something was added to them."""
        with self._refreshing:
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
                self._forget(number)
                self._seen[number] = Seen()
            if cursor is None:
                return
            seen = self._seen[number]
            rows = cursor.execute(
                f"{ROWS} WHERE key > ? OR ended_at IS NULL ORDER BY key", (seen.last_key,)
            ).fetchall()
            for key in seen.again({row["key"] for row in rows}):
                rows += cursor.execute(f"{ROWS} WHERE key = ?", (key,)).fetchall()
            running = any(row["ended_at"] is None for row in rows)
            gone = set(seen.observer.gone(cursor, None)) if running else set()
            (count,) = cursor.execute("SELECT count(*) FROM conversation").fetchone()
            errors = self._errors(cursor, seen)
            self._take(number, seen, rows, gone, errors)
            with self._lock:
                (have,) = self._connection.execute(
                    "SELECT count(*) FROM entry WHERE store = ?", (number,)
                ).fetchone()
            if have != count:  # some were forgotten, or deleted
                keys = {key for (key,) in cursor.execute("SELECT key FROM conversation")}
                self._forget(number, keys)

    def _errors(self, cursor: sqlite3.Cursor, seen: Seen) -> list[tuple[int, int]] | None:
        """The number of errors of each conversation; None if there are no new ones."""
        (last,) = cursor.execute("SELECT coalesce(max(rowid), 0) FROM error").fetchone()
        if last == seen.last_error:
            return None
        seen.last_error = last
        return [
            (key, count)
            for key, count in cursor.execute(
                "SELECT conversation, count(*) FROM error WHERE conversation IS NOT NULL GROUP BY 1"
            )
        ]

    def _take(
        self,
        store: int,
        seen: Seen,
        rows: Sequence[sqlite3.Row],
        gone: set[int],
        errors: list[tuple[int, int]] | None,
    ) -> None:
        """Put rows of a store into the index, and note that their spans are to be read."""
        pending: dict[tuple[int, int], int] = {}
        with self._lock:
            cursor = self._connection.cursor()
            cursor.execute("BEGIN")
            for row in rows:
                key, is_open = row["key"], row["ended_at"] is None
                runs = is_open and row["process"] not in gone
                values = (row[name] for name in _VALUES)
                (number,) = cursor.execute(_PUT, (store, runs, *values)).fetchone()
                pending[store, key] = number
                about = [row["id"], row["name"], row["trace_id"], row["user"], row["tags"]]
                _put_about(cursor, number, " ".join(map(str, about)))
                seen.settle(key, is_open=is_open)
            if errors is not None:
                cursor.executemany(
                    "UPDATE entry SET errors = ?3 WHERE store = ?1 AND key = ?2",
                    ((store, key, count) for key, count in errors),
                )
            cursor.execute("COMMIT")
            for row in rows:
                if row["key"] >= seen.last_key:
                    seen.last_key, seen.last = row["key"], mark(row)
        with self._changed:
            self._pending.update(pending)
            self._changed.notify_all()

    def _forget(self, store: int, but: set[int] | None = None) -> None:
        """Delete the entries of a store, but for those of some keys."""
        with self._lock:
            cursor = self._connection.cursor()
            numbers = [
                (number,)
                for number, key in cursor.execute(
                    "SELECT number, key FROM entry WHERE store = ?", (store,)
                )
                if but is None or key not in but
            ]
            cursor.execute("BEGIN")
            cursor.executemany("DELETE FROM words WHERE rowid = ?", numbers)
            cursor.executemany("DELETE FROM entry WHERE number = ?", numbers)
            cursor.execute("COMMIT")

    # -- the thread that reads spans -------------------------------------------------------------

    def _fill(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closed)
                if self._closed:
                    return
                newest = sorted(self._pending.items(), key=lambda one: one[1], reverse=True)
            self._read(newest[:_AT_ONCE])

    def _read(self, wanted: Sequence[tuple[tuple[int, int], int]]) -> None:
        """Read the spans of some conversations, and note what they say."""
        done: list[tuple[tuple[int, int], int, Figures]] = []
        for store in {place[0] for place, _ in wanted}:
            try:
                with self._stores[store].reading() as cursor:
                    for place, number in wanted:
                        if cursor is None or place[0] != store:
                            continue
                        if (found := _figures(cursor, place[1])) is not None:
                            done.append((place, number, found))
            except TraceStoreError as error:
                self._seen[store].problem = str(error)
        with self._lock:
            cursor = self._connection.cursor()
            cursor.execute("BEGIN")
            for _, number, found in done:
                _put(cursor, number, found)
            cursor.execute("COMMIT")
        with self._changed:
            for place, number in wanted:
                if self._pending.get(place) == number:
                    del self._pending[place]
            self._changed.notify_all()


def _figures(cursor: sqlite3.Cursor, key: int) -> Figures | None:
    """The figures of a conversation; None if it isn't there any more, or nobody can read it."""
    row = cursor.execute(
        "SELECT root_span_id, ended_at FROM conversation WHERE key = ?", (key,)
    ).fetchone()
    if row is None:
        return None
    try:
        return figures_of(cursor, key, row["root_span_id"], row["ended_at"])
    except (ArithmeticError, LookupError, TypeError, ValueError):  # whoever wrote it
        log.exception("conversation %d can't be read", key)
        return None


def _put_about(cursor: sqlite3.Cursor, number: int, about: str) -> None:
    about = printable(about)
    if not cursor.execute("UPDATE words SET about = ? WHERE rowid = ?", (about, number)).rowcount:
        cursor.execute("INSERT INTO words (rowid, said, about) VALUES (?, '', ?)", (number, about))


def _put(cursor: sqlite3.Cursor, number: int, found: Figures) -> None:
    values: dict[str, Any] = {name: getattr(found, name) for name in _COLUMNS}
    values |= {"p50": found.percentile(0.5), "p95": found.percentile(0.95)}
    assignments = ", ".join(f"{name} = ?" for name in values)
    there = cursor.execute(
        f"UPDATE entry SET {assignments} WHERE number = ?",  # noqa: S608 - names of ours
        (*values.values(), number),
    ).rowcount
    if not there:  # it was forgotten meanwhile
        return
    said = f" {BETWEEN} ".join(printable(line) for line in found.words.splitlines())
    cursor.execute("UPDATE words SET said = ? WHERE rowid = ?", (said, number))
    cursor.execute("DELETE FROM response WHERE entry = ?", (number,))
    columns = ("entry", "at", "latency", *STAGE_COLUMNS, "models", "providers")
    marks = ", ".join("?" * len(columns))
    cursor.executemany(
        f"INSERT INTO response ({', '.join(columns)}) VALUES ({marks})",  # noqa: S608 - ours
        (
            (
                number,
                each.at,
                each.latency,
                *(each.stages.get(name.removeprefix("stage_")) for name in STAGE_COLUMNS),
                json.dumps(each.models),
                json.dumps(each.providers),
            )
            for each in found.responses
        ),
    )
