"""Small HTTP servers beside the calls."""

from __future__ import annotations

import socket

import anyio
import pytest
from livekit.agents.utils.http_server import HttpServer

from agent.listening import PortError, WebServer, listening, reserved


@pytest.mark.parametrize("kind", [HttpServer, WebServer])
async def test_a_server_answers_until_the_end_of_the_block(
    kind: type[HttpServer] | type[WebServer],
) -> None:
    """At the URL that it is given; cancelled in the block, it stops as well."""
    with anyio.CancelScope() as scope:
        async with listening(kind("127.0.0.1", 0), "PARLEY_X_PORT") as url:
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


def _shared(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    made.listen()
    return made


def test_a_reserved_port_is_listened_on_by_several() -> None:
    """By those of ours who share it; who only keeps it gets no connections."""
    with reserved("127.0.0.1", 0, "PARLEY_X_PORT") as port, _shared(port) as one:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                one.accept()[0].close()
        with _shared(port) as two:
            assert two.getsockname() == one.getsockname()


def test_a_reserved_port_is_nobody_elses() -> None:
    """Neither while it is kept only, nor when others of ours listen on it; nor is one kept on which
    others listen, even if they would share it: callers would be theirs in part."""
    with reserved("127.0.0.1", 0, "PARLEY_X_PORT") as port:
        line = f"^PARLEY_X_PORT={port}: can't listen on 127.0.0.1: Address already in use$"
        with pytest.raises(PortError, match=line), reserved("127.0.0.1", port, "PARLEY_X_PORT"):
            pass
        listens = _shared(port)
    with (
        listens,
        pytest.raises(PortError, match=line),
        reserved("127.0.0.1", port, "PARLEY_X_PORT"),
    ):
        pass
    with reserved("127.0.0.1", port, "PARLEY_X_PORT") as again:
        assert again == port


def test_a_port_can_be_kept_while_connections_to_it_end() -> None:
    """A gateway that was there a moment ago has left some."""
    with socket.create_server(("127.0.0.1", 0)) as before:
        port = before.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            before.accept()[0].close()  # this end waits, for a minute
    with reserved("127.0.0.1", port, "PARLEY_X_PORT"):
        pass


def test_a_host_that_cannot_be() -> None:
    """One line."""
    with (
        pytest.raises(PortError, match=r"^PARLEY_X_PORT=1: can't listen on 256.0.0.1: "),
        reserved("256.0.0.1", 1, "PARLEY_X_PORT"),
    ):
        pass
