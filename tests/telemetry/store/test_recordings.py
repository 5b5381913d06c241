"""Recordings: rows that name files, and files that go with them."""

from __future__ import annotations

import os
import time
from contextlib import closing
from typing import TYPE_CHECKING

from telemetry.records import AudioRecord
from telemetry.store import Limits, Recording, TraceStore, forgetting, recordings

from .rows import conversation

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from telemetry.records import ConversationRecord


def _add(
    store: TraceStore, name: str, *, size: int = 10, started_at: float = 1_000.0, **fields: object
) -> tuple[ConversationRecord, Path]:
    """A conversation that has ended, and its recording."""
    record = conversation(name, trace=f"{name:0>32}", root=f"{name:0>16}")
    store.close_conversation(record)
    store.audio_folder.mkdir(exist_ok=True)
    path = store.audio_folder / f"{name}.ogg"
    path.write_bytes(b"x" * size)
    store.add_recording(record, AudioRecord(path.name, started_at, **fields))  # type: ignore[arg-type]  # its own
    return record, path


def test_what_is_known_of_one_grows(tmp_path: Path) -> None:
    """It is listed from its beginning; its length is said when it is over."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        record, path = _add(store, "a", started_at=1_000.25)
        assert path.parent == tmp_path / "traces.db.audio"
        assert store.recordings(record) == [Recording(path, 1_000.25, None, 2)]
        store.add_recording(record, AudioRecord(path.name, 1_000.25, 7.5))
        assert store.recordings(record) == [Recording(path, 1_000.25, 7.5, 2)]


def test_another_conversation_has_none(tmp_path: Path) -> None:
    """Nor has one whose file isn't there, or a store that isn't."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        assert store.recordings(conversation("b")) == []
        record, path = _add(store, "a")
        assert store.recordings(conversation("b")) == []
        path.unlink()
        assert store.recordings(record) == []


def test_a_file_goes_with_its_conversation(tmp_path: Path) -> None:
    """Whoever deletes the conversation's row, and if it is killed before it deletes the file."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        _, path = _add(store, "a")
        other, kept = _add(store, "b")
        with store.writing() as cursor:
            forgetting.by_number(cursor, 1)
        assert path.exists()
        with store.writing() as cursor:
            recordings.sweep(cursor, store.audio_folder)
        assert not path.exists()
        assert store.recordings(other)[0].path == kept
        assert kept.exists()


def test_what_can_not_be_deleted_stops_nothing(tmp_path: Path) -> None:
    """Its name stays until it can be; all else goes, and what is wrong is handed back."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        _, stuck = _add(store, "a")
        _, path = _add(store, "b")
        stuck.unlink()
        stuck.mkdir()  # it is no file: deleting it fails, whoever asks
        assert store.delete_before(time.time()) == 2
        assert (stuck.exists(), path.exists()) == (True, False)
        with store.writing() as cursor:
            assert isinstance(recordings.sweep(cursor, store.audio_folder), IsADirectoryError)
        stuck.rmdir()
        stuck.write_bytes(b"x")
        with store.writing() as cursor:
            assert recordings.sweep(cursor, store.audio_folder) is None
        assert not stuck.exists()


def test_a_folder_that_is_none_stops_nothing(tmp_path: Path) -> None:
    """Conversations go, whatever is where their recordings were; these go when they are back."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        record, path = _add(store, "a")
        away = store.audio_folder.rename(tmp_path / "away")
        store.audio_folder.write_bytes(b"somebody's")
        assert store.delete(record.trace_id) == 1
        assert store.audio_folder.read_bytes() == b"somebody's"
        store.audio_folder.unlink()
        away.rename(store.audio_folder)
        store.delete(record.trace_id)
        assert not path.exists()


def test_past_their_size_the_oldest_go(tmp_path: Path) -> None:
    """Their conversations stay."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        for number in range(4):
            _add(store, f"{number}", size=1_000, started_at=time.time() - 100 + number)
        with store.writing() as cursor:
            recordings.forget(cursor, store.audio_folder, Limits(recording_bytes=2_500))
            recordings.sweep(cursor, store.audio_folder)
        assert sorted(path.name for path in store.audio_folder.iterdir()) == ["2.ogg", "3.ogg"]
        assert len(store.conversations()) == 4


def test_past_their_age_they_go(tmp_path: Path) -> None:
    """Not what is younger."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        _add(store, "old", started_at=time.time() - 7_200)
        _add(store, "new", started_at=time.time() - 10)
        with store.writing() as cursor:
            recordings.forget(cursor, store.audio_folder, Limits(recording_seconds=3_600))
            recordings.sweep(cursor, store.audio_folder)
        assert [path.name for path in store.audio_folder.iterdir()] == ["new.ogg"]


def test_a_file_of_nobody_is_swept_when_it_is_old(tmp_path: Path) -> None:
    """A young one may be of a conversation that isn't written yet; the folder's others aren't ours
    to name."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        _add(store, "known")
        lost, young = store.audio_folder / "lost.ogg", store.audio_folder / "young.ogg"
        for path in (lost, young, store.audio_folder / "known.ogg"):
            path.write_bytes(b"x")
        old = time.time() - recordings.ORPHANED_SECONDS - 60
        for path in (lost, store.audio_folder / "known.ogg"):
            os.utime(path, (old, old))
        with store.writing() as cursor:
            recordings.sweep(cursor, store.audio_folder, orphans=True)
        left = sorted(path.name for path in store.audio_folder.iterdir())
        assert left == ["known.ogg", "young.ogg"]


def test_a_store_goes_by_other_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a link, or from another folder, its recordings are found and deleted."""
    path, link = tmp_path / "traces.db", tmp_path / "link.db"
    link.symlink_to(path)
    with closing(TraceStore(path)) as store:
        record, audio = _add(store, "a")
    with closing(TraceStore(link)) as store:
        assert [each.path for each in store.recordings(record)] == [audio]
        monkeypatch.chdir(tmp_path)
        assert TraceStore("traces.db").audio_folder == store.audio_folder
        store.delete(record.trace_id)
        assert not audio.exists()


def test_a_name_leads_nowhere_else(tmp_path: Path) -> None:
    """A row that somebody tampered with deletes nothing outside of the folder."""
    outside = tmp_path / "outside.ogg"
    outside.write_bytes(b"x")
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        record, _ = _add(store, "a")
        store.add_recording(record, AudioRecord("../outside.ogg", 1.0))
        assert len(store.recordings(record)) == 1
        store.delete(record.trace_id)
        assert outside.exists()
