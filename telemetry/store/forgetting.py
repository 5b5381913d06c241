"""Old conversations go: by number, by age, and by the size of the file. A few at a time, so that
nobody waits for it; what is running, or is still to be sent, stays.

The file doesn't shrink by that: the room is used for what comes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ..attributes import OP_CONVERSATION

if TYPE_CHECKING:
    import sqlite3

    from .limits import Limits

AT_ONCE: Final = 100
"""Conversations that go in one transaction."""
_OTHERS: Final = 20
"""Transactions of any op kept for each conversation that may be: a service has no other."""


def forget(cursor: sqlite3.Cursor, limits: Limits) -> bool:
    """Delete some of what is past the limits; True if there may be more."""
    deleted = by_number(cursor, limits.conversations)
    old = time.time() - limits.seconds
    deleted += _oldest(cursor, before=old)
    cursor.execute("DELETE FROM error WHERE conversation IS NULL AND time < ?", (old,))
    if deleted < AT_ONCE and _size(cursor) > limits.bytes:
        deleted += _oldest(cursor, before=time.time())
        return deleted > 0
    return deleted >= AT_ONCE


def by_number(cursor: sqlite3.Cursor, keep: int) -> int:
    """Delete all but the newest conversations, and errors outside of any that are as old."""
    cursor.execute(
        "DELETE FROM conversation WHERE process IS NULL AND key <= max("
        "coalesce((SELECT key FROM conversation WHERE op = ?2 "
        "ORDER BY key DESC LIMIT 1 OFFSET ?1), 0), "
        "coalesce((SELECT key FROM conversation ORDER BY key DESC LIMIT 1 OFFSET ?3), 0))",
        (keep, OP_CONVERSATION, keep * _OTHERS),
    )
    deleted = cursor.rowcount
    if deleted:
        cursor.execute(
            "DELETE FROM error WHERE conversation IS NULL "
            "AND time < (SELECT min(started_at) FROM conversation)"
        )
    return deleted


def _oldest(cursor: sqlite3.Cursor, *, before: float) -> int:
    """Delete the oldest that ended before then; how many that were."""
    cursor.execute(
        "DELETE FROM conversation WHERE key IN (SELECT key FROM conversation "
        "WHERE process IS NULL AND owed = 0 AND started_at < ? ORDER BY started_at LIMIT ?)",
        (before, AT_ONCE),
    )
    return cursor.rowcount


def _size(cursor: sqlite3.Cursor) -> int:
    """The bytes of the file that are in use."""
    (pages,) = cursor.execute("PRAGMA page_count").fetchone()
    (free,) = cursor.execute("PRAGMA freelist_count").fetchone()
    (bytes_each,) = cursor.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * bytes_each)
