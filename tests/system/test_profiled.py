"""Gateway and worker under the real profiler: each lock wrapped, each time it is taken recorded.

The agent logs errors while it holds such a lock, in threads that wait for each other for it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import anyio
import pytest

from agent import gateway
from agent.rooms import client
from tests.ingest import Ingest
from tests.soak.account import account
from tests.soak.callers import Called
from tests.soak.child import SPEECH
from tests.soak.gateway import DEADLINE_SECONDS, DRAIN_SECONDS, Gateway, free_port
from tests.system import ddtrace
from tests.system.worker import working

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.system.livekit import Server

    Call = gateway.Call | client.Call
    Connect = Callable[[gateway.Start], AbstractAsyncContextManager[Call]]

pytestmark = [pytest.mark.system, pytest.mark.timeout(180, func_only=True), pytest.mark.anyio]

CALLS: Final = 6
STAYING: Final = 3
"""Those of them that are still held when the process is asked to end."""
LOOK_UPS: Final = 3
"""Errors that each call has logged."""
PROFILED: Final = "locks are of ddtrace.profiling."
CAUTION_SECONDS: Final = 15.0
"""More than the deadline: other programs run on the machine, and the profiler costs as well."""

each_lifecycle = pytest.mark.parametrize("lifecycle", ["transaction", "stream"])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def profiled() -> list[str]:
    """Python under ddtrace-run. Installing it takes more time than a test has."""
    return ddtrace.command()


async def look_up(connect: Connect, id: str, stay: anyio.Event | None) -> Called:
    """A call that has something looked up again and again; it takes leave, or stays to the end."""
    async with connect(gateway.Start(sample_rate=16000, id=id)) as call:
        called = Called(call.id, call.trace_id, time.monotonic())
        looked_up = 0
        await call.send_text("look it up")
        async for message in call:
            if isinstance(message, gateway.Tool) and message.name == "look_up":
                looked_up += message.ok
                if looked_up < LOOK_UPS:
                    await call.send_text("look it up")
                elif stay is None:
                    await call.send_text("goodbye")
                else:
                    stay.set()
    return called


async def held(connect: Connect, stop: Callable[[], None], *, named: str) -> list[Called]:
    """Hold the calls, and ask the process to end in the middle of some.

    ``named`` begins their ids: a room that is still there from another test gets no agent.
    """
    staying = [anyio.Event() for _ in range(STAYING)]
    async with asyncio.TaskGroup() as tasks:
        calls = [
            tasks.create_task(look_up(connect, f"{named}-{number}", stay))
            for number, stay in enumerate([*staying, *[None] * (CALLS - STAYING)])
        ]
        await asyncio.gather(*(stay.wait() for stay in staying), *calls[STAYING:])
        stop()
    return [call.result() for call in calls]


def assert_delivered(calls: list[Called], store: Path, ingest: Ingest) -> None:
    """Each conversation is in the store and at Sentry, with the errors that were logged in it."""
    found = account(calls, [], [store], ingest)
    assert (found.delivered, found.lost) == (CALLS, [])
    errors = Counter(event["contexts"]["trace"]["trace_id"] for event in ingest.errors)
    assert {call.id: errors[call.trace_id] for call in calls} == {
        call.id: LOOK_UPS for call in calls
    }


@each_lifecycle
async def test_gateway(lifecycle: str, tmp_path: Path, profiled: list[str]) -> None:
    """Calls run, deliver, and end at SIGTERM inside the deadline."""
    store = tmp_path / "traces.db"
    with Ingest() as ingest:
        settings = {
            **ddtrace.PROFILING,
            "SENTRY_DSN": ingest.dsn,
            "PARLEY_TRACE_STORE": str(store),
            "PARLEY_TRACE_LIFECYCLE": lifecycle,
        }
        serving = Gateway(tmp_path, free_port(), settings, python=profiled)
        try:
            await asyncio.to_thread(serving.wait_until_it_listens)

            def connect(start: gateway.Start) -> AbstractAsyncContextManager[Call]:
                return gateway.connect(serving.url, start=start)

            calls = await held(connect, serving.process.terminate, named=lifecycle)
            limit = DEADLINE_SECONDS + CAUTION_SECONDS
            code = await asyncio.to_thread(lambda: serving.exit_code(timeout=limit))
        finally:
            await asyncio.to_thread(serving.kill)
        assert code == 0, serving.said
        assert PROFILED in serving.said
        assert_delivered(calls, store, ingest)


@each_lifecycle
async def test_worker(lifecycle: str, server: Server, tmp_path: Path, profiled: list[str]) -> None:
    """The same in rooms."""
    with (
        Ingest() as ingest,
        working(
            server.livekit,
            tmp_path,
            command=[*profiled, "-m", "tests.soak.child", "start"],
            **ddtrace.PROFILING,
            **SPEECH,
            SENTRY_DSN=ingest.dsn,
            PARLEY_DRAIN_TIMEOUT=f"{DRAIN_SECONDS:g}",
            PARLEY_TRACE_LIFECYCLE=lifecycle,
        ) as worker,
    ):

        def connect(start: gateway.Start) -> AbstractAsyncContextManager[Call]:
            return client.connect(server.livekit, start=start)

        calls = await held(connect, worker.process.terminate, named=f"profiled-{lifecycle}")
        limit = DEADLINE_SECONDS + CAUTION_SECONDS
        code = await asyncio.to_thread(lambda: worker.exit_code(timeout=limit))
        assert code == 0, worker.said
        assert PROFILED in worker.said
        assert_delivered(calls, worker.store.path, ingest)
