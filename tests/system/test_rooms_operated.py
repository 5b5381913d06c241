"""What an operator relies on: the cap, health, metrics, tokens, other workers, other executors."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from typing import TYPE_CHECKING

import anyio
import pytest
from livekit import api, rtc

from agent import gateway
from agent.rooms.request import CONVERSATION
from agent.session import Outcome
from telemetry import attributes as names
from tests.system.callers import Caller, question
from tests.system.livekit import Ports
from tests.system.worker import Worker, said, working

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from telemetry.store import StoredConversation
    from tests.system.livekit import Server

pytestmark = [pytest.mark.system, pytest.mark.timeout(180, func_only=True), pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_cap_that_holds(server: Server, tmp_path: Path) -> None:
    """Four rooms for a worker of two: two are held, two are left alone, and the load says so."""
    with working(server.livekit, tmp_path, PARLEY_MAX_SESSIONS="2") as worker:
        callers = [Caller(server.livekit, f"cap-{n}", open_timeout=8.0) for n in range(4)]
        outside: list[str] = []
        settled = [anyio.Event() for _ in callers]
        leave = anyio.Event()

        async def call(caller: Caller, here: anyio.Event) -> None:
            try:
                async with caller:
                    await caller.hear_greeting()
                    here.set()
                    await leave.wait()
                    await caller.hang_up()
            except gateway.ConnectError:
                outside.append(caller.id)
                here.set()

        async with anyio.create_task_group() as tasks:
            for caller, here in zip(callers, settled, strict=True):
                tasks.start_soon(call, caller, here)
            for here in settled:
                await here.wait()
            assert len(outside) == 2, worker.said
            metrics = await said(worker.metrics)
            assert "parley_sessions 2.0" in metrics
            assert "parley_sessions_max 2.0" in metrics
            await until(
                worker.health + "/worker", lambda text: json.loads(text)["worker_load"] > 0.68
            )
            assert await said(worker.health) == "OK"
            health = json.loads(await said(worker.health + "/health"))
            assert health == {
                "status": "healthy",
                "reasons": [],
                "sessions": 2,
                "max_sessions": 2,
            }
            leave.set()
        held = {caller.id for caller in callers} - set(outside)
        assert {each.id for each in worker.store.conversations()} == held
        worker.wait_for("is left to another worker: all 2 sessions are taken")
        await until(worker.metrics, lambda text: "parley_sessions 0.0" in text)
        # at once, though the server was told last that there is no room
        async with Caller(server.livekit, "cap-after") as caller:
            await caller.hear_greeting()
            await caller.hang_up()


async def test_metrics(server: Server, tmp_path: Path) -> None:
    """An answered call is in the metrics: how long the caller waited, and that its trace is
    whole."""
    with working(server.livekit, tmp_path) as worker:
        async with Caller(server.livekit, "measured") as caller:
            await caller.hear_greeting()
            await caller.ask(question())
            await caller.hang_up()
        worker.conversation("measured")
        metrics = await said(worker.metrics)
        for line in (
            "parley_sessions_max 20.0",
            "parley_response_latency_seconds_count 1.0",
            "parley_telemetry_conversations_total 1.0",
            "parley_telemetry_orphan_spans_total 0.0",
            "parley_telemetry_late_spans_total 0.0",
            "parley_telemetry_open_at_finish_total 0.0",
            "parley_telemetry_refused_headers_total 0.0",
            "parley_telemetry_refused_gaps_total 0.0",
            "parley_telemetry_faults_total 0.0",
        ):
            assert line in metrics.splitlines(), metrics
        await until(worker.metrics, lambda text: "parley_sessions 0.0" in text)


@pytest.mark.parametrize("name", ["PARLEY_HEALTH_PORT", "PARLEY_METRICS_PORT"])
def test_a_port_that_is_taken(server: Server, tmp_path: Path, name: str) -> None:
    """One line that names the setting, and no worker."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        worker = Worker(server.livekit, tmp_path, name="worker", settings={name: port})
        assert worker.process.wait(60) == 2
    worker.wait_for(f"parley: {name}={port}: can't listen on 127.0.0.1: ")
    assert "Traceback" not in worker.said


