"""The file behind the trace store: its tables, how it is opened and shared, its errors.

The writer has one connection, opened by its first write. Every read opens a read-only connection
of its own, from any thread or process, and sees a snapshot while writing goes on: the file is in
WAL mode (https://sqlite.org/wal.html). What was committed survives a process that dies. Several
processes may write to one file; each waits for the others' transactions, which are short. The file
holds what people said, so it is created readable by its owner only.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import tempfile
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import TelemetryError

if TYPE_CHECKING:
    from collections.abc import Iterator

_APPLICATION: Final = 0x56545243  # "VTRC": tells our files from other SQLite files
_VERSION: Final = 3
_BUSY_SECONDS: Final = 5.0
"""The wait for another process's transaction."""

_URI: Final = re.compile(r"file:|[a-z][a-z0-9+.-]+:/")
"""The beginning of what other programs take for the place of a database."""

_SCHEMA: Final = """
CREATE TABLE conversation (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    root_span_id TEXT,
    op TEXT NOT NULL,
    name TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL,
    status TEXT NOT NULL,
    user TEXT NOT NULL,
    tags TEXT NOT NULL,
    UNIQUE (trace_id, id, started_at)
);
CREATE INDEX conversation_by_id ON conversation (id);
CREATE INDEX conversation_by_trace ON conversation (trace_id);
CREATE INDEX conversation_by_root ON conversation (root_span_id);
CREATE INDEX conversation_by_start ON conversation (started_at);
CREATE TABLE span (
    conversation INTEGER NOT NULL REFERENCES conversation ON DELETE CASCADE,
    span_id TEXT NOT NULL,
    parent_span_id TEXT,
    op TEXT NOT NULL,
    name TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL NOT NULL,
    status TEXT NOT NULL,
    origin TEXT NOT NULL,
    attributes TEXT NOT NULL,
    PRIMARY KEY (conversation, span_id)
) WITHOUT ROWID;
CREATE TABLE error (
    conversation INTEGER REFERENCES conversation ON DELETE CASCADE,
    trace_id TEXT,
    span_id TEXT,
    time REAL NOT NULL,
    type TEXT NOT NULL,
    message TEXT NOT NULL,
    event_id TEXT,
    event TEXT
);
CREATE INDEX error_by_event ON error (event_id);
CREATE INDEX error_by_conversation ON error (conversation);
CREATE INDEX error_by_time ON error (time);
"""


class TraceStoreError(TelemetryError):
    """The store's file can't be used. One line: what, where, how to fix it."""


