"""One conversation as one file that needs nothing else."""

from __future__ import annotations

import base64
import html
import json
import re
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from telemetry.store import Stores, TraceStore
from telemetry.viewer import exported, file_name
from telemetry.viewer.export import MODULES, bundled

from .spoken import conversation, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.store import StoredConversation


def only(store: TraceStore) -> tuple[Stores, StoredConversation]:
    sources = Stores([store])
    [row] = sources.newest(1)
    return sources, row


def test_a_page_that_loads_nothing(tmp_path: Path) -> None:
    """Its policy forbids whatever isn't in it: program and style by their hashes, audio as data."""
    text = exported(*only(recorded(tmp_path / "traces.db", conversation())), "html")
    found = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert found is not None
    policy = html.unescape(found[1])
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    for tag, directive in (('script type="module"', "script-src"), ("style", "style-src")):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag.split()[0]}>", text, re.DOTALL)
        digest = base64.b64encode(sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert not re.search(r'(src|href)="(?!#)', text)


def test_all_that_is_known_is_in_it(tmp_path: Path) -> None:
    """Document, spans, waveform and the very audio."""
    store = recorded(tmp_path / "traces.db", conversation())
    text = exported(*only(store), "html")
    [held] = re.findall(r'id="held">(.*?)</script>', text, re.DOTALL)
    found = json.loads(held)
    assert all(each["heard"] for each in found["document"]["turns"][1]["speeches"])
    assert found["details"].keys() == {row["id"] for row in found["document"]["spans"]}
    [track] = found["tracks"]
    kind, _, audio = track["audio"].partition(",")
    assert kind == "data:audio/ogg;base64"
    assert base64.b64decode(audio) == next(store.audio_folder.iterdir()).read_bytes()
    assert len(track["peaks"]["channels"]) == 2


def test_without_a_recording(tmp_path: Path) -> None:
    """Also where its file can't be read any more."""
    store = recorded(tmp_path / "traces.db", conversation())
    next(store.audio_folder.iterdir()).write_bytes(b"no sound")
    text = exported(*only(store), "html")
    assert '"peaks":null' in text
    next(store.audio_folder.iterdir()).unlink()
    assert '"tracks":[]' in exported(*only(store), "html")


def test_as_json(tmp_path: Path) -> None:
    """The document, and of each span all that is known."""
    made = json.loads(exported(*only(recorded(tmp_path / "traces.db", conversation())), "json"))
    assert made["version"] == 1
    assert made["details"].keys() == {row["id"] for row in made["spans"]}


def test_modules_become_one() -> None:
    """Each after those that it imports, without imports or exports, and none ends the script."""
    text = bundled()
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
    assert "</script" not in text
    names = [name.removesuffix(".js") for name in MODULES]
    assert len(set(names)) == len(names)
    top = re.findall(r"^(?:const|function|class|let) (\w+)", text, re.MULTILINE)
    assert len(top) == len(set(top)), "two modules have something of one name"


@pytest.mark.parametrize(
    ("id", "name"),
    [
        ("booking-1", "booking-1.html"),
        ("../../etc/passwd", "etc-passwd.html"),
        ('\u202e\x00"', "conversation.html"),
        ("x" * 300, f"{'x' * 80}.html"),
    ],
)
def test_file_names(tmp_path: Path, id: str, name: str) -> None:
    """Of letters that every system takes, whatever the id."""
    store = TraceStore(tmp_path / "traces.db")
    store.close_conversation(conversation(id=id))
    store.close()
    _, row = only(store)
    assert file_name(row, "html") == name
