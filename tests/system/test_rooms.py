"""Calls in rooms of a real LiveKit server, held by ``parley start``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from agent.session import Outcome
from telemetry import attributes as names
from tests.system.callers import Caller, question
from tests.system.worker import said, working

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.livekit import Server

pytestmark = [pytest.mark.system, pytest.mark.timeout(300, func_only=True), pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_ten_rooms(server: Server, tmp_path: Path) -> None:
    """Ten rooms in one process at once: all greeted and answered, each one whole transaction."""
    with working(server.livekit, tmp_path) as worker:
        callers = [Caller(server.livekit, f"room-{number}") for number in range(10)]
        speech = question()
        # two cores hold the callers, the server and the models: not all are answered in one moment
        asking = anyio.CapacityLimiter(4)

        async def call(caller: Caller) -> None:
            async with caller:
                await caller.hear_greeting()
                async with asking:
                    await caller.ask(speech)
                await caller.hang_up()

        async with anyio.create_task_group() as tasks:
            for caller in callers:
                tasks.start_soon(call, caller)
        for caller in callers:
            assert caller.greeted_at is not None
            assert caller.replied_at is not None
            assert caller.outcome is Outcome.HUNG_UP
            record = worker.conversation(caller.id)
            assert record.status == "ok"
            assert [span.op for span in record.spans].count(names.OP_CONVERSATION) == 1
            assert record.trace_id == caller.call.trace_id
        # both ends: a server that is busy stops listening to who joins with a single connection
        joined = [
            line
            for line in server.said.splitlines()
            if "starting RTC session" in line and '"room": "call-room-' in line
        ]
        assert len(joined) == 20
        assert all('"UseSinglePeerConnection": false' in line for line in joined)
        metrics = (await said(worker.metrics)).splitlines()
        assert "parley_telemetry_conversations_total 10.0" in metrics
        assert "parley_telemetry_orphan_spans_total 0.0" in metrics


SHADOWS = ("config", "livekit", "queue", "selectors", "signal", "socket", "struct", "types")


async def test_a_process_of_its_own_is_hidden_nothing(server: Server, tmp_path: Path) -> None:
    """Files in the worker's folder that are called as Python's modules, or ours, do a job that
    starts a Python of its own no harm; nor do proxies for a server on this machine."""
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name}')\n")
    surroundings = {"PARLEY_JOB_EXECUTOR": "process", "HTTP_PROXY": "http://127.0.0.1:9"}
    with working(server.livekit, tmp_path, **surroundings) as worker:
        async with Caller(server.livekit, "room-1") as caller:
            await caller.hear_greeting()
            await caller.ask(question())
            await caller.hang_up()
        assert worker.conversation(caller.id).status == "ok"
