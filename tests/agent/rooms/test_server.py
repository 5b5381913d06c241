"""Rooms that a worker doesn't take. (What it does with those it takes: ``tests/system``.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from agent.metrics import Limit
from agent.rooms.server import Options, Worker
from tests.agent.counted import reaching

if TYPE_CHECKING:
    from livekit.agents import AgentServer, JobRequest

    from agent.rooms.call import Stop
    from agent.stopping import Stops


class Server:
    """LiveKit's agent server, without a job."""

    active_jobs: tuple[()] = ()


class Request:
    """A room that is offered."""

    id = "job"

    def __init__(self) -> None:
        self.room = self
        self.name = "room"
        self.rejected: list[bool] = []

    async def reject(self, *, terminate: bool) -> None:
        self.rejected.append(terminate)


async def test_a_room_too_many() -> None:
    """It is left to another worker, and counted."""
    server, request = cast("AgentServer", Server()), Request()
    worker = Worker(server, cast("Stops[Stop]", None), Options(max_sessions=0), None)
    with reaching(Limit.SESSIONS, times=1):
        await worker.admit(cast("JobRequest", request))
    assert request.rejected == [False]
