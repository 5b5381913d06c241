"""The store in trouble: calls and Sentry go on, the log tells it once, and all is well after."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

import telemetry
from telemetry.delivery import outage, send_queue
from telemetry.store import TraceStore, unsent
from telemetry.testing import capture
from tests.ingest import Ingest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.telemetry.conformance.whole import Lifecycle

BEGINS = "telemetry could not store"
ENDS = "takes what is recorded again"


def _lines(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [line for line in caplog.messages if text in line]


def _over(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set when an outage is over."""
    done, over = threading.Event(), outage.Outage.over

    def told(self: outage.Outage) -> None:
        over(self)
        done.set()

    monkeypatch.setattr(outage.Outage, "over", told)
    return done


def test_a_full_disk(
    lifecycle: Lifecycle,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is lost of what memory has room for; the conversation is one row, with all of it."""
    path, done = tmp_path / "traces.db", _over(caplog, monkeypatch)
    full = threading.Event()
    writing = TraceStore.writing

    def failing(self: TraceStore) -> object:
        if full.is_set():
            raise telemetry.store.TraceStoreError(f"{path}: database or disk is full")
        return writing(self)

    monkeypatch.setattr(TraceStore, "writing", failing)
    with capture(lifecycle=lifecycle, store=path) as captured:
        with telemetry.conversation("host"):
            telemetry.span("before").finish()
            assert captured.runtime.flush(30)
            full.set()
            telemetry.span("meanwhile").finish()
            assert not captured.runtime.flush(30)  # at once: it may take long
            assert not captured.runtime.flush(30)
            [trouble] = captured.runtime.troubles()
            assert trouble.startswith("the trace store can't be written to for ")
            assert str(tmp_path) not in trouble
            full.clear()
            assert done.wait(30)
            assert captured.runtime.troubles() == ()
            telemetry.span("after").finish()
        assert len(captured.transactions) == 1
        assert captured.runtime.stats().dropped == {}
    [found] = TraceStore(path).conversations()
    assert (found.status, found.span_count) == ("ok", 4)
    assert len(_lines(caplog, BEGINS)) == len(_lines(caplog, ENDS)) == 1
    assert "nothing was lost" in _lines(caplog, ENDS)[0]


@pytest.mark.parametrize("gone", ["file", "folder"])
def test_a_file_that_is_deleted(
    lifecycle: Lifecycle, tmp_path: Path, caplog: pytest.LogCaptureFixture, gone: str
) -> None:
    """A new one is made, which has each conversation that runs as one row; the log says so."""
    path = tmp_path / "folder" / "traces.db"
    with capture(lifecycle=lifecycle, store=path) as captured:
        with telemetry.conversation("host"):
            telemetry.span("before").finish()
            with telemetry.span("open"):
                assert captured.runtime.flush(30)
                shutil.rmtree(path.parent) if gone == "folder" else path.unlink()
                telemetry.span("after").finish()
                assert captured.runtime.flush(30)
        assert len(captured.transactions) == 1
    [found] = TraceStore(path).conversations()
    assert found.status == "ok"
    read = TraceStore(path).conversation(found.id)
    assert read is not None
    assert {"conversation", "open", "after"} <= {span.op for span in read.spans}
    assert len(_lines(caplog, "was removed or replaced")) == 1


def test_a_file_that_is_damaged_while_it_is_written_to(
    lifecycle: Lifecycle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is set aside as it is, and a new one made; Sentry gets everything."""
    path = tmp_path / "traces.db"
    with capture(lifecycle=lifecycle, store=path) as captured:
        with telemetry.conversation("host"):
            telemetry.span("before").finish()
            assert captured.runtime.flush(30)
            with closing(sqlite3.connect(path)) as other:
                other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with path.open("r+b") as file:
                size = path.stat().st_size
                file.seek(100)
                file.write(b"\xff" * (size - 100))
            damaged = path.read_bytes()
            telemetry.span("after").finish()
            captured.runtime.flush(30)
        assert len(captured.transactions) == 1
        assert captured.runtime.flush(30)
    [aside] = [
        found for found in tmp_path.glob("traces.db.damaged-*") if found.suffix[-3:].isdigit()
    ]
    assert aside.read_bytes()[100:] == damaged[100:]
    [found] = TraceStore(path).conversations()
    assert found.status == "ok"
    [line] = _lines(caplog, "it was set aside as")
    assert str(aside) in line


def test_a_file_that_is_damaged_at_the_start(
    lifecycle: Lifecycle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same: no process is kept from its calls."""
    path = tmp_path / "traces.db"
    with capture(lifecycle=lifecycle, store=path), telemetry.conversation("first"):
        telemetry.span("before").finish()
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with capture(lifecycle=lifecycle, store=path) as captured:
        with telemetry.conversation("second"):
            pass
        assert len(captured.transactions) == 1
    assert [found.name for found in TraceStore(path).conversations()] == ["second"]
    assert len(_lines(caplog, "it was set aside as")) == 1


def test_a_store_that_could_not_be_read_is_read_again(
    lifecycle: Lifecycle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits in it is sent once it can be: the question for it isn't lost."""
    monkeypatch.setattr(send_queue, "BACKOFF_SECONDS", (0.05, 0.1))
    load, failed = unsent.load, threading.Event()

    def fails_once(*given: Any, **options: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise sqlite3.OperationalError("disk I/O error")
        return load(*given, **options)

    monkeypatch.setattr(unsent, "load", fails_once)
    with Ingest() as ingest:
        ingest.refuse()
        with telemetry.init(
            dsn=ingest.dsn, lifecycle=lifecycle, store=tmp_path / "traces.db"
        ) as runtime:
            telemetry.conversation("host").close()
            assert failed.wait(30)
            ingest.heal()
            assert runtime.flush(30)
            assert len(ingest.transactions) + len(ingest.spans) == 1
        assert runtime.stats().dropped == {}