class SqliteFile:
    """A SQLite file with our tables, which the first write creates.

    Raises:
        TraceStoreError: the path can't hold such a file, or holds something else. Every method
            raises it too, when the file can't be used any more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._writing = threading.Lock()
        with self._reported():
            problem = _problem(path)
        if problem is not None:
            raise TraceStoreError(f"the trace store at {path} can't be used: {problem}")
        if self._exists():
            with self.reading():
                return

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Cursor]:
        """One transaction: all of it or, after an error, nothing."""
        with self._writing, self._reported():
            if self._connection is None:
                self._connection = self._open_writer()
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            finally:
                if self._connection.in_transaction:  # SQLite itself ends some that fail
                    cursor.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Cursor | None]:
        """A snapshot to read from, or None while nothing has been written."""
        if not self._exists():
            yield None
            return
        with self._reported():
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            folder = self.path.absolute().parent
            if not os.access(folder, os.W_OK) and not Path(f"{self.path}-wal").exists():
                uri += "&immutable=1"  # WAL wants to make files, but here nobody can be writing
            with closing(
                sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
            ) as connection:
                connection.row_factory = sqlite3.Row
                cursor = connection.cursor()
                cursor.execute("BEGIN")
                yield cursor if self._check(cursor) else None

    def close(self) -> None:
        """Close the writer's connection. Idempotent; a later write opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with self._reported():
                connection.close()

    def pause(self) -> None:
        """Before a fork: wait for the transaction that is going on and close the connection.

        SQLite's connections don't survive a fork, in the parent neither: locks are a process's.
        """
        self._writing.acquire()
        self.close()

    def resume(self) -> None:
        """After it, in both processes: the next write opens a connection of its own."""
        self._writing.release()

    def _open_writer(self) -> sqlite3.Connection:
        Path(os.path.realpath(self.path)).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        # One thread writes, but another may close after it: sqlite itself is thread-safe
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            cursor = connection.cursor()
            # before anything is written: a file that isn't ours stays as it is
            cursor.execute("BEGIN")
            self._check(cursor)
            cursor.execute("COMMIT")
            _use_wal(cursor)
            cursor.execute("PRAGMA synchronous = NORMAL")  # survives the process, not the power
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.execute("BEGIN IMMEDIATE")
            if not self._check(cursor):
                for statement in _SCHEMA.split(";"):
                    cursor.execute(statement)
                cursor.execute(f"PRAGMA application_id = {_APPLICATION}")
                cursor.execute(f"PRAGMA user_version = {_VERSION}")
            cursor.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _exists(self) -> bool:
        with self._reported():
            return self.path.exists()

    def _check(self, cursor: sqlite3.Cursor) -> bool:
        """True if the file has our tables, False if it is still empty."""
        (application,) = cursor.execute("PRAGMA application_id").fetchone()
        (version,) = cursor.execute("PRAGMA user_version").fetchone()
        (tables,) = cursor.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0 and application in (0, _APPLICATION):
            return False
        if application != _APPLICATION:
            raise TraceStoreError(
                f"{self.path} is not a trace store but another program's database: choose another "
                "path"
            )
        if version != _VERSION:
            raise TraceStoreError(
                f"the trace store at {self.path} has format {version}, this program knows "
                f"{_VERSION}: use the program that wrote it, or move the file away"
            )
        return True

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Errors of SQLite and of the file system, as ours."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                raise TraceStoreError(
                    f"{self.path} is not a trace store: choose another path"
                ) from error
            raise TraceStoreError(
                f"the trace store at {self.path} can't be used: {error}: check the file, its "
                "folder's permissions and the free space"
            ) from error
        except OSError as error:
            raise TraceStoreError(
                f"the trace store at {self.path} can't be used: {error.strerror}: check the path "
                "and its permissions"
            ) from error


def require_writable(path: Path) -> None:
    """Check that a store may be written, if it is there. Raises :class:`TraceStoreError`."""
    if path.exists() and not os.access(path, os.W_OK):
        raise TraceStoreError(
            f"the trace store at {path} can't be used: it may only be read: choose another path, "
            "or turn the store off"
        )


def _problem(path: Path) -> str | None:
    """The reason why no store can be at a path, with the way to mend it; None if one can be.

    Nothing is opened that isn't a plain file: opening a pipe waits for whoever is at its other end.
    """
    if str(path) == ":memory:":
        return "what one thread writes others read, so it can't be in memory: name a file"
    if _URI.match(str(path)):
        return "it is a URI: give the path of the file alone"
    if "\0" in str(path):
        return "there is a null character in it: choose another path"
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return _problem_of_new(path)
    except OSError as error:  # a folder that may not be entered, links in a circle, a name too long
        return (
            f"{(error.strerror or str(error)).lower()}: choose another path, or turn the store off"
        )
    if stat.S_ISDIR(mode):
        return f"it is a folder: name a file in it, like {path / 'traces.db'}"
    if not stat.S_ISREG(mode):
        return "it is a device or a pipe: name a file, or turn the store off"
    return None


def _problem_of_new(path: Path) -> str | None:
    """The same for a path where nothing is yet: its nearest folder has to take files."""
    target = Path(os.path.realpath(path))  # of a link that leads where nothing is yet
    folder = next(parent for parent in target.parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError:
        return (
            f"{folder} is not a folder that can be written to: choose another path, or turn the "
            "store off"
        )


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Switch to WAL mode, once for a file. Two that do it at once don't wait by themselves:
    SQLite's time-out isn't for locks that are upgraded.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def text(value: str) -> str:
    """Text that SQLite takes: half of a surrogate pair, which JSON can carry, becomes ``?``."""
    return value.encode("utf-8", "replace").decode()
