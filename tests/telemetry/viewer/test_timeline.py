"""The page of one conversation, and what it asks for."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from telemetry import attributes as names
from telemetry.records import SpanRecord
from telemetry.store import TraceStore

from .spoken import ROOT, START, TRACE, Spans, conversation, recorded
from .stored import conversation as other
from .stored import store, until, viewed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

PLACE = f"/conversations/{TRACE}/{ROOT}"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with viewed(recorded(tmp_path / "traces.db", conversation())) as made:
        yield made


def test_the_page_has_the_words_in_it(client: TestClient) -> None:
    """Name, figures and words can be read without a program; nothing in it is inline."""
    page = client.get(PLACE)
    assert page.status_code == 200
    assert "Are you open? On Sunday." in page.text
    assert "answered in 800 ms" in page.text
    assert "<style" not in page.text
    assert " style=" not in page.text
    assert page.text.count("<script") == page.text.count('<script type="module" src=') == 1


def test_every_module_is_served(client: TestClient) -> None:
    """The page's program and all that it imports."""
    todo, seen = ["/static/conversation.js"], set[str]()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = client.get(path)
        assert answer.status_code == 200, path
        imported = re.findall(r'^import .* from "\./([\w.]+)";$', answer.text, re.MULTILINE)
        todo += [f"/static/{name}" for name in imported]
    assert len(seen) > 8


