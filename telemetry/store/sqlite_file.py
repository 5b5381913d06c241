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
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import TelemetryError
from .schema import APPLICATION, TABLES, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUSY_SECONDS: Final = 5.0
"""The wait for another process's transaction."""

_URI: Final = re.compile(r"file:|[a-z][a-z0-9+.-]+:/")
"""The beginning of what other programs take for the place of a database."""


class TraceStoreError(TelemetryError):
    """The store's file can't be used. One line: what, where, how to fix it.

    Attributes:
        is_corrupt: whether the file is one of ours, and damaged.
        is_lasting: whether what is at the path can't be a store of this version: trying again is of
            no use.
    """

    def __init__(self, message: str, *, is_corrupt: bool = False, is_lasting: bool = False) -> None:
        self.is_corrupt = is_corrupt
        self.is_lasting = is_lasting
        super().__init__(message)


class SqliteFile:
    """A SQLite file with our tables, which the first write creates.

    Raises:
        TraceStoreError: the path can't hold such a file, or holds something else. Every method
            raises it too, when the file can't be used any more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        """Of the file that was written to: its device and inode."""
        self._is_new = False
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
            if self._connection is not None and self._identity != self._found():
                self._connection.close()  # what is written there, nobody can read any more
                self._connection = None
                self._is_new = True  # the next may well get the same inode
            if self._connection is None:
                self._connection = self._open_writer()
                before, self._identity = self._identity, self._found()
                self._is_new = self._is_new or before not in (None, self._identity)
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

    @property
    def is_new(self) -> bool:
        """True, once, if what is written to is another file than before."""
        found, self._is_new = self._is_new, False
        return found

    def set_aside(self) -> Path | None:
        """Rename a file that is damaged, with what SQLite keeps beside it; its new name.

        None if it isn't there, or can't be renamed.
        """
        with self._writing:
            self.close()
            aside = Path(f"{self.path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
            try:
                os.rename(os.path.realpath(self.path), aside)
            except OSError:
                return None
            for beside in ("-wal", "-shm"):
                with suppress(OSError):
                    os.rename(f"{os.path.realpath(self.path)}{beside}", f"{aside}{beside}")
            return aside

    def _found(self) -> tuple[int, int] | None:
        """The identity of the file that is there now."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

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
        connection.row_factory = sqlite3.Row
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
                for statement in TABLES.split(";\n"):  # a trigger has others in it
                    cursor.execute(statement)
                cursor.execute(f"PRAGMA application_id = {APPLICATION}")
                cursor.execute(f"PRAGMA user_version = {VERSION}")
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
        if tables == 0 and application in (0, APPLICATION):
            return False
        if application != APPLICATION:
            raise TraceStoreError(
                f"{self.path} is not a trace store but another program's database: choose another "
                "path",
                is_lasting=True,
            )
        if version != VERSION:
            raise TraceStoreError(
                f"the trace store at {self.path} has format {version}, this program knows "
                f"{VERSION}: use the program that wrote it, or move the file away",
                is_lasting=True,
            )
        return True

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Errors of SQLite and of the file system, as ours."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_CORRUPT or (
                code == sqlite3.SQLITE_NOTADB
                and self._identity is not None
                and self._identity == self._found()
            ):
                raise TraceStoreError(
                    f"the trace store at {self.path} is damaged ({error})", is_corrupt=True
                ) from error
            if code == sqlite3.SQLITE_NOTADB:
                raise TraceStoreError(
                    f"{self.path} is not a trace store: choose another path", is_lasting=True
                ) from error
            raise TraceStoreError(
                f"the trace store at {self.path} can't be used: {error}: check the file, its "
                "folder's permissions and the free space",
                is_lasting=self._is_elsewhere(),
            ) from error
        except OSError as error:
            raise TraceStoreError(
                f"the trace store at {self.path} can't be used: {error.strerror}: check the path "
                "and its permissions",
                is_lasting=self._is_elsewhere(),
            ) from error

    def _is_elsewhere(self) -> bool:
        """True if what is at the path is no file."""
        return self.path.exists() and not self.path.is_file()


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