async def test_a_token_lets_into_a_call(server: Server, tmp_path: Path) -> None:
    """With the endpoint on, a token of it is all that a caller needs: the agent comes."""
    port = Ports.free().http
    with working(server.livekit, tmp_path, PARLEY_TOKEN_PORT=str(port)):
        given = json.loads(await said(f"http://127.0.0.1:{port}/token", method="POST"))
        granted = api.TokenVerifier(server.livekit.key, server.livekit.secret).verify(
            given["token"]
        )
        assert granted.video is not None
        assert granted.video.room == given["room"]
        room, met = rtc.Room(), asyncio.Event()
        room.on(
            "participant_attributes_changed",
            lambda _, who: met.set() if CONVERSATION in who.attributes else None,
        )
        try:
            await room.connect(given["url"], given["token"])
            if not any(CONVERSATION in who.attributes for who in room.remote_participants.values()):
                with anyio.fail_after(20):
                    await met.wait()
        finally:
            await room.disconnect()


async def test_calls_in_processes(server: Server, tmp_path: Path) -> None:
    """With a process for each call, its conversation is delivered before the process ends."""
    settings = {"PARLEY_JOB_EXECUTOR": "process", "PARLEY_MAX_SESSIONS": "2"}
    with working(server.livekit, tmp_path, **settings) as worker:
        async with Caller(server.livekit, "forked", open_timeout=40.0) as caller:
            await caller.hear_greeting()
            await caller.ask(question())
            assert caller.replied_at is not None
            await caller.hang_up()
        assert outcome(worker.conversation("forked")) == Outcome.HUNG_UP
        async with Caller(server.livekit, "forked-cut", open_timeout=40.0) as caller:
            await caller.hear_greeting()
            worker.signal(signal.SIGTERM)
            worker.signal(signal.SIGTERM)
            await caller.over()
        assert await asyncio.to_thread(lambda: worker.exit_code(timeout=40)) == 0, worker.said
        assert outcome(worker.conversation("forked-cut")) == Outcome.SHUTDOWN


async def test_two_workers(server: Server, tmp_path: Path) -> None:
    """Calls spread over two workers; one that is killed leaves its calls on record as open, and
    the next call to the other."""
    cap = {"PARLEY_MAX_SESSIONS": "2"}
    with (
        working(server.livekit, tmp_path, name="one", **cap) as one,
        working(server.livekit, tmp_path, name="two", **cap) as two,
    ):
        callers = [Caller(server.livekit, f"spread-{n}") for n in range(3)]
        greeted = [anyio.Event() for _ in callers]
        hang_up = {caller.id: anyio.Event() for caller in callers}

        async def call(caller: Caller, here: anyio.Event) -> None:
            async with caller:
                await caller.hear_greeting()
                here.set()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(leave, caller)
                    await caller.over()
                    tasks.cancel_scope.cancel()

        async def leave(caller: Caller) -> None:
            await hang_up[caller.id].wait()
            await caller.hang_up()

        async with anyio.create_task_group() as tasks:
            for caller, here in zip(callers, greeted, strict=True):
                tasks.start_soon(call, caller, here)
            for here in greeted:
                await here.wait()
            spread = [{each.id for each in worker.store.conversations()} for worker in (one, two)]
            assert sorted(map(len, spread)) == [1, 2]
            one.signal(signal.SIGKILL)
            for id in spread[1]:
                hang_up[id].set()
            # while it is full it refuses, and a room that is refused by all isn't offered again
            await until(two.metrics, lambda text: "parley_sessions 0.0" in text)
            async with Caller(server.livekit, "spread-next") as caller:
                await caller.hear_greeting()
                await caller.hang_up()
        assert outcome(two.conversation("spread-next")) == Outcome.HUNG_UP
        for each in callers:
            if each.id in spread[0]:
                assert each.disconnected is not None  # its agent left, unsaid
                lost = one.store.conversation(each.id)
                assert lost is not None
                assert (lost.status, lost.ended_at) == ("open", None)
                assert lost.trace_id == each.call.trace_id
            else:
                assert outcome(two.conversation(each.id)) == Outcome.HUNG_UP


def outcome(record: StoredConversation) -> str:
    """How a conversation ended."""
    (root,) = [span for span in record.spans if span.op == names.OP_CONVERSATION]
    return str(root.attributes[names.CONVERSATION_OUTCOME])


async def until(url: str, holds: Callable[[str], bool]) -> None:
    """Ask until the answer is such."""
    with anyio.fail_after(20):
        while not holds(await said(url)):  # noqa: ASYNC110 - an endpoint tells only who asks
            await anyio.sleep(0.2)
