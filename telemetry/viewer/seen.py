"""The index's knowledge of one store: how far it was read, and what may change yet."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Final

from ..store import Observer
from ..store.sqlite_file import text

if TYPE_CHECKING:
    import sqlite3

_SETTLED_SECONDS: Final = 30.0
"""After its end late spans may come to a conversation for so long."""
_AGAIN_SECONDS: Final = 5.0
"""They are looked for so often."""
ROWS: Final = """
SELECT key, id, trace_id, root_span_id, op, name, started_at, ended_at, status, tags, user,
    process, facts
FROM conversation
"""


class Seen:
    """The knowledge of one store."""

    def __init__(self) -> None:
        self.last_key = 0
        self.last: tuple[str, float] | None = None
        """Trace and start of the conversation of that key."""
        self.first_key: int | None = None
        """All up to it are still to be looked at; None before the first look."""
        self.last_error = 0
        self.unsettled: dict[int, float] = {}
        """Keys of conversations that may change, each with the time (monotonic) at which it was
        first seen to have ended; infinity while it runs."""
        self.looked_again_at = 0.0
        """At those that have ended (monotonic)."""
        self.observer = Observer()
        self.problem: str | None = None
        """The reason for which it couldn't be looked at, until it can be."""
        self.unread: dict[int, str] = {}
        """Keys of conversations that can't be read, each with the reason."""

    def is_another(self, cursor: sqlite3.Cursor) -> bool:
        """True if the file is another than that which was read: the last that was seen in it isn't
        there, and can't have been deleted either. (Its inode may be the same.)"""
        if self.last is None:
            return False
        [ever] = cursor.execute(
            "SELECT max(seq) FROM sqlite_sequence WHERE name = 'conversation'"
        ).fetchone()
        row = cursor.execute(f"{ROWS} WHERE key = ?", (self.last_key,)).fetchone()
        return (ever or 0) < self.last_key or (row is not None and mark(row) != self.last)

    def again(self, known: set[int]) -> list[int]:
        """The keys that are to be looked at though they were seen, but for those."""
        now = time.monotonic()
        patient = now - self.looked_again_at < _AGAIN_SECONDS
        if not patient:
            self.looked_again_at = now
        return [
            key
            for key, since in self.unsettled.items()
            if key not in known and not (patient and since < math.inf)
        ]

    def settle(self, key: int, ended_at: float | None, *, runs: bool) -> None:
        """Note whether one runs; some time after its end it may be left alone."""
        now = time.monotonic()
        if runs or ended_at is None:  # or its process is gone: another one will end it
            self.unsettled[key] = math.inf if runs else now
            return
        if key not in self.unsettled and ended_at < time.time() - _SETTLED_SECONDS:
            return
        since = min(self.unsettled.get(key, now), now)
        self.unsettled[key] = since
        if now - since > _SETTLED_SECONDS:
            del self.unsettled[key]


def mark(row: sqlite3.Row) -> tuple[str, float]:
    """The trace and start of a conversation."""
    return row["trace_id"], row["started_at"]


def release_of(row: sqlite3.Row) -> str | None:
    """The release of a conversation. SQLite's own JSON functions make text of it that it can't give
    back, where it has half of a surrogate pair."""
    try:
        found = json.loads(row["facts"] or "{}")
    except (ValueError, RecursionError):
        return None
    release = found.get("release") if type(found) is dict else None
    return text(release) if type(release) is str else None
