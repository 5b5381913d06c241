"""Envelopes that Sentry hasn't acknowledged, as rows: they wait here, and not in memory.

A row belongs to the process that is to send it. What a process leaves when it ends is taken over
with its lease (:mod:`.lost`).
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable

_LEVEL: Final = 1
"""Of compression: these are written once and, as a rule, deleted in the same second."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """An envelope, as it is to be sent."""

    key: str
    """Its own, 32 hex digits."""
    worth: int
    """The lower goes the sooner."""
    events: int
    """Spans and events in it."""
    rule: str
    """The rule that it was made by, of the process that recorded it; see :mod:`..delivery`."""
    envelope: bytes
    recorded_at: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class InStore:
    """The number of envelopes that wait in the store, and since when."""

    count: int = 0
    since: float | None = None
    """Unix seconds; None if none waits."""


def put(cursor: sqlite3.Cursor, process: int | None, unsent: Iterable[Unsent]) -> None:
    """Add envelopes."""
    for one in unsent:
        body = zlib.compress(one.envelope, _LEVEL)
        cursor.execute(
            "INSERT OR IGNORE INTO unsent VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                one.key,
                process,
                one.worth,
                one.recorded_at,
                one.events,
                len(body),
                one.rule,
                body,
            ),
        )


def forget(cursor: sqlite3.Cursor, keys: Iterable[str]) -> None:
    """Delete envelopes that Sentry has, or will never take."""
    cursor.executemany("DELETE FROM unsent WHERE key = ?", ((key,) for key in keys))


def load(
    cursor: sqlite3.Cursor,
    process: int,
    *,
    most: int,
    besides: Collection[str],
    worths: Collection[int],
) -> list[Unsent]:
    """The next envelopes to send, of these worths, the most worth and the oldest first.

    ``besides`` are keys that the process has in hand.
    """
    rows = cursor.execute(
        "SELECT key, worth, events, rule, envelope, recorded_at FROM unsent "  # noqa: S608 - numbers of ours
        f"WHERE process = ? AND worth IN ({', '.join(map(str, map(int, worths)))}) "
        "ORDER BY worth, recorded_at LIMIT ?",
        (process, most + len(besides)),
    )
    found: list[Unsent] = []
    for row in rows:
        if row["key"] in besides:
            continue
        if len(found) == most:
            break
        fields = dict(zip(row.keys(), row, strict=True))
        found.append(Unsent(**{**fields, "envelope": zlib.decompress(row["envelope"])}))
    return found


def waiting(cursor: sqlite3.Cursor, process: int) -> InStore:
    """The envelopes of a process, and since when the first of them waits."""
    count, since = cursor.execute(
        "SELECT count(*), min(recorded_at) FROM unsent WHERE process = ?", (process,)
    ).fetchone()
    return InStore(int(count), since)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """An envelope that there was no room or no time for."""

    key: str
    events: int
    is_old: bool
    """True if it was too old, False if there were too many."""


def bound(
    cursor: sqlite3.Cursor, process: int, *, most_bytes: int, oldest_seconds: float
) -> list[Forgotten]:
    """Delete what is too old, and then what is worth least, the oldest first; what that was."""
    rows = cursor.execute(
        "DELETE FROM unsent WHERE process = ? AND recorded_at < ? RETURNING key, events",
        (process, time.time() - oldest_seconds),
    ).fetchall()
    found = [Forgotten(row["key"], row["events"], is_old=True) for row in rows]
    (size,) = cursor.execute(
        "SELECT coalesce(sum(size), 0) FROM unsent WHERE process = ?", (process,)
    ).fetchone()
    if size <= most_bytes:
        return found
    least = cursor.execute(
        "SELECT key, events, size FROM unsent WHERE process = ? ORDER BY worth DESC, recorded_at",
        (process,),
    ).fetchall()
    too_many = []
    for row in least:
        if size <= most_bytes:
            break
        size -= row["size"]
        too_many.append(Forgotten(row["key"], row["events"], is_old=False))
    forget(cursor, [one.key for one in too_many])
    return [*found, *too_many]
