"""Leases: who is taken for dead, and who never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from telemetry.store import Lease, Observer, TraceStore, leases

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

SLEEPS = "import sys; sys.stdout.write('here\\n'); sys.stdout.flush(); sys.stdin.read()"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    """A new store."""
    made = TraceStore(tmp_path / "traces.db")
    yield made
    made.close()


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which lives."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", SLEEPS], stdin=pipe, stdout=pipe) as made:
        assert made.stdout is not None
        made.stdout.readline()
        yield made
        made.kill()


def _lease_of(cursor: sqlite3.Cursor, pid: int, *, born: str | None = None, place: str = "") -> int:
    cursor.execute(
        "INSERT INTO process VALUES (7, ?, ?, ?, 0, 0, 0)",
        (pid, place or leases.place(), leases.born(pid) if born is None else born),
    )
    return 7


def test_a_process_that_is_stopped_lives(
    store: TraceStore, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it renews nothing; killed, it is gone before its parent waits for it."""
    monkeypatch.setattr(leases, "EXPIRES_SECONDS", -1.0)
    observer = Observer()
    with store.writing() as cursor:
        other = _lease_of(cursor, process.pid)
        os.kill(process.pid, signal.SIGSTOP)
        assert observer.gone(cursor, None) == []
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert observer.gone(cursor, None) == [other]


def test_an_id_that_is_used_again_is_another_process(store: TraceStore) -> None:
    """It lives, but it began at another time."""
    with store.writing() as cursor:
        other = _lease_of(cursor, os.getpid(), born="12345")
        assert Observer().gone(cursor, None) == [other]


def test_elsewhere_only_the_lease_tells(store: TraceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A beat that goes on is life; one that doesn't, for long enough, is none."""
    with store.writing() as cursor:
        other = _lease_of(cursor, 1, place="another machine")
        observer = Observer()
        assert observer.gone(cursor, None) == []
        monkeypatch.setattr(leases, "EXPIRES_SECONDS", -1.0)
        cursor.execute("UPDATE process SET beat = beat + 1")
        monkeypatch.setattr(leases, "EXPIRES_SECONDS", 60.0)
        assert observer.gone(cursor, None) == []
        monkeypatch.setattr(leases, "EXPIRES_SECONDS", -1.0)
        assert observer.gone(cursor, None) == [other]


def test_at_one_look_a_lease_of_elsewhere_is_over_when_it_is_old(
    store: TraceStore, process: subprocess.Popen[bytes]
) -> None:
    """By the time it says; of a process that is seen to live, never."""
    with store.writing() as cursor:
        other = _lease_of(cursor, process.pid)
        assert leases.gone_at_a_look(cursor) == []
        cursor.execute("UPDATE process SET place = 'another machine', seen_at = ?", (time.time(),))
        assert leases.gone_at_a_look(cursor) == []
        cursor.execute("UPDATE process SET seen_at = seen_at - ?", (leases.OLD_SECONDS,))
        assert leases.gone_at_a_look(cursor) == [other]


def test_ones_own_lease_is_never_over(store: TraceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that was given up is, at once; one that was taken away begins anew."""
    monkeypatch.setattr(leases, "EXPIRES_SECONDS", -1.0)
    mine, other = Lease(), Lease()
    with store.writing() as cursor:
        key, others = mine.renew(cursor), other.renew(cursor)
        assert Observer().gone(cursor, key) == []
        cursor.execute("INSERT INTO unsent VALUES ('k', ?, 0, 0, 1, 1, '', x'')", (others,))
        other.end(cursor)
        assert Observer().gone(cursor, key) == [others]
        cursor.execute("DELETE FROM process WHERE key = ?", (key,))
        assert mine.renew(cursor) != key
        mine.end(cursor)
        assert Observer().gone(cursor, None) == [others]
