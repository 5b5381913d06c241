"""The viewer on a port, until it is told to stop."""

from __future__ import annotations

import secrets
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

import uvicorn

from ..authority import is_loopback
from ..errors import TelemetryError
from .access import ingest_key
from .app import app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..store import TraceStore
    from .runs_compared import Runs

_GRACE_SECONDS: Final = 1
_TOKEN_BYTES: Final = 24


class PortError(TelemetryError):
    """The viewer can't listen there. One line of text."""


class Addresses(NamedTuple):
    """The addresses of a viewer."""

    page: str
    """To open in a browser; with the token, if it asks for one."""
    dsn: str
    """For any process with a Sentry SDK."""


def serve(
    stores: Sequence[TraceStore],
    *,
    received: TraceStore | None = None,
    host: str = "127.0.0.1",
    port: int = 8790,
    token: str | None = None,
    runs: Runs | None = None,
    listening: Callable[[Addresses], object] = lambda _: None,
) -> None:
    """Show these stores to browsers, until a signal ends it.

    Args:
        stores: the stores.
        received: a store of its own, for what other processes deliver.
        host: the address to listen on. If others than this machine reach it there is a token.
        port: the port; 0 is any free one.
        token: asked of everybody who comes; made up where one is needed.
        runs: two runs to be shown side by side.
        listening: called with the addresses, once it listens.

    Raises:
        PortError: it can't listen there.
    """
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(_TOKEN_BYTES)
    with _listening(host, port) as listener:
        shown = app(stores, received=received, token=token, host=host, runs=runs)
        server = _Server(
            uvicorn.Config(
                shown,
                ws="none",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            ),
            lambda: listening(_addresses(listener, host, token)),
        )
        with suppress(KeyboardInterrupt):  # the way to end it; uvicorn has closed by then
            server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets=sockets)
        self._ready()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PortError(
            f"the viewer can't listen on {host}:{port}: {reason}: choose another --port "
            "(0 is any free one) or --host"
        ) from error
    with listener:
        yield listener


def _addresses(listener: socket.socket, host: str, token: str | None) -> Addresses:
    port = listener.getsockname()[1]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not listened on
        host = socket.gethostname()
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    page = f"http://{where}/" + ("" if token is None else f"?token={quote(token, safe='')}")
    return Addresses(page, f"http://{ingest_key(token)}@{where}/1")
