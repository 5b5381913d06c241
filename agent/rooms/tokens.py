"""A token endpoint for development: lets a page or a script call the agent without a back end.

``POST /token`` answers ``{"url", "room", "token"}``: a new room for each caller, for ten minutes.
Whoever reaches it can call, so it is on loopback only, and answers pages of this machine only.
"""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web
from livekit.agents.utils import http_server

from .client import caller_token, new_room
from .server import RoomsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .server import LiveKit

HOST = "127.0.0.1"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@asynccontextmanager
async def serve_tokens(livekit: LiveKit, *, port: int, agent_name: str = "") -> AsyncIterator[str]:
    """Give out tokens inside the block; yields the endpoint's URL. Port 0 is any free one.

    Raises :class:`~agent.rooms.server.RoomsError` when the port can't be listened on.
    """

    async def token(request: web.Request) -> web.Response:
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).hostname not in _LOOPBACK:
            raise web.HTTPForbidden(text="pages of this machine only\n")
        room = new_room()
        granted = caller_token(
            livekit,
            room=room,
            identity=f"caller-{secrets.token_hex(4)}",
            agent_name=agent_name,
        )
        allowed = {"Access-Control-Allow-Origin": origin} if origin is not None else {}
        answer = {"url": livekit.url, "room": room, "token": granted}
        return web.json_response(answer, headers=allowed)

    server = http_server.HttpServer(HOST, port)
    server.app.add_routes([web.post("/token", token)])
    try:
        await server.start()
    except OSError as error:
        raise RoomsError(f"PARLEY_TOKEN_PORT={port}: {error.strerror or error}") from error
    try:
        yield f"http://{HOST}:{server.port}/token"
    finally:
        await server.aclose()
