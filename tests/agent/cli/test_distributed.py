"""One trace over processes: a caller, the agent, and ``parley reservations`` in its own."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest
from livekit.agents import AgentSession

import telemetry
from agent.desk import DeskScript, FrontDesk, Reservations
from agent.desk.house import local_now
from agent.providers.scripted import LLM
from telemetry.integrations import livekit as livekit_telemetry
from telemetry.integrations.httpx import HttpxIntegration
from telemetry.store import TraceStore
from tests.agent.cli.test_app import parley

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def anyio_backend() -> str:
    """LiveKit needs asyncio."""
    return "asyncio"


@contextlib.contextmanager
def _service(folder: Path) -> Iterator[str]:
    """``parley reservations`` with a trace store of its own; its URL."""
    with subprocess.Popen(
        [sys.executable, "-c", "from agent.cli import main; main()", "reservations", "--port=0"],
        cwd=folder,
        env={**os.environ, "PARLEY_TRACE_STORE": str(folder / "service.db"), "SENTRY_DSN": ""},
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        try:
            seen = ""
            while (found := re.search(r"listening on (http://\S+)", seen)) is None:
                line = running.stderr.readline()
                assert line, seen
                seen += line
            yield found[1]
            running.send_signal(signal.SIGTERM)
            assert running.wait(20) == 0
        finally:
            running.kill()


def _day() -> str:
    """A day on which the house is open all evening, whenever this runs."""
    return "Saturday" if local_now().date().isoweekday() == 5 else "Friday"


async def _ask(url: str, headers: dict[str, str]) -> str:
    """Ask the real front desk for a table; the conversation's id."""
    session = AgentSession[None](
        llm=LLM(DeskScript(lambda: local_now().date()), first_token=0, token=0)
    )
    async with Reservations.connect(url) as reservations:
        conversation = livekit_telemetry.trace(session, name="host", id="call-1", headers=headers)
        await session.start(FrontDesk(reservations), record=False)
        await session.run(user_input=f"Do you have a table for two on {_day()} at eight?")
        await session.aclose()
    return conversation.id


def _parents(shown: str) -> dict[str, str]:
    """What stands above each line of the tree, both without times and facts."""
    above: list[tuple[int, str]] = []
    found: dict[str, str] = {}
    for line in shown.splitlines():
        row = re.match(r" *[+-]\d+\.\d+ +\d+\.\d+  ([│├└─ ]*)(.*)", line)
        if row is None:
            continue
        name = row[2].partition(": ")[0]
        while above and above[-1][0] >= len(row[1]):
            above.pop()
        found[name] = above[-1][1] if above else ""
        above.append((len(row[1]), name))
    return found


async def test_the_whole_tree_is_shown(tmp_path: Path) -> None:
    """Caller → conversation → turn → tool → HTTP → service → query, from two processes' stores."""
    agent = tmp_path / "agent.db"
    with (
        _service(tmp_path) as url,
        telemetry.init(
            store=agent, auto_enabling_integrations=False, integrations=[HttpxIntegration()]
        ) as runtime,
    ):
        with telemetry.transaction("call", "caller") as caller:
            # where the agent runs, nothing of the caller's is current: only its headers arrive
            task = asyncio.create_task(
                _ask(url, caller.trace_headers()), context=contextvars.Context()
            )
            with anyio.fail_after(30):
                id = await task
        assert runtime.stats().orphan_spans == 0
        assert await runtime.aflush()
        service = tmp_path / "service.db"
    [request] = TraceStore(service).trace(caller.trace_id)
    assert request.op == "http.server"

    stores = "--store", str(agent), "--store", str(service)
    code, shown, error = await anyio.to_thread.run_sync(
        lambda: parley(tmp_path, "traces", "show", id, *stores)
    )
    assert (code, error) == (0, "")
    parents = _parents(shown)
    query = next(name for name in parents if name.startswith("db.query SELECT time"))
    chain = [query]
    while above := parents[chain[-1]]:
        chain.append(above)
    assert [name.partition(" ")[0] for name in chain] == [
        "db.query",
        "http.server",
        "http.client",
        "gen_ai.execute_tool",
        "gen_ai.invoke_agent",
        "conversation.turn",
        "livekit.agent_session",
        "conversation",
        "call",
    ], shown
    assert "! parent" not in shown
    assert "clock" not in shown

    # all of a trace goes by its id, also where only the service's side is known
    by_trace = await anyio.to_thread.run_sync(
        lambda: parley(tmp_path, "traces", "show", caller.trace_id, "--store", str(service))
    )
    assert by_trace[0] == 0
    assert "GET /availability" in by_trace[1]
    listed = await anyio.to_thread.run_sync(lambda: parley(tmp_path, "traces", "list", *stores))
    assert (listed[1].count("call-1"), listed[1].count("GET /availability")) == (1, 0)
