"""The worker's health over HTTP: LiveKit's own answers, and ``/health`` with what is wrong.

LiveKit's agent server answers ``/`` and ``/worker`` and has no place for a third. So it listens on
loopback, on a port that it chooses, and is asked from here.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web
from livekit.agents.utils import http_server

from agent.listening import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from livekit.agents import AgentServer

LIVEKITS_HOST: Final = "127.0.0.1"
"""Address at which LiveKit's agent server answers."""
_ASK_TIMEOUT: Final = aiohttp.ClientTimeout(total=2.0)


@asynccontextmanager
async def served(
    server: AgentServer, report: Callable[[], Mapping[str, Any]], *, host: str, port: int
) -> AsyncIterator[str]:
    """Answer inside the block, on all interfaces if the host is empty; yields the URL of health.

    ``report`` is what that answers, as JSON. Raises :class:`~agent.listening.PortError`.
    """

    async def livekits(request: web.Request) -> web.Response:
        url = f"http://{LIVEKITS_HOST}:{server.worker_info.http_port}{request.path}"
        try:
            async with client.get(url) as said:
                body, kind = await said.read(), said.content_type
                return web.Response(status=said.status, body=body, content_type=kind)
        except (aiohttp.ClientError, TimeoutError):
            return web.Response(status=503, text="the worker has not started\n")

    async def health(_: web.Request) -> web.Response:
        return web.json_response(report())

    front = http_server.HttpServer(host, port)
    front.app.add_routes(
        [web.get("/", livekits), web.get("/worker", livekits), web.get("/health", health)]
    )
    async with (
        aiohttp.ClientSession(timeout=_ASK_TIMEOUT) as client,
        listening(front, "PARLEY_HEALTH_PORT") as url,
    ):
        yield f"{url}/health"