def test_a_document_that_is_known_isnt_sent_again(client: TestClient, tmp_path: Path) -> None:
    """Not while nothing is written, nor when something else is; it is when there is more of it."""
    url = f"{PLACE}/document.json"
    first = client.get(url)
    assert first.status_code == 200
    assert len(first.json()["turns"]) == 3
    tag = first.headers["etag"]
    again = client.get(url, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")

    store = TraceStore(tmp_path / "traces.db")
    store.close_conversation(conversation(id="c-2", trace_id="b" * 32))
    other = client.get(url, headers={"If-None-Match": tag})
    assert other.status_code == 304
    assert other.headers["etag"] != tag, "asked with this one, nothing has to be read"

    late = SpanRecord("9" * 16, ROOT, "late", "late", START + 9, START + 9.5)
    store.add_spans(TRACE, "c-1", [late])
    store.close()
    more = client.get(url, headers={"If-None-Match": other.headers["etag"]})
    assert more.status_code == 200
    assert "late" in {row["op"] for row in more.json()["spans"]}


def test_words_are_placed_once_they_were_heard(client: TestClient) -> None:
    """The waveform is asked for, decoded, and the next document has words by it."""
    url = f"{PLACE}/document.json"
    tag = client.get(url).headers["etag"]
    peaks = client.get(f"{PLACE}/peaks.json").json()
    assert (peaks["per_second"], len(peaks["channels"])) == (100, 2)
    placed = client.get(url).json()
    assert all(each["heard"] for each in placed["turns"][1]["speeches"])
    assert client.get(url).headers["etag"] != tag


def test_any_part_of_the_audio(client: TestClient, tmp_path: Path) -> None:
    """A browser asks for the part that it plays."""
    whole = next((tmp_path / "traces.db.audio").iterdir()).read_bytes()
    answer = client.get(f"{PLACE}/audio", headers={"Range": "bytes=100-199"})
    assert (answer.status_code, answer.content) == (206, whole[100:200])
    assert answer.headers["content-type"] == "audio/ogg"
    assert client.get(f"{PLACE}/audio").content == whole
    assert client.get(f"{PLACE}/audio?track=0").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        f"/conversations/{TRACE}/{'0' * 16}",
        f"/conversations/{'0' * 32}/{ROOT}/document.json",
        f"{PLACE}/spans/{'0' * 16}.json",
        f"{PLACE}/peaks.json?track=1",
        f"{PLACE}/audio?track=-1",
        f"{PLACE}/audio?track=²",
        f"{PLACE}/audio?track=99999999999",
        f"{PLACE}/export.exe",
    ],
)
def test_what_isnt_there(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_recording_that_cant_be_read(client: TestClient, tmp_path: Path) -> None:
    """The page is told so, and goes on without a waveform."""
    next((tmp_path / "traces.db.audio").iterdir()).write_bytes(b"no sound")
    assert client.get(f"{PLACE}/peaks.json").status_code == 404
    assert client.get(f"{PLACE}/document.json").status_code == 200


def test_all_that_is_known_of_a_span(client: TestClient) -> None:
    """Attributes are asked for a span at a time: those of all may be many megabytes."""
    document = client.get(f"{PLACE}/document.json").json()
    turn = next(
        row for row in document["spans"] if row["label"] == "" and row["op"] == names.OP_TURN
    )
    details = client.get(f"{PLACE}/spans/{turn['id']}.json").json()
    assert details["attributes"][names.TURN_INDEX] == 0
    assert "attributes" not in turn


def test_a_conversation_without_a_root(tmp_path: Path) -> None:
    """Of which nothing but the beginning was written: its page says what there is."""
    store = TraceStore(tmp_path / "traces.db")
    store.open_conversation(conversation(spans=(), ended_at=None))
    store.close()
    with viewed(store) as client:
        assert client.get(f"/conversations/{TRACE}/-").status_code == 200
        assert client.get(f"/conversations/{TRACE}/-/document.json").json()["live"]


@pytest.mark.parametrize("which", ["another version", "no database"])
def test_a_store_that_cant_be_read_hides_no_other(tmp_path: Path, which: str) -> None:
    """What the others have is shown; of what may be in it the reason is told."""
    good = recorded(tmp_path / "traces.db", conversation())
    bad = store(tmp_path / "bad.db", other(2))
    if which == "no database":
        for path in tmp_path.glob("bad.db*"):
            path.write_bytes(b"this is no database" * 1_000)
    else:
        with sqlite3.connect(tmp_path / "bad.db") as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
    for stores in ((good, bad), (bad, good)):
        with viewed(*stores) as client:
            for view in ("", "/document.json", "/peaks.json", "/export.json"):
                assert client.get(PLACE + view).status_code == 200
            answer = client.get(f"/conversations/{2:032x}/{ROOT}")
            assert answer.status_code == 503
            assert "bad.db" in answer.text
    with viewed(bad) as client:
        assert client.get(PLACE).status_code == 503


KILLED = """
import os, sys
import telemetry
with telemetry.init(store=sys.argv[1]) as runtime:
    with telemetry.conversation("call") as call:
        with telemetry.span("work", "work"):
            pass
        runtime.flush(5)
        print(call.trace_id, call.transaction.span_id, flush=True)
        sys.stdin.read()
"""


def test_the_page_of_a_live_call_notices_that_its_process_was_killed(tmp_path: Path) -> None:
    """Nothing is written by that: no file changes."""
    path = tmp_path / "traces.db"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        trace_id, root = process.stdout.readline().split()
        url = f"/conversations/{trace_id}/{root}/document.json"
        with viewed(TraceStore(path)) as client:
            first = client.get(url)
            assert first.json()["live"]
            tag = first.headers["etag"]
            assert client.get(url, headers={"If-None-Match": tag}).status_code == 304
            process.kill()
            process.wait(20)
            answers: list[Any] = []

            def is_over() -> object:
                answers.append(client.get(url, headers={"If-None-Match": tag}))
                return answers[-1].status_code == 200

            until(is_over)
            assert not answers[-1].json()["live"]


HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\x00\ud83d\"'"


def test_hostile_words_are_escaped(tmp_path: Path) -> None:
    """In the page, in the document, in both exports: no tag of theirs, no mark of direction."""
    spans = Spans()
    known = {names.USER_WORDS: HOSTILE, names.AGENT_WORDS: HOSTILE, HOSTILE: HOSTILE}
    spans.add(names.OP_CONVERSATION, 0, 10, None, span_id=ROOT, name=HOSTILE, attributes=known)
    spans.add(names.OP_TURN, 1, 2, attributes=known, name=HOSTILE)
    record = conversation(
        id=HOSTILE,
        name=HOSTILE,
        user={"id": HOSTILE},
        tags={HOSTILE: HOSTILE},
        spans=tuple(spans.made),
    )
    store = TraceStore(tmp_path / "traces.db")
    store.close_conversation(record)
    store.close()
    with viewed(store) as client:
        for path in ("", "/export.html"):
            text = client.get(f"{PLACE}{path}").text
            assert "<img src=x" not in text, path
            assert "\u202e" not in text, path
            assert "\x00" not in text, path
        document = client.get(f"{PLACE}/document.json")
        assert document.content.isascii()
        assert HOSTILE[:30] in document.json()["name"]
        exported = client.get(f"{PLACE}/export.json")
        assert json.loads(exported.text)["name"] == document.json()["name"]
        name = exported.headers["content-disposition"]
        assert "script" in name
        assert not {"<", ">", "\\", "/"} & set(name)


def test_a_thousand_spans_are_a_small_document(tmp_path: Path) -> None:
    """What models were given isn't in it, however long."""
    spans = Spans()
    spans.add(names.OP_CONVERSATION, 0, 600, None, span_id=ROOT)
    long: dict[str, Any] = {names.GEN_AI_INPUT_MESSAGES: "word " * 400}
    for number in range(1000):
        spans.add(names.OP_CHAT, number / 2, number / 2 + 0.4, attributes=long)
    store = TraceStore(tmp_path / "traces.db")
    store.close_conversation(conversation(spans=tuple(spans.made), ended_at=START + 600))
    store.close()
    with viewed(store) as client:
        answer = client.get(f"{PLACE}/document.json")
    assert len(answer.json()["spans"]) == 1001
    assert len(answer.content) < 400_000
