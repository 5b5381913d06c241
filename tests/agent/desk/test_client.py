"""The agent's way to a reservations service that doesn't answer as it should."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from agent.desk.client import Reservations, ReservationsError
from agent.metrics import Limit
from tests.agent.counted import reaching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


@asynccontextmanager
async def stuck(*, drips: bool) -> AsyncIterator[str]:
    """The URL of a service that says nothing, or whose answer comes byte by byte."""

    async def answer(stream: SocketStream) -> None:
        async with stream:
            with suppress(anyio.BrokenResourceError):
                await stream.send(HEAD if drips else b"")
                while True:
                    await anyio.sleep(0.02)
                    await stream.send(b" " if drips else b"")

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, answer)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"  # noqa: S610 - no SQL
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("drips", [False, True])
async def test_a_service_that_is_stuck(drips: bool) -> None:
    """It has its time, from first to last; then the agent has a sentence to say, and it is
    counted."""
    async with stuck(drips=drips) as url, Reservations.connect(url, patience=0.2) as book:
        unreachable = pytest.raises(ReservationsError, match="I can't reach our reservations book")
        with reaching(Limit.RESERVATIONS, times=1), anyio.fail_after(20), unreachable:
            await book.hours()
