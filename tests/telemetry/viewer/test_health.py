"""The health of the telemetry: every number that isn't zero is told, on the front page too."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry import attributes as names
from telemetry.records import SpanRecord
from telemetry.viewer.health import of

from .stored import ROOT, START, conversation, store, viewed

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

    from telemetry.viewer.health import Health

SPAN = SpanRecord(
    span_id="a" * 16,
    parent_span_id=ROOT,
    op="work",
    name="work",
    started_at=START + 61,
    ended_at=START + 62,
)


def health(client: TestClient) -> Health:
    """The health that the pages of a viewer show."""
    return of(client.app)  # type: ignore[arg-type]  # Starlette's


def test_a_zero_says_over_how_many_spans_it_is_one(tmp_path: Path) -> None:
    """Nothing is wrong in what was read, and all was read."""
    with viewed(store(tmp_path / "a.db", conversation(1, spans=[SPAN]))) as client:
        found = health(client)
        assert (found.spans, found.conversations, found.pending, found.is_well) == (2, 1, 0, True)
        assert "is whole</a>" in client.get("/").text
        assert "Counted over 2 spans" in client.get("/health").text


ENDED = START + 120  # of the first conversation


@pytest.mark.parametrize(
    ("span", "counted"),
    [
        (replace(SPAN, op=names.OP_ORPHAN), {"orphans": 1}),
        (replace(SPAN, started_at=ENDED + 1, ended_at=ENDED + 2), {"late": 1}),
        (replace(SPAN, status="cancelled", ended_at=ENDED), {"open_at_finish": 1}),
        (replace(SPAN, status="cancelled"), {}),  # somebody cancelled it while the call ran
    ],
    ids=["orphan", "late", "open at finish", "cancelled"],
)
def test_faults_of_spans_are_counted(
    tmp_path: Path, span: SpanRecord, counted: dict[str, int]
) -> None:
    """Each under its own name, and nothing else."""
    with viewed(store(tmp_path / "a.db", conversation(1, spans=[span]))) as client:
        found = health(client)
        told = {name: getattr(found, name) for name in ("orphans", "late", "open_at_finish")}
        assert {name: number for name, number in told.items() if number} == counted
        assert found.is_well is not bool(counted)


KILLED = """
import os, sys
import telemetry
runtime = telemetry.init(store=sys.argv[1])
telemetry.conversation("call", id="c-killed").__enter__()
runtime.flush(5)
os._exit(9)
"""


def test_what_a_killed_process_left_is_cut_off(tmp_path: Path) -> None:
    """It doesn't count as running; what another process makes of it is seen as that says."""
    path = tmp_path / "a.db"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=50)
    with viewed(store(path)) as client:
        found = health(client)
        assert (found.cut_off, found.stores[0].left, found.is_well) == (1, 1, False)
        [process] = found.stores[0].processes
        assert (process.is_here, process.is_gone) == (True, True)
        text = client.get("/?only=lost").text
        assert "c-killed" in text
        assert "cut off" in text
        assert "running" not in client.get("/rows").text
        assert f"{process.pid} gone" in client.get("/health").text
        with telemetry.init(store=path) as runtime:
            assert runtime.recover(20)
        index = client.app.state.index  # type: ignore[attr-defined]  # Starlette's
        index.touch(index._stores[0], [])  # as if some seconds had passed
        assert index.wait(20)
        assert health(client).cut_off == 1
        with index.reading() as cursor:
            [row] = cursor.execute("SELECT status, ended_at IS NULL FROM entry").fetchall()
        assert tuple(row) == ("aborted", 0)


WAITING = """
import sys
import telemetry
with telemetry.init(dsn="http://key@127.0.0.1:9/1", store=sys.argv[1]) as runtime:
    with telemetry.conversation("call", id="c-1"):
        pass
    runtime.flush(1)
"""


def test_what_waits_for_sentry_is_counted(tmp_path: Path) -> None:
    """With the time since which it does."""
    path = tmp_path / "a.db"
    subprocess.run(
        [sys.executable, "-c", WAITING, str(path)], check=True, capture_output=True, timeout=50
    )
    with viewed(store(path)) as client:
        found = health(client)
        assert found.waiting == 1
        assert found.waiting_since is not None
        assert not found.is_well


def test_a_store_that_can_not_be_read_is_told_and_hides_no_other(tmp_path: Path) -> None:
    """One line of text; the front page says that something is wrong."""
    good, bad = store(tmp_path / "a.db", conversation(1)), store(tmp_path / "b.db", conversation(2))
    for path in tmp_path.glob("b.db*"):
        path.write_bytes(b"this is no database" * 1_000)
    with viewed(good, bad) as client:
        [problem] = health(client).problems
        assert "b.db" in problem
        text = client.get("/").text
        assert "c-1" in text
        assert "t whole</a>" in text
        assert "b.db" in client.get("/health").text
