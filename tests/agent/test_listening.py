"""Small HTTP servers beside the calls."""

from __future__ import annotations

import socket

import anyio
import pytest
from livekit.agents.utils.http_server import HttpServer

from agent.listening import PortError, listening


async def test_a_server_answers_until_the_end_of_the_block() -> None:
    """At the URL that it is given; cancelled in the block, it stops as well."""
    with anyio.CancelScope() as scope:
        async with listening(HttpServer("127.0.0.1", 0), "PARLEY_X_PORT") as url:
            port = int(url.removeprefix("http://127.0.0.1:"))
            async with await anyio.connect_tcp("127.0.0.1", port):
                scope.cancel()
                await anyio.lowlevel.checkpoint()
    with pytest.raises(OSError, match="connection attempts failed"):
        await anyio.connect_tcp("127.0.0.1", port)


async def test_a_port_that_is_taken() -> None:
    """One line that names the setting."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortError, match=f"^PARLEY_X_PORT={port}: can't listen on 127.0.0.1: "):
            async with listening(HttpServer("127.0.0.1", port), "PARLEY_X_PORT"):
                pass
