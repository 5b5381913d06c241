"""Recordings: files with the audio of conversations, in a folder beside the store.

A row says which conversation a file is of, and when it begins. A row that goes, with its
conversation or by itself, leaves the file's name in ``unwanted``, in the same transaction, so
whatever deletes and whoever is killed then, the file is found and deleted by the next. A file
without a row (the store was damaged, or couldn't be written to) is deleted when nobody has written
to it for :data:`ORPHANED_SECONDS`.

Ogg can be read as far as it was written: of a process that was killed, what there is stays.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .ogg import seconds_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from ..records import AudioRecord
    from .limits import Limits

ORPHANED_SECONDS: Final = 3_600.0
"""A file of no conversation that was last written to so long ago is nobody's."""
AT_ONCE: Final = 100
"""Recordings that go in one transaction."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A file with the audio of a conversation.

    Ogg/Opus at 48 kHz; of two channels the left is the caller, the right the agent. Sample ``n``
    was heard at ``started_at + n / 48_000``, on the clock of the conversation's spans.
    """

    path: Path
    started_at: float
    """Unix seconds."""
    seconds: float | None
    """Its length; None while it is being recorded."""
    channels: int


def folder_of(store: Path) -> Path:
    """The folder of a store's recordings, by whatever name the store goes; it may not exist yet."""
    return Path(f"{os.path.realpath(store)}.audio")


def put(cursor: sqlite3.Cursor, conversation: int, audio: Iterable[AudioRecord]) -> None:
    """Add recordings to a conversation, or what is known of them now."""
    cursor.executemany(
        "INSERT INTO recording VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        "started_at = excluded.started_at, seconds = excluded.seconds, "
        "channels = excluded.channels",
        ((conversation, one.file, one.started_at, one.seconds, one.channels) for one in audio),
    )


def drop(cursor: sqlite3.Cursor, conversation: int, files: Iterable[str]) -> None:
    """Delete recordings of a conversation; :func:`sweep` deletes the files."""
    cursor.executemany(
        "DELETE FROM recording WHERE conversation = ? AND file = ?",
        ((conversation, file) for file in files),
    )


def of_conversation(
    cursor: sqlite3.Cursor, folder: Path, trace_id: str, id: str, started_at: float
) -> list[Recording]:
    """The recordings of a conversation whose files are there, the first of them first."""
    rows = cursor.execute(
        "SELECT file, recording.started_at, seconds, channels, ended_at FROM recording "
        "JOIN conversation ON conversation.key = recording.conversation "
        "WHERE trace_id = ? AND id = ? AND conversation.started_at = ? "
        "ORDER BY recording.started_at",
        (trace_id, id, started_at),
    ).fetchall()
    found = [(_in(folder, row["file"]), row) for row in rows]
    return [
        Recording(path, row["started_at"], _seconds(path, row), row["channels"])
        for path, row in found
        if path.is_file()
    ]


def _seconds(path: Path, row: sqlite3.Row) -> float | None:
    """The length of a recording that is over; its file says so where nobody did."""
    said: float | None = row["seconds"]
    return seconds_of(path) if said is None and row["ended_at"] is not None else said


def forget(cursor: sqlite3.Cursor, folder: Path, limits: Limits) -> bool:
    """Delete some of the recordings that are past the limits; True if there may be more.

    What is being recorded stays.
    """
    over = -limits.recording_bytes
    sizes = {}
    for path, found in _files(folder):
        sizes[path.name] = found.st_size
        over += found.st_size
    old = time.time() - limits.recording_seconds
    oldest = cursor.execute(
        "SELECT conversation, file, recording.started_at FROM recording "
        "JOIN conversation ON conversation.key = recording.conversation "
        "WHERE process IS NULL ORDER BY recording.started_at LIMIT ?",
        (AT_ONCE,),
    ).fetchall()
    deleted = 0
    for row in oldest:
        if over <= 0 and row["started_at"] >= old:
            break
        over -= sizes.get(row["file"], 0)
        drop(cursor, row["conversation"], [row["file"]])
        deleted += 1
    return deleted == AT_ONCE


def sweep(cursor: sqlite3.Cursor, folder: Path, *, orphans: bool = False) -> OSError | None:
    """Delete the files that nobody wants any more; the first problem with one, which stays.

    A disk in trouble is no reason to keep from the store what else is in the transaction: the next
    round tries again.

    ``orphans``: those of no conversation, too.
    """
    problem = None
    unwanted = [row["file"] for row in cursor.execute("SELECT file FROM unwanted").fetchall()]
    for file in unwanted:
        error = _delete(_in(folder, file))
        if error is None:
            cursor.execute("DELETE FROM unwanted WHERE file = ?", (file,))
        problem = problem or error
    if not orphans:
        return problem
    since = time.time() - ORPHANED_SECONDS
    old = [path for path, found in _files(folder) if found.st_mtime < since]
    if not old:
        return problem
    known = {row["file"] for row in cursor.execute("SELECT file FROM recording")}
    for path in old:
        if path.name not in known:
            problem = _delete(path) or problem
    return problem


def count_unwanted(cursor: sqlite3.Cursor) -> int:
    """The number of files that are still to be deleted."""
    [(count,)] = cursor.execute("SELECT count(*) FROM unwanted")
    return int(count)


def _delete(path: Path) -> OSError | None:
    """Delete a file; the reason if it is still there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        return error
    return None


def _files(folder: Path) -> Iterable[tuple[Path, os.stat_result]]:
    """The files in a folder, which may not exist."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.is_file(follow_symlinks=False):
                    yield Path(entry.path), entry.stat(follow_symlinks=False)


def _in(folder: Path, file: str) -> Path:
    """The file of this name in the folder, and nowhere else."""
    return folder / Path(file).name
