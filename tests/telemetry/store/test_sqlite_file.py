"""The file of a store: who may use it, from where, and its errors."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry.store import TraceStore, TraceStoreError

from .rows import START, conversation, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[3]
CRASH = """
import os, sys
from dataclasses import replace
from telemetry.store import TraceStore
from tests.telemetry.store.rows import conversation, opened, span
store = TraceStore(sys.argv[1])
store.open_conversation(opened(conversation()))
store.add_spans("a" * 32, "c-1", [span(1)])
class Dies:
    def __getattr__(self, name):
        os._exit(9)
store.close_conversation(replace(conversation(), spans=(span(0), span(2), Dies())))
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    """A new store."""
    made = TraceStore(tmp_path / "folder" / "traces.db")
    yield made
    made.close()


def test_several_writers(tmp_path: Path) -> None:
    """Writers that share a file, from its creation on, wait for each other."""
    path = tmp_path / "traces.db"
    together = threading.Barrier(4)

    def write(writer: int) -> None:
        store = TraceStore(path)
        together.wait()
        for number in range(10):
            store.close_conversation(conversation(f"c-{writer}-{number}"))
        store.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(TraceStore(path).conversations(limit=100)) == 40


def test_after_a_crash(tmp_path: Path) -> None:
    """What a process wrote before it died is there; what it was writing is all or nothing."""
    path = tmp_path / "traces.db"
    died = subprocess.run([sys.executable, "-c", CRASH, str(path)], cwd=REPOSITORY, check=False)
    assert died.returncode == 9
    store = TraceStore(path)
    (listed,) = store.conversations()
    assert (listed.ended_at, listed.span_count) == (None, 1)
    store.close_conversation(conversation())
    store.close()
    (listed,) = store.conversations()
    assert (listed.ended_at, listed.span_count) == (START + 9, 2)


def test_nothing_written_nothing_there(store: TraceStore) -> None:
    """A store nobody wrote to reads as empty and leaves no file behind."""
    assert store.conversations() == []
    assert store.conversation("c-1") is None
    assert store.errors(conversation()) == []
    assert not store.path.parent.exists()


def test_words_are_private(store: TraceStore) -> None:
    """Only its owner may read the file: it holds what people said."""
    store.open_conversation(opened(conversation()))
    assert {stat.S_IMODE(file.stat().st_mode) for file in store.path.parent.iterdir()} == {0o600}


def test_files_that_are_not_stores(tmp_path: Path) -> None:
    """A path that can't be used is one line saying what it is; the file stays as it was."""
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but rather long " * 10)
    foreign = tmp_path / "foreign.db"
    newer = tmp_path / "newer.db"
    store = TraceStore(newer)
    store.open_conversation(conversation())
    store.close()
    for path, statement in ((foreign, "CREATE TABLE mine (x)"), (newer, "PRAGMA user_version = 9")):
        with sqlite3.connect(path) as file:
            file.execute(statement)
        file.close()
    expected = {
        text: "is not a trace store",
        foreign: "another program's database",
        newer: "format 9, this program knows 5",
        tmp_path: "can't be used",
        text / "traces.db": "not a folder that can be written to",
    }
    for path, complaint in expected.items():
        with pytest.raises(TraceStoreError, match=complaint) as caught:
            TraceStore(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert text.read_text().startswith("not a database")


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        (":memory:", "can't be in memory: name a file"),
        ("", "it is a folder: name a file in it, like traces.db"),
        ("folder", "it is a folder: name a file in it, like folder/traces.db"),
        ("file:x.db", "it is a URI"),
        ("file::memory:?cache=shared", "it is a URI"),
        ("file:///tmp/x.db", "it is a URI"),
        ("sqlite:///x.db", "it is a URI"),
        ("sqlite+aiosqlite:///x.db", "it is a URI"),
        ("nul\0.db", "null character"),
        ("pipe", "it is a device or a pipe"),
        ("socket", "it is a device or a pipe"),
        ("/dev/null", "it is a device or a pipe: name a file, or turn the store off"),
        ("/dev/full", "it is a device or a pipe"),
        ("loop", "symbolic links"),
        ("loop/traces.db", "symbolic links"),
        ("long" * 100, "too long"),
        ("plain/traces.db", "plain is not a folder that can be written to"),
        ("/proc/traces.db", "/proc is not a folder that can be written to"),
        ("/proc/a/b/traces.db", "/proc is not a folder that can be written to"),
    ],
)
def test_places_that_hold_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, complaint: str
) -> None:
    """`init` says at once, in one line, what is wrong with a place; nothing is left there."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("plain").touch()
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
    before = sorted(os.listdir())
    for use in (TraceStore, lambda path: telemetry.init(store=path)):
        with pytest.raises(TraceStoreError, match=complaint) as caught:
            use(place)
        assert "\n" not in str(caught.value)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    "place",
    ["a/b/c.db", "link.db", "far.db", "sp ace?#%.db", "file.db:1", "C:x.db", "folder/../x.db"],
)
def test_places_that_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Folders that aren't there yet, links, odd names."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("link.db").symlink_to("folder/real.db")
    Path("far.db").symlink_to("not/yet/there.db")
    store = TraceStore(place)
    store.open_conversation(opened(conversation()))
    store.close()
    assert len(TraceStore(place).conversations()) == 1


READ_ONLY = """
import os, sys
import telemetry
from telemetry.store import TraceStore
with telemetry.init(), telemetry.conversation("all is imported"):
    pass
os.chdir(sys.argv[1])
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
print(len(TraceStore("traces.db").conversations()))
for place in ("traces.db", "new.db"):
    try:
        telemetry.init(store=place)
    except telemetry.TelemetryError as error:
        print(error)
"""


def test_a_store_that_may_only_be_read(tmp_path: Path) -> None:
    """Its conversations are shown, from a folder where nothing can be made either; `init` says that
    it can't be written."""
    folder = tmp_path / "folder"
    store = TraceStore(folder / "traces.db")
    store.close_conversation(conversation())
    store.close()
    store.path.chmod(0o444)
    folder.chmod(0o555)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid != os.getuid() or parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    [shown, written, made] = done.stdout.splitlines()
    assert shown == "1"
    assert "it may only be read" in written
    assert "is not a folder that can be written to" in made


def test_a_file_that_changes_hands(tmp_path: Path) -> None:
    """A file that became something else since the store was made isn't written over."""
    store = TraceStore(tmp_path / "traces.db")
    store.path.write_text("somebody else's by now " * 10)
    with pytest.raises(TraceStoreError, match="is not a trace store"):
        store.open_conversation(conversation())
    assert store.path.read_text().startswith("somebody else's")
