"""Conversations go because somebody asks for it."""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.records import AudioRecord
from telemetry.store import Lease, StoredError, TraceStore, deleting, leases, rows

from .rows import conversation, opened

if TYPE_CHECKING:
    from pathlib import Path


def test_all_of_a_trace_goes(tmp_path: Path) -> None:
    """Spans, errors and audio, and what a service did in it; another conversation stays."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        mine, other = conversation("mine", trace="a" * 32), conversation("other", trace="b" * 32)
        part = replace(conversation("part", trace="a" * 32), op="http.server")
        for record in (mine, part, other):
            store.close_conversation(record)
        for trace in ("a" * 32, "b" * 32):
            store.add_error(None, StoredError(trace, None, 5.0, "Oops", "it", "e" * 32))
        store.audio_folder.mkdir()
        (store.audio_folder / "mine.ogg").write_bytes(b"x")
        store.add_recording(mine, AudioRecord("mine.ogg", 1.0))
        assert store.delete("a" * 32) == 2
        assert [each.id for each in store.conversations()] == ["other"]
        assert [error.trace_id for error in store.errors_by_event("e" * 32)] == ["b" * 32]
        assert [*store.audio_folder.iterdir()] == []
        assert store.delete("a" * 32) == 0


def test_what_is_running_stays(tmp_path: Path) -> None:
    """Its process would write it again. That of a process which is gone goes."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        lease = Lease()
        running = conversation("running", trace="a" * 32)
        with store.writing() as cursor:
            rows.put_conversation(cursor, running, ended_at=None, process=lease.renew(cursor))
        assert store.delete("a" * 32) == 0
        assert store.delete_before(time.time()) == 0
        with store.writing() as cursor:
            cursor.execute("UPDATE process SET ended = 1 WHERE pid = ?", (os.getpid(),))
        assert store.delete("a" * 32) == 1


def test_what_ran_elsewhere_goes_when_nothing_is_heard_of_it(tmp_path: Path) -> None:
    """A boot of before, a container that isn't there any more: nobody would ever end it."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        running = opened(conversation("running", trace="a" * 32))
        with store.writing() as cursor:
            cursor.execute(
                "INSERT INTO process VALUES (7, 1, 'before', '1', 0, ?, 0)", (time.time(),)
            )
            rows.put_conversation(cursor, running, ended_at=None, process=7)
        assert store.runs(running)
        assert (store.delete_before(time.time()), store.count_before(time.time())) == (0, 1)
        with store.writing() as cursor:
            cursor.execute("UPDATE process SET seen_at = seen_at - ?", (leases.OLD_SECONDS,))
        assert not store.runs(running)
        assert (store.delete_before(time.time()), store.count_before(time.time())) == (1, 0)


def test_of_a_long_trace_all_goes(tmp_path: Path) -> None:
    """However many requests a service answered in it."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        for number in range(deleting.AT_ONCE + 30):
            record = conversation(f"{number}", trace="a" * 32, root=f"{number:016}")
            store.close_conversation(replace(record, op="http.server"))
        store.add_error(None, StoredError("a" * 32, None, 5.0, "Oops", "it", "e" * 32))
        assert store.delete("a" * 32) == deleting.AT_ONCE + 30
        assert store.trace("a" * 32) == []
        assert store.errors_by_event("e" * 32) == []


def test_all_that_is_old_goes(tmp_path: Path) -> None:
    """However much it is; what began later stays."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        for number in range(230):
            record = conversation(f"{number}", trace=f"{number:032}", root=f"{number:016}")
            store.close_conversation(replace(record, started_at=float(number)))
        assert store.delete_before(220.0) == 220
        assert len(store.conversations(100)) == 10
