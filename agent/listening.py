"""Ports: small HTTP servers beside the calls (health, metrics), and a port that several share."""

from __future__ import annotations

import socket
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import anyio
from aiohttp import web

from agent.errors import InputError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_CLOSE_SECONDS: Final = 1.0
"""Time that answers under way have at the end."""


class PortError(InputError):
    """A port that can't be listened on. One line of text."""


class HttpServer(Protocol):
    """A server: port 0 becomes the port that it has got."""

    @property
    def host(self) -> str:
        """The address that it listens on."""

    @property
    def port(self) -> int:
        """The port that it listens on."""

    async def start(self) -> None:
        """Begin to answer."""

    async def aclose(self) -> None:
        """Answer no more."""


class WebServer:
    """An :class:`HttpServer` of ``app``, as LiveKit has one, for a process without LiveKit."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.app = web.Application()
        self._runner = web.AppRunner(self.app, access_log=None)

    async def start(self) -> None:
        """Begin to answer."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def aclose(self) -> None:
        """Answer no more."""
        await self._runner.cleanup()


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


@contextmanager
def reserved(host: str, port: int, setting: str) -> Iterator[int]:
    """Keep a port inside the block for processes of ours, who may all listen on it (SO_REUSEPORT).

    Yields the port, which is a free one for port 0. ``setting`` is that of the port. Raises
    :class:`PortError`: whoever else listens there would get a part of the calls.
    """
    with ExitStack() as bound:
        try:
            found = socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, protocol, _, address in dict.fromkeys(found):
                where = (address[0], port, *address[2:])
                with _socket(family, kind, protocol, socket.SO_REUSEADDR) as probe:
                    probe.bind(where)  # refused where anybody listens
                kept = bound.enter_context(_socket(family, kind, protocol, socket.SO_REUSEPORT))
                try:
                    kept.bind(where)
                except OSError:  # connections of a process that has ended are not over yet
                    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    kept.bind(where)
                port = kept.getsockname()[1]
        except OSError as error:
            reason = error.strerror or error
            raise PortError(
                f"{setting}={port}: can't listen on {host or 'all interfaces'}: {reason}"
            ) from error
        yield port


def _socket(family: int, kind: int, protocol: int, option: int) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, option, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made
