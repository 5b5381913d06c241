"""One conversation as one document, whatever the stores hold of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry import attributes as names
from telemetry.records import ConversationRecord, SpanRecord
from telemetry.store import StoredConversation, StoredError, Stores, TraceStore
from telemetry.viewer.document import Document, Found, document, found_in
from telemetry.viewer.waveform import Waveforms

from .spoken import ROOT, START, TRACE, Spans, conversation, recorded

if TYPE_CHECKING:
    from pathlib import Path


def stored(path: Path, *records: ConversationRecord) -> Found:
    """A conversation, the first of these, out of a store."""
    store = TraceStore(path / "traces.db")
    for record in records:
        if record.ended_at is None:
            store.open_conversation(record)
        else:
            store.close_conversation(record)
    store.close()
    first = records[0]
    root = first.spans[0].span_id if first.spans else None
    found = found_in(Stores([store]), first.trace_id, root)
    assert found is not None
    return found


def test_a_conversation_that_telemetry_has_recorded(tmp_path: Path) -> None:
    """Recorded through ``init``, read back from its store: figures, words, tiles, spans, errors."""
    path = tmp_path / "traces.db"
    with telemetry.init(store=str(path)) as runtime:
        with telemetry.conversation("call", id="c-1", user={"id": "u1"}) as call:
            turn = call.start_span(names.OP_TURN, attributes={names.USER_WORDS: "Hello there"})
            turn.start_span(names.OP_USER_SPEECH).finish()
            response = turn.start_span(
                names.OP_RESPONSE,
                started_at=time.time() - 2,
                attributes={names.RESPONSE_LATENCY: 2.0},
            )
            stage = f"{names.OP_RESPONSE}.synthesis"
            response.start_span(stage, "synthesis", started_at=time.time() - 2).finish()
            response.finish()
            turn.finish()
            call.capture_exception(ValueError("no table"))
        assert runtime.flush(10)
    sources = Stores([TraceStore(path)])
    [row] = sources.newest(1)
    found = found_in(sources, row.trace_id, row.root_span_id)
    assert found is not None
    made = document(found)
    assert (made["id"], made["live"], made["status"]) == ("c-1", False, "ok")
    assert made["facts"]["user"] == {"id": "u1"}
    assert (made["facts"]["turns"], made["facts"]["errors"]) == (1, 1)
    assert made["facts"]["latency_p50"] == 2.0
    [turn_made] = made["turns"]
    assert [word["text"] for word in turn_made["speeches"][0]["words"]] == ["Hello", "there"]
    assert turn_made["response"] is not None
    assert turn_made["response"]["slowest"] == "synthesis"
    kinds = {problem["kind"]: problem["text"] for problem in made["problems"]}
    assert kinds.keys() == {"slow", "error"}
    assert "2.00 s of it synthesis" in kinds["slow"]
    assert "no table" in kinds["error"]
    assert len(made["spans"]) == 5


def test_problems_are_in_order(tmp_path: Path) -> None:
    """A failed span where it began, an interruption where the speech was cut. Those above a failed
    span have it from that one."""
    made = document(stored(tmp_path, conversation()))
    assert [(each["kind"], each["at"]) for each in made["problems"]] == [
        ("error", 3.9),
        ("interruption", 6.0),
    ]
    assert made["problems"][1]["text"] == "The caller interrupted the agent in turn 1"


@pytest.mark.parametrize("late", [0.0, 0.2])
def test_words_are_where_the_recording_has_them(tmp_path: Path, late: float) -> None:
    """Also where it begins later than the conversation."""
    store = recorded(tmp_path / "traces.db", conversation(), late=late)
    found = found_in(Stores([store]), TRACE, ROOT)
    assert found is not None
    waveforms = Waveforms()
    before = document(found, waveforms.known)
    assert not before["turns"][1]["speeches"][0]["heard"]
    [track] = before["tracks"]
    assert (track["at"], track["channels"]) == (late, 2)
    waveforms.of(found.recordings[0].path)
    caller, agent = document(found, waveforms.known)["turns"][1]["speeches"]
    assert caller["heard"]
    assert caller["words"][0]["at"] == pytest.approx(2.0, abs=0.02)
    assert caller["words"][3]["at"] == pytest.approx(2.9, abs=0.02)
    assert agent["words"][0]["at"] == pytest.approx(4.3, abs=0.02)
    assert agent["words"][-1]["until"] == pytest.approx(6.0, abs=0.03)


def test_a_call_that_goes_on(tmp_path: Path) -> None:
    """It reaches to the latest thing known; the same but for the time until there is more."""
    spans = [each for each in conversation().spans if each.started_at < START + 3]
    record = conversation(ended_at=None, status="open", spans=tuple(spans))
    found = stored(tmp_path, record)
    made, later = document(found, now=START + 5), document(found, now=START + 9)
    assert (made["live"], made["now"], later["now"]) == (True, 5.0, 9.0)
    assert {**made, "now": 0} == {**later, "now": 0}


def test_a_conversation_without_spans(tmp_path: Path) -> None:
    """As one of which nothing but the beginning was written."""
    made = document(stored(tmp_path, conversation(spans=(), ended_at=None, status="open")))
    assert (made["turns"], made["spans"], made["seconds"]) == ([], [], 0.0)
    assert made["axis"] == (0.0, 0.1)


def test_a_conversation_whose_process_was_killed(tmp_path: Path) -> None:
    """Its end is a problem to look at."""
    made = document(stored(tmp_path, conversation(status="aborted")))
    assert made["problems"][-1]["kind"] == "aborted"
    assert made["problems"][-1]["at"] == 10.0


def test_a_clock_that_is_wrong_leaves_the_axis_readable(tmp_path: Path) -> None:
    """What another process says of another day is a row, and not on the axis."""
    day = 86_400.0
    root = SpanRecord("e" * 16, ROOT, "http.server", "GET /", START - day, START - day + 1)
    other = ConversationRecord(
        "s", TRACE, "GET /", START - day, START - day + 1, "ok", "http.server", spans=(root,)
    )
    made = document(stored(tmp_path, conversation(), other))
    assert made["axis"] == (0.0, 10.0)
    assert min(row["at"] for row in made["spans"]) == -day


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    """Whatever somebody says, the document is JSON that says the same."""
    said = 'a </script><img src=x onerror=alert(1)> \u202e \x00 \ud83d " \\'
    spans = Spans()
    spans.add(names.OP_CONVERSATION, 0, 10, None, span_id=ROOT, name=said)
    spans.add(names.OP_TURN, 1, 2, attributes={names.USER_WORDS: said})
    found = Found(
        StoredConversation(
            said, TRACE, said, START, START + 10, "ok", spans=tuple(spans.made), root_span_id=ROOT
        ),
        errors=[StoredError(TRACE, None, START, said, said)],
    )
    made = document(found)
    again: Document = json.loads(json.dumps(made))
    assert again["name"] == said
    words = [word["text"] for word in again["turns"][0]["speeches"][0]["words"]]
    assert words == said.split()


def test_a_thousand_spans(tmp_path: Path) -> None:
    """All of them are there: a row each."""
    spans = Spans()
    spans.add(names.OP_CONVERSATION, 0, 1000, None, span_id=ROOT)
    for number in range(1200):
        spans.add("gen_ai.chat", number / 2, number / 2 + 0.4)
    made = document(stored(tmp_path, conversation(spans=tuple(spans.made))))
    assert len(made["spans"]) == 1201


def test_a_process_that_is_gone_runs_no_call(tmp_path: Path) -> None:
    """A conversation without an end whose process died is over where it broke off."""
    path = tmp_path / "traces.db"
    child = (
        "import os, sys\n"
        "import telemetry\n"
        "runtime = telemetry.init(store=sys.argv[1])\n"
        "telemetry.conversation('call', id='c-1').__enter__()\n"
        "assert runtime.flush(10)\n"
        "print(flush=True)\n"
        "sys.stdin.read() if sys.argv[2] == 'wait' else os._exit(0)\n"
    )
    for how, live in (("wait", True), ("die", False)):
        with subprocess.Popen(
            [sys.executable, "-c", child, str(path), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            if not live:
                process.wait()
            sources = Stores([TraceStore(path)])
            [row] = sources.newest(1)
            found = found_in(sources, row.trace_id, row.root_span_id)
            process.kill()
        assert found is not None
        made = document(found)
        assert made["live"] == live
        assert [each["kind"] for each in made["problems"]] == ([] if live else ["aborted"])
