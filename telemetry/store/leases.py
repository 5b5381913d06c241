"""Leases: which processes use a store, and which of them are gone.

A row of ``process`` says who it is, and is renewed while it lives. Whoever looks at it from the
same place asks the system whether that very process still runs: that is never wrong, also about
one that is stopped or can't write, whose id is another's by now, or that nobody has waited for yet.
From another place (a container, a machine) only the lease tells: dead is whose beat doesn't change
for :data:`EXPIRES_SECONDS` of the observer's own clock. Who looks but once has only the time that
the lease says, of another's clock: :func:`gone_at_a_look`.
"""

from __future__ import annotations

import os
import platform
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

EXPIRES_SECONDS: Final = 60.0
"""A lease that nobody has renewed for so long is over, where nothing better is known."""
OLD_SECONDS: Final = 600.0
"""A lease of another place that says it was renewed so long ago is over at the first look: clocks
that differ by more are wrong."""
RENEW_SECONDS: Final = 5.0
"""An idle process renews its lease so often."""
ALIVE_SECONDS: Final = 0.8
"""One with open conversations does: should it be killed, they end at its last sign of life."""

_PROC: Final = Path("/proc")
_GONE: Final = frozenset("ZXx")
"""States of a process that has ended, and that its parent hasn't waited for."""


class Lease:
    """The row of this process. Of one thread: the one that writes."""

    def __init__(self) -> None:
        self.key: int | None = None
        """Its key, once there is a row."""
        self._renewed_at = 0.0

    def is_due(self, *, busy: bool) -> bool:
        """True if it has to be renewed though nothing else is written."""
        every = ALIVE_SECONDS if busy else RENEW_SECONDS
        return self.key is not None and time.monotonic() - self._renewed_at > every

    def renew(self, cursor: sqlite3.Cursor) -> int:
        """Renew it, or begin one: the first, or after it was taken for dead; its key."""
        self._renewed_at = time.monotonic()
        if self.key is not None:
            cursor.execute(
                "UPDATE process SET beat = beat + 1, seen_at = ? WHERE key = ?",
                (time.time(), self.key),
            )
            if cursor.rowcount:
                return self.key
        pid = os.getpid()
        self.key = secrets.randbits(
            62
        )  # nobody else's in another file either, should it be replaced
        cursor.execute(
            "INSERT INTO process VALUES (?, ?, ?, ?, 0, ?, 0)",
            (self.key, pid, place(), born(pid) or "", time.time()),
        )
        return self.key

    def end(self, cursor: sqlite3.Cursor) -> None:
        """Give it up: what still names it is anybody's."""
        if self.key is None:
            return
        cursor.execute("UPDATE process SET ended = 1 WHERE key = ?", (self.key,))
        cursor.execute(
            "DELETE FROM process WHERE key = ?1 "
            "AND NOT EXISTS (SELECT 1 FROM unsent WHERE process = ?1) "
            "AND NOT EXISTS (SELECT 1 FROM conversation WHERE process = ?1)",
            (self.key,),
        )
        self.key = None


class Observer:
    """Finds the leases whose processes are gone."""

    def __init__(self) -> None:
        self._beats: dict[int, tuple[int, float]] = {}
        """By key: the beat, and when it was first seen (monotonic seconds)."""

    def gone(self, cursor: sqlite3.Cursor, own: int | None) -> list[int]:
        """The keys of processes that are gone; ``own`` is never among them."""
        rows = cursor.execute("SELECT * FROM process WHERE key IS NOT ?", (own,)).fetchall()
        now, here = time.monotonic(), place()
        found = []
        for row in rows:
            beat, since = self._beats.get(row["key"], (None, now))
            if beat != row["beat"]:
                since = now
            self._beats[row["key"]] = row["beat"], since
            runs = _seen(row, here)
            if row["ended"] or runs is False or (runs is None and now - since > EXPIRES_SECONDS):
                found.append(int(row["key"]))
        return found


def gone_at_a_look(cursor: sqlite3.Cursor) -> list[int]:
    """The keys of processes that are gone, for who can't wait to see whether a beat goes on."""
    found = Observer().gone(cursor, None)
    rows = cursor.execute(
        "SELECT key, pid, place, born FROM process WHERE seen_at < ?", (time.time() - OLD_SECONDS,)
    ).fetchall()
    here = place()
    old = (row["key"] for row in rows if _seen(row, here) is None)
    return [*dict.fromkeys((*found, *old))]


def _seen(row: sqlite3.Row, here: str) -> bool | None:
    """True if the process of a lease is seen to run, False if it isn't; None if nobody can see."""
    return _runs(row["pid"], row["born"]) if row["place"] == here else None


def _runs(pid: int, began: str) -> bool | None:
    """True if this very process runs, False if it doesn't; None if that can't be told here."""
    now = born(pid)
    if now is None:
        return False
    return now == began if now and began else None


def place() -> str:
    """The place that a process id is of: this boot of this machine, this namespace of ids."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def born(pid: int) -> str | None:
    """The time at which a process started, as text; empty if that can't be told, None if it isn't
    there or has ended."""
    try:
        # behind the name, which may hold anything, brackets too
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        if (_PROC / "self/stat").exists():
            return None
    else:
        return None if fields[0] in _GONE else fields[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""
