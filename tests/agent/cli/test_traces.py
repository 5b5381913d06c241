"""Several stores read as one: the agent's, and those of the services it asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli import traces
from agent.cli.traces import export_conversation, list_conversations, show_conversation
from agent.errors import InputError
from config import load
from telemetry import TelemetryError
from telemetry.attributes import OP_CONVERSATION
from telemetry.records import ConversationRecord, SpanRecord
from telemetry.store import AmbiguousId, StoredError, TraceStore, bounded
from tests.ingest import Ingest

START = 1_795_000_000.0


def _conversation(number: int, *, second: float) -> ConversationRecord:
    return _transaction(number, f"c-{number}", OP_CONVERSATION, second)


def _request(number: int, *, second: float) -> ConversationRecord:
    """What a service did for that conversation."""
    return _transaction(number, f"GET /{number}", "http.server", second)


def _transaction(trace: int, name: str, op: str, second: float) -> ConversationRecord:
    started = START + second
    above = None if op == OP_CONVERSATION else f"{OP_CONVERSATION:.12}{trace:04}"
    root = SpanRecord(f"{op:.12}{trace:04}", above, op, name, started, started + 1)
    return ConversationRecord(
        id=name,
        trace_id=f"{trace:032}",
        name=name,
        started_at=started,
        ended_at=started + 1,
        status="ok",
        op=op,
        spans=(root,),
    )


def _stores(folder: Path, **contents: list[ConversationRecord]) -> list[Path]:
    for name, records in contents.items():
        store = TraceStore(folder / name)
        for record in records:
            store.close_conversation(record)
        store.close()
    return [folder / name for name in contents]


def _listed(capsys: pytest.CaptureFixture[str], paths: list[Path], limit: int) -> list[str]:
    list_conversations(paths, limit)
    rows = capsys.readouterr().out.splitlines()[1:]
    return [row[19:].split("  ")[1].strip() for row in rows]


@pytest.mark.parametrize("order", [1, -1])
def test_requests_stand_for_no_conversation_that_another_store_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], order: int
) -> None:
    """However few are wanted: the newest conversation is it, though requests are newer."""
    paths = _stores(
        tmp_path,
        agent=[_conversation(1, second=0), _conversation(2, second=1)],
        service=[
            _request(9, second=0.5),  # its conversation is in no store
            _request(1, second=60),
            _request(2, second=61),
            _request(1, second=62),
        ],
    )[::order]
    show_conversation(paths, None, words=True)
    shown = capsys.readouterr().out
    assert "c-2" in shown.splitlines()[0]
    assert "GET /2" in shown
    assert _listed(capsys, paths, 1) == ["c-2"]
    assert _listed(capsys, paths, 2) == ["c-2", "GET /9"]
    assert _listed(capsys, paths, 9) == ["c-2", "GET /9", "c-1"]


def test_what_is_older_than_a_page_of_requests_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store of both kinds: its own conversations count, however many requests are newer."""
    paths = _stores(
        tmp_path,
        agent=[_conversation(number, second=-100 + number) for number in range(30)],
        both=[
            _conversation(99, second=-50),
            *(_request(number, second=number) for number in range(30)),
        ],
    )
    assert _listed(capsys, paths, 1) == ["c-99"]


def test_a_conversation_is_shown_for_its_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named by what a service did for it, the conversation is what the tree is of."""
    paths = _stores(tmp_path, service=[_request(1, second=60)], agent=[_conversation(1, second=0)])
    show_conversation(paths, "GET /1", words=True)
    assert "c-1" in capsys.readouterr().out.splitlines()[0]


def test_what_is_ambiguous_says_that_there_are_others(tmp_path: Path) -> None:
    """A store names a few of many; so does the answer over all stores, and says it."""
    paths = _stores(
        tmp_path,
        one=[_conversation(number, second=number) for number in range(20)],
        two=[_conversation(99, second=99)],
    )
    with pytest.raises(AmbiguousId, match=r"c-99.*, and others"):
        show_conversation(paths, "c-", words=True)
    with pytest.raises(AmbiguousId) as few:
        show_conversation(paths, "c-9", words=True)
    assert "and others" not in str(few.value)


def test_an_error_is_shown_by_the_id_that_sentry_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a whole: type, message, place, conversation, and what was noted beside it."""
    [path] = _stores(tmp_path, agent=[_conversation(1, second=0)])
    frame = {"abs_path": "/app/tools.py", "lineno": 7, "function": "look_up"}
    event = {
        "event_id": "e" * 32,
        "exception": {
            "values": [
                {"type": "NoTable", "value": "none for Ada", "stacktrace": {"frames": [frame]}}
            ]
        },
        "breadcrumbs": {"values": [{"category": "app", "message": "heard Ada"}]},
        "extra": {"guest": "Ada"},
    }
    error = StoredError(f"{1:032}", "b" * 16, START, "NoTable", "none for Ada", "e" * 32)
    TraceStore(path).add_error(None, error, bounded(event))

    for asked in ("e" * 32, "e" * 10):
        show_conversation([path], asked, words=True)
        shown = capsys.readouterr().out
        for part in ("NoTable: none for Ada", "/app/tools.py:7 in look_up", "conversation c-1"):
            assert part in shown
        assert "app heard Ada" in shown
        assert '{"guest": "Ada"}' in shown


