"""Calls in rooms of a real LiveKit server, held by ``parley start``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.system.callers import Caller, question
from tests.system.worker import working

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.livekit import Server

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_ten_rooms(server: Server, tmp_path: Path) -> None:
    """Ten rooms in one process at once: all greeted and answered, each one whole transaction."""
    with working(server.livekit, tmp_path) as worker:
        callers = [
            Caller(server.livekit, f"room-{n}")
            for n in range(int(__import__("os").environ.get("N", "10")))
        ]
        speech = question()

        async def call(caller: Caller) -> None:
            async with caller:
                await caller.hear_greeting()
                await caller.ask(speech)
                await caller.hang_up()

        async with anyio.create_task_group() as tasks:
            for caller in callers:
                tasks.start_soon(call, caller)
        for caller in callers:
            record = worker.conversation(caller.id)
            print(
                caller.id,
                round(caller.call.joined_at - caller.called_at, 3),
                round(caller.greeted_at - caller.called_at, 3),
                round(caller.greeted_at - caller.call.joined_at, 3),
                round(caller.replied_at - caller.spoke_until, 3),
                caller.outcome,
            )
        print(worker.said)
