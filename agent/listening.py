"""Small HTTP servers beside the calls: health, metrics."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from agent.errors import InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from livekit.agents.utils.http_server import HttpServer

_CLOSE_SECONDS: Final = 1.0
"""Time that answers under way have at the end."""


class PortError(InputError):
    """A port that can't be listened on. One line of text."""


@asynccontextmanager
async def listening(server: HttpServer, setting: str) -> AsyncIterator[str]:
    """Have a server answer inside the block; yields its URL. ``setting`` is that of its port.

    An empty host is all interfaces, port 0 any free one. Raises :class:`PortError`.
    """
    try:
        await server.start()
    except OSError as error:
        reason = error.strerror or error
        where = server.host or "all interfaces"
        raise PortError(f"{setting}={server.port}: can't listen on {where}: {reason}") from error
    try:
        host = f"[{server.host}]" if ":" in server.host else server.host or "*"
        yield f"http://{host}:{server.port}"
    finally:
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            await server.aclose()