KILLED = """
import os, signal, sys, time
import telemetry
runtime = telemetry.init(store=sys.argv[2], dsn=sys.argv[1])
conversation = telemetry.conversation("host", id="c-killed")
conversation.start_span("agent.speech")
runtime.flush(30)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_recovered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Closed as aborted without Sentry, sent once there is one; what it can't take is said."""
    path = tmp_path / "traces.db"
    with Ingest() as ingest:
        subprocess.run([sys.executable, "-c", KILLED, ingest.dsn, str(path)], check=False)
        assert not traces.recover(load(sentry_dsn=None), path, 20)
        found = TraceStore(path).conversation("c-killed")
        assert found is not None
        assert (found.status, [span.status for span in found.spans]) == ("aborted", ["aborted"] * 2)
        ingest.refuse()
        assert traces.recover(load(sentry_dsn=ingest.dsn), path, 0.5)
        ingest.heal()
        assert not traces.recover(load(sentry_dsn=ingest.dsn), path, 20)
        [event] = ingest.transactions
        assert event["contexts"]["trace"]["status"] == "aborted"
    said = capsys.readouterr().out.replace("\n", " ")
    assert "1 conversation closed that a killed process had left open; nothing is sent" in said
    assert "1 envelope still waits for Sentry; the first since" in said
    assert "0 conversations closed" in said


def test_a_conversation_is_written_to_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under its own id or the name given, readable by its owner only; or to standard output."""
    monkeypatch.chdir(tmp_path)
    paths = _stores(tmp_path, agent=[_conversation(1, second=0), _conversation(2, second=1)])
    export_conversation(paths, None, kind="html", output=None)
    assert capsys.readouterr().out == "c-2.html\n"
    page = tmp_path / "c-2.html"
    assert page.read_text().startswith("<!doctype html>")
    assert page.stat().st_mode & 0o777 == 0o600
    export_conversation(paths, "c-1", kind="json", output=tmp_path / "mine")
    assert json.loads((tmp_path / "mine").read_text())["id"] == "c-1"
    capsys.readouterr()
    export_conversation(paths, "c-1", kind="json", output=Path("-"))
    assert json.loads(capsys.readouterr().out)["id"] == "c-1"


EXPORTING = """
import sys
from pathlib import Path
from agent.cli.traces import export_conversation
export_conversation([Path(sys.argv[1])], None, kind="html", output=Path(sys.argv[2]))
"""


def test_a_file_is_of_the_encoding_that_it_names(tmp_path: Path) -> None:
    """UTF-8, though the system's is another."""
    [path] = _stores(tmp_path, agent=[_transaction(1, "c-é", OP_CONVERSATION, 0)])
    page = tmp_path / "page.html"
    surroundings = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run(
        [sys.executable, "-c", EXPORTING, str(path), str(page)],
        env={**os.environ, **surroundings},
        check=True,
        timeout=50,
    )
    assert "c-é" in page.read_text(encoding="utf-8")


def test_a_file_that_cant_be_written_is_one_line(tmp_path: Path) -> None:
    """It says which, why, and what to do."""
    paths = _stores(tmp_path, agent=[_conversation(1, second=0)])
    with pytest.raises(InputError, match=r"can't be written \(.*\): give another with -o"):
        export_conversation(paths, None, kind="html", output=tmp_path)
    with pytest.raises(TelemetryError, match="no conversation 'c-9'"):
        export_conversation(paths, "c-9", kind="html", output=None)
