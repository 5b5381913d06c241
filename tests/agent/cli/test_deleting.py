"""``parley traces delete``: what goes, what stays, and what is said of it."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
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


def test_what_is_old_and_runs_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And is said to; what is younger isn't meant."""
    with closing(_store(tmp_path / "traces.db", _conversation("over", days=8))) as store:
        lease = Lease()
        with store.writing() as cursor:
            for name, days in (("old", 9.0), ("young", 0.0)):
                record = replace(_conversation(name, days=days), ended_at=None)
                key = lease.renew(cursor)
                rows.put_conversation(cursor, record, ended_at=None, process=key)
        assert not delete([store.path], [], "7d")
        assert sorted(each.id for each in store.conversations()) == ["old", "young"]
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[2] for line in said] == [
        "1 transaction older than 7d deleted",
        "1 transaction older than 7d is running: it stays",
    ]


@pytest.mark.parametrize(("wanted", "older_than"), [(["aa1", "bb2"], None), ([], "7d")])
def test_audio_that_can_not_be_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wanted: list[str], older_than: str | None
) -> None:
    """Nobody is told that it is gone."""
    records = [_conversation(name, days=8) for name in ("aa1", "bb2")]
    with closing(_store(tmp_path / "traces.db", *records)) as store:
        stuck = store.audio_folder / "aa1.ogg"
        stuck.unlink()
        stuck.mkdir()  # it is no file: deleting it fails, whoever asks
        assert not delete([store.path], wanted, older_than)
        assert store.conversations() == []
        assert [*store.audio_folder.iterdir()] == [stuck]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        f"{store.path}: 1 file can't be deleted from {store.audio_folder}: it stays until a "
        "process that uses the store can"
    )


def _of_one_trace(*names: str) -> list[ConversationRecord]:
    return [replace(_conversation(name), trace_id="a" * 32) for name in names]


@pytest.mark.parametrize("wanted", [["aa1"], ["bb2", "cc3"]])
def test_a_trace_of_several_is_not_parted(tmp_path: Path, wanted: list[str]) -> None:
    """Who names one doesn't mean the others, which share its trace, in whatever store."""
    first, second = _of_one_trace("aa1", "bb2")
    with (
        closing(_store(tmp_path / "a.db", first, _conversation("cc3"))) as a,
        closing(_store(tmp_path / "b.db", second)) as b,
    ):
        [other] = {"aa1", "bb2"} - {*wanted}
        with pytest.raises(InputError, match=f"{wanted[0]}: {other} is of the same trace") as told:
            delete([a.path, b.path], wanted, None)
        assert "a" * 32 in str(told.value)
        assert (_left(a), _left(b)) == (["aa1", "cc3"], ["bb2"])


@pytest.mark.parametrize("wanted", [["a" * 32], ["aa1", "bb2"]])
def test_a_trace_of_several_goes_whole(
    tmp_path: Path, wanted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it is named itself, or all of them are; and what services did in it, of course."""
    part = replace(_of_one_trace("part")[0], op="http.server")
    records = [*_of_one_trace("aa1", "bb2"), part]
    with closing(_store(tmp_path / "traces.db", *records, _conversation("cc3"))) as store:
        assert delete([store.path], wanted, None)
        assert _left(store) == ["cc3"]
    assert f"3 transactions of trace {'a' * 32} (aa1) deleted" in capsys.readouterr().out


def test_of_a_trace_that_goes_what_runs_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That, and not what it was asked for by."""
    over, running = _of_one_trace("aa1", "bb2")
    with closing(_store(tmp_path / "traces.db", over)) as store:
        lease = Lease()
        with store.writing() as cursor:
            rows.put_conversation(cursor, running, ended_at=None, process=lease.renew(cursor))
        assert not delete([store.path], ["a" * 32], None)
    assert [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()] == [
        f"1 transaction of trace {'a' * 32} (aa1) deleted",
        "bb2 is running: it stays",
    ]


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
