"""``parley traces delete``: what goes, what stays, and what is said of it."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from agent.cli.deleting import delete
from agent.errors import InputError
from telemetry import TelemetryError
from telemetry.records import AudioRecord, ConversationRecord
from telemetry.store import Lease, TraceStore, rows

if TYPE_CHECKING:
    from pathlib import Path


def _conversation(name: str, *, days: float = 0.0) -> ConversationRecord:
    started = time.time() - days * 86_400 - 60
    return ConversationRecord(name, f"{name:0>32}", "host", started, started + 1, "ok")


def _store(path: Path, *records: ConversationRecord) -> TraceStore:
    store = TraceStore(path)
    store.audio_folder.mkdir(exist_ok=True)
    for record in records:
        store.close_conversation(record)
        (store.audio_folder / f"{record.id}.ogg").write_bytes(b"x")
        store.add_recording(record, AudioRecord(f"{record.id}.ogg", record.started_at))
    return store


def _left(store: TraceStore) -> list[str]:
    names = sorted(each.id for each in store.conversations())
    assert sorted(path.stem for path in store.audio_folder.iterdir()) == names
    return names


def test_named_ones_go_with_their_audio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From every store that has a part of them."""
    a, b, c = (_conversation(name) for name in ("aa1", "bb2", "cc3"))
    with (
        closing(_store(tmp_path / "agent.db", a, b, c)) as agent,
        closing(_store(tmp_path / "service.db", a)) as service,
    ):
        assert delete([agent.path, service.path], ["aa1", "bb"], None)
        assert (_left(agent), _left(service)) == (["cc3"], [])
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[2] for line in said] == [
        f"1 transaction of trace {a.trace_id} (aa1) deleted",
        f"1 transaction of trace {a.trace_id} (aa1) deleted",
        f"1 transaction of trace {b.trace_id} (bb2) deleted",
    ]


def test_all_that_is_older_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By when it began."""
    records = [_conversation(f"c-{days}", days=days) for days in (1, 6, 8, 20)]
    with closing(_store(tmp_path / "traces.db", *records)) as store:
        assert delete([store.path], [], "7d")
        assert _left(store) == ["c-1", "c-6"]
        assert delete([store.path], [], "1 h")
        assert _left(store) == []
    assert "2 transactions older than 7d deleted" in capsys.readouterr().out


def test_what_is_running_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And is said to; the others go."""
    running = _conversation("running")
    with closing(_store(tmp_path / "traces.db", _conversation("over"))) as store:
        lease = Lease()
        with store.writing() as cursor:
            rows.put_conversation(cursor, running, ended_at=None, process=lease.renew(cursor))
        assert not delete([store.path], ["running", "over"], None)
        assert [each.id for each in store.conversations()] == ["running"]
    assert "running is running: it stays" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wanted", "older_than", "problem"),
    [
        ([], None, "say which conversations"),
        (["c-1"], "7d", "say which conversations"),
        ([], "7 weeks", "should be an age, like 7d"),
    ],
)
def test_said_badly(
    tmp_path: Path, wanted: list[str], older_than: str | None, problem: str
) -> None:
    """One line, and nothing goes."""
    with closing(_store(tmp_path / "traces.db", _conversation("c-1", days=30))) as store:
        with pytest.raises(InputError, match=problem):
            delete([store.path], wanted, older_than)
        assert _left(store) == ["c-1"]


def test_one_that_is_not_there(tmp_path: Path) -> None:
    """Then none of them goes."""
    with closing(_store(tmp_path / "traces.db", _conversation("c-1"))) as store:
        with pytest.raises(TelemetryError, match="no conversation 'c-2'"):
            delete([store.path], ["c-1", "c-2"], None)
        assert _left(store) == ["c-1"]
