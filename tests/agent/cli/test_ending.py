"""The end of a command, whatever runs: inside its deadline, named, delivered."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent.cli.ending import Ending
from tests.ingest import Ingest

from .test_app import MODELS, ROOT, _environ

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AGENT = """\
import asyncio, contextlib, os, threading, time
from contextlib import asynccontextmanager
from livekit.agents import Agent
import telemetry

async def stubborn():
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(600)

def block():
    print("blocked", flush=True)
    time.sleep(600)

class Odd(Agent):
    @classmethod
    @asynccontextmanager
    async def resources(cls, environ):
        with telemetry.conversation("before", id="before"):
            pass
        how = environ["ODD"]
        print("opening", flush=True)
        if how == "slow to open":
            await asyncio.sleep(600)
        if how == "fails to open":
            raise ConnectionError("no book at\\n10.0.0.1")
        if how == "sleeps in a thread":
            thread = asyncio.create_task(asyncio.to_thread(time.sleep, 600))
        if how == "swallows cancellation":
            task = asyncio.create_task(stubborn(), name="stubborn")
        if how == "blocks the loop":
            asyncio.get_running_loop().call_later(1, block)
        yield lambda: cls(instructions="")
        if how == "slow to close":
            await asyncio.sleep(600)
        if how == "fails to close":
            raise ConnectionError("the book is gone")
"""
DRAIN_SECONDS = 1.0
"""Time that calls have; there are none here."""
DEADLINE_SECONDS = 20.0
"""Time that must be enough for all of it on a busy machine. Without a deadline it takes minutes."""


@contextlib.contextmanager
def serving(folder: Path, odd: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """``parley serve`` with an agent that is odd in some way, from its first line on."""
    (folder / "mine.py").write_text(AGENT)
    with subprocess.Popen(
        [sys.executable, "-c", "from agent.cli import main; main()", "serve", "--port", "0"],
        cwd=folder,
        env={
            **_environ(),
            **MODELS,
            "PYTHONPATH": str(ROOT),
            "PARLEY_STT": "openai",
            "PARLEY_AGENT": "mine:Odd",
            "PARLEY_DRAIN_TIMEOUT": f"{DRAIN_SECONDS:g}",
            "ODD": odd,
            **environ,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "opening\n"
            yield running
        finally:
            running.kill()


def listening(running: subprocess.Popen[str]) -> None:
    """Wait until it takes calls."""
    assert running.stderr is not None
    seen = ""
    while "listening on ws://" not in seen:
        line = running.stderr.readline()
        assert line, seen
        seen += line


def ended(running: subprocess.Popen[str]) -> str:
    """What it says until its end, which is inside the deadline."""
    _, said = running.communicate(timeout=DEADLINE_SECONDS)
    return said


@pytest.mark.parametrize(
    ("odd", "named"),
    [
        ("sleeps in a thread", r"  thread (asyncio|uvloop)_0\n"),
        ("swallows cancellation", r"  task stubborn\n.*mine.py:\d+ stubborn\n"),
        ("blocks the loop", r"  thread MainThread\n"),
        ("slow to close", r"mine.py:\d+ resources\n"),
    ],
)
def test_what_still_runs_is_named_and_left(tmp_path: Path, odd: str, named: str) -> None:
    """Threads that sleep, tasks that can't be cancelled, a loop that is blocked, slow resources."""
    with Ingest() as ingest, serving(tmp_path, odd, SENTRY_DSN=ingest.dsn) as running:
        listening(running)
        if odd == "blocks the loop":
            assert running.stdout is not None
            assert running.stdout.readline() == "blocked\n"
        running.send_signal(signal.SIGTERM)
        said = ended(running)
        sent = [event["transaction"] for event in ingest.transactions]
    assert running.returncode == 1
    assert "parley: left, " in said
    assert re.search(named, said, re.DOTALL), said
    assert sent == ["before"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_takes_minutes_is_given_up(tmp_path: Path, number: signal.Signals) -> None:
    """Asked to stop while it starts, it does, at once."""
    with serving(tmp_path, "slow to open") as running:
        running.send_signal(number)
        said = ended(running)
    assert (running.returncode, "Traceback" in said) == (0, False), said
    assert "parley: left, " not in said


@pytest.mark.parametrize("odd", ["fails to open", "fails to close"])
def test_resources_that_fail_are_one_line_and_an_event(tmp_path: Path, odd: str) -> None:
    """An exception in an agent's own code, before or after all calls."""
    with Ingest() as ingest, serving(tmp_path, odd, SENTRY_DSN=ingest.dsn) as running:
        if odd == "fails to close":
            listening(running)
            running.send_signal(signal.SIGTERM)
        said = ended(running)
        [event] = ingest.errors
    assert running.returncode == 2
    [line] = [line for line in said.splitlines() if line.startswith("parley: ")]
    what = {"fails to open": "opened", "fails to close": "closed"}[odd]
    assert line.startswith(f"parley: mine:Odd.resources could not be {what}: ConnectionError: ")
    assert "Traceback" not in said
    assert event["exception"]["values"][-1]["type"] == "ConnectionError"


@pytest.mark.parametrize(
    ("store", "told"),
    [
        ("off", "telemetry dropped what it could not send"),
        ("traces.db", "in the store (envelopes: 1)"),
    ],
)
def test_sentry_that_hangs_keeps_nobody(tmp_path: Path, store: str, told: str) -> None:
    """What can't be delivered is told in the log, inside the deadline: it is lost, or waits."""
    with Ingest() as ingest:
        ingest.hang()  # before what is recorded first is sent
        with serving(tmp_path, "", SENTRY_DSN=ingest.dsn, PARLEY_TRACE_STORE=store) as running:
            listening(running)
            running.send_signal(signal.SIGTERM)
            said = ended(running)
    assert running.returncode == 0, said
    assert told in said


def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    """As under ``nohup``: only who hears of it can take it for a wish."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Ending(60.0, deliver=lambda _: None, drains=(signal.SIGHUP,)):
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_third_signal_leaves_at_once(tmp_path: Path) -> None:
    """Whatever is still to be done: nobody wants to wait for it."""
    with serving(tmp_path, "slow to close", PARLEY_DRAIN_TIMEOUT="600") as running:
        listening(running)
        for _ in range(3):
            running.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(0.5)  # signals that come together are one
        ended(running)
    assert running.returncode == 128 + signal.SIGTERM
