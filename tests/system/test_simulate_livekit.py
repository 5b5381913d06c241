"""``parley simulate --transport livekit`` against a real LiveKit server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from telemetry.attributes import CALLER_GAP, OP_CALLER, OP_CONVERSATION, OP_RESPONSE
from telemetry.store import TraceStore

if TYPE_CHECKING:
    from agent.rooms import LiveKit
    from tests.system.livekit import Server

pytestmark = [pytest.mark.system, pytest.mark.timeout(300, func_only=True)]

PARLEY = Path(sys.executable).with_name("parley")
ROOT = Path(__file__).parents[2]
HELLO = """
name: hello
description: Says hello.
turns:
  - text: hello
"""


def simulate(
    folder: Path, livekit: LiveKit | None, *arguments: str, **environ: str
) -> tuple[int, str]:
    """Run it in ``folder`` with this server in its settings; exit code and output."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PARLEY_", "SENTRY_", "LIVEKIT_"))
    }
    server = {}
    if livekit is not None:
        server = {
            "LIVEKIT_URL": livekit.url,
            "LIVEKIT_API_KEY": livekit.key,
            "LIVEKIT_API_SECRET": livekit.secret,
        }
    done = subprocess.run(
        [PARLEY, "simulate", *arguments, "--transport", "livekit"],
        cwd=folder,
        env={**clean, **server, "PARLEY_TRACE_STORE": str(folder / "traces.db"), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    return done.returncode, done.stdout + done.stderr


def test_callers_in_rooms(server: Server, tmp_path: Path) -> None:
    """Two callers in rooms of their own: all holds, each conversation is below its caller, and has
    what that has heard."""
    code, said = simulate(
        tmp_path, server.livekit, "booking", "--callers", "2", "--report", "report.json"
    )
    report = json.loads((tmp_path / "report.json").read_text())
    failed = [call for call in report["conversations"] if not call["passed"]]
    assert (code, failed, report["failures"]) == (0, [], []), said
    assert report["command"].endswith("--transport livekit")
    assert report["stats"]["conversations"] == len(report["conversations"]) == 2
    store = TraceStore(tmp_path / "traces.db")
    for call in report["conversations"]:
        below = {each.op: each.spans[0] for each in store.trace(call["trace_id"])}
        assert below[OP_CONVERSATION].parent_span_id == below[OP_CALLER].span_id
        told = [turn["measured_ms"] for turn in call["turns"] if turn["measured_ms"] is not None]
        gaps = [
            1000 * span.attributes[CALLER_GAP]
            for each in store.trace(call["trace_id"])
            for span in each.spans
            if span.op == OP_RESPONSE and CALLER_GAP in span.attributes
        ]
        assert gaps
        assert all(any(abs(gap - ms) < 1 for ms in told) for gap in gaps)


def test_a_trace_that_differs_from_the_history(server: Server, tmp_path: Path) -> None:
    """In a room, too, the call fails, and one line says what differs."""
    settings = {"PYTHONPATH": str(ROOT), "PARLEY_AGENT": "tests.agent.unsaid:Unsaid"}
    (tmp_path / "hello.yaml").write_text(HELLO)
    code, said = simulate(
        tmp_path, server.livekit, "hello.yaml", "--report=report.json", **settings
    )
    [call] = json.loads((tmp_path / "report.json").read_text())["conversations"]
    assert (code, call["trace_failures"]) == (
        1,
        [
            "it differs from the session's history: "
            "no turn has what the assistant said: 'Anything else?'"
        ],
    ), said


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_a_server_on_this_machine_is_reached_without_a_proxy(
    server: Server, tmp_path: Path, variable: str
) -> None:
    """Worker and caller join the room, though LiveKit's client knows no NO_PROXY."""
    code, said = simulate(tmp_path, server.livekit, "typed", **{variable: "http://127.0.0.1:9"})
    assert code == 0, said


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"url": "ws://127.0.0.1:9"}, "check LIVEKIT_URL"),
        ({"secret": "of-32-characters-and-wrong-anyway"}, "check LIVEKIT_API_KEY"),
    ],
)
def test_server_that_cannot_be_used(
    server: Server, tmp_path: Path, changes: dict[str, str], why: str
) -> None:
    """No server, or one that doesn't take the key: one line that says how to mend it, exit 2."""
    wrong = replace(server.livekit, **changes)
    code, said = simulate(tmp_path, wrong, "booking")
    assert code == 2
    assert said.splitlines()[-1].startswith("parley: ")
    assert why in said.splitlines()[-1]


def test_server_that_is_not_named(tmp_path: Path) -> None:
    """Without settings it says which are missing, and exits with 2."""
    code, said = simulate(tmp_path, None, "booking")
    assert code == 2
    assert "LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET not set" in said.splitlines()[-1]
