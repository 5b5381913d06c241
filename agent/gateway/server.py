"""``parley serve``: one port, many calls, one event loop.

A connection passes the handshake (:mod:`~agent.gateway.admission`, subprotocol), sends ``start``,
and becomes a :class:`~agent.gateway.call.Call`. Calls share nothing but the loop: each has its own
tasks and its own bounded queues, and what goes wrong in one ends that one.
"""

from __future__ import annotations

import functools
import http
import json
import logging
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from agent import metrics
from agent.health import report
from agent.metrics import Limit
from agent.session.line import OpenSession, SessionRequest
from agent.siblings import Siblings
from agent.stopping import DRAIN_SECONDS, Stopping, Stops, end_calls
from telemetry.authority import is_loopback

from . import admission
from .call import CLOSE_TIMEOUT_SECONDS, Call, Limits, lost
from .connection import Connection
from .exchange import Exchange
from .line import GatewayLine
from .page import HEADERS, Page
from .protocol import (
    MAX_MESSAGE_BYTES,
    SUBPROTOCOL,
    CloseCode,
    GatewayError,
    ProtocolError,
    Start,
    TurnedAwayError,
)
from .seats import Seats
from .strangers import MAX_STRANGERS, Strangers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from anyio.abc import TaskStatus
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

    from agent.siblings import Place
    from telemetry import Runtime

log = logging.getLogger(__name__)

_SEND_BUFFER_BYTES: Final = 64 * 1024
"""Data the kernel may hold for a caller that doesn't read; by itself it would take megabytes."""
_quiet = log.getChild("websockets")
_quiet.setLevel(logging.WARNING)  # at INFO it logs four times for each connection


class ListenError(GatewayError):
    """The address can't be listened on."""


async def serve(
    open_session: OpenSession,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    page: bool = False,
    max_sessions: int = 20,
    idle_timeout: float = 60.0,
    max_duration: float = 1800.0,
    start_timeout: float = 5.0,
    max_strangers: int = MAX_STRANGERS,
    unanswered: float = 20.0,
    grace: float = 10.0,
    stopping: Stopping | None = None,
    drain_timeout: float = DRAIN_SECONDS,
    runtime: Runtime | None = None,
    metrics_at: tuple[str, int] | None = None,
    place: Place | None = None,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Take calls until asked to stop, and end them as :func:`agent.stopping.end_calls` does, in
    ``drain_timeout`` seconds; or until cancelled, and say goodbye to them at once. ``grace`` is the
    seconds that each has to close.

    ``port`` 0 is any free one: ``task_status`` is started with the URL that is listened on. Times
    are seconds, and mean what :class:`~agent.gateway.call.Limits` says; ``max_strangers`` bounds
    connections without a call (:mod:`~agent.gateway.strangers`). ``GET /health`` on the same port
    says how many calls there are, and what is wrong in the ``runtime`` that records them; with
    ``page``, ``GET /`` is the page to talk from, and that page alone may call from a browser.
    Prometheus is answered at the host and port ``metrics_at``, never here. With a ``place`` the
    port and the caps are shared with :mod:`~agent.siblings`. Raises :class:`ListenError`, and
    :class:`~agent.listening.PortError` for that port.
    """
    limits = Limits(idle_timeout, max_duration, start_timeout, unanswered, grace)
    gateway = _Gateway(
        open_session,
        limits,
        host=host,
        token=token,
        page=Page() if page else None,
        max_sessions=max_sessions,
        max_strangers=max_strangers,
        runtime=runtime,
        place=place,
    )
    async with gateway.told(metrics_at):
        server = await _listen(gateway, host, port, limits, shares=place is not None)
        try:
            task_status.started(_announce(server, page=page))
            stopping = stopping or Stopping()
            await stopping.drain.wait()
            server.close(close_connections=False)
            await gateway.end_calls(stopping, drain_timeout)
        finally:
            with anyio.CancelScope(shield=True):  # each call's ending is bounded by its own limits
                server.close(close_connections=False)
                gateway.shut_down()
                await server.wait_closed()


def _announce(server: Server, *, page: bool) -> str:
    """Say in the log where it listens; returns the URL."""
    url = _url(server.sockets[0])
    log.info("gateway listening on %s", url)
    if page:
        log.info("talk to it at %s/", url.replace("ws", "http", 1))
    return url


async def _listen(
    gateway: _Gateway, host: str, port: int, limits: Limits, *, shares: bool
) -> Server:
    """Listen for the gateway, on a port of its own or one that it shares. Raises
    :class:`ListenError`."""
    listening = serve_websockets(
        gateway.hold,
        host,
        port,
        process_request=gateway.check,
        create_connection=functools.partial(  # type: ignore[arg-type]  # documented: or a wrapper
            Connection, gateway.strangers, limits.start_timeout
        ),
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,  # speech doesn't compress, and trying costs every frame
        max_size=MAX_MESSAGE_BYTES,
        open_timeout=limits.start_timeout,
        ping_interval=limits.unanswered,
        ping_timeout=limits.unanswered,
        close_timeout=CLOSE_TIMEOUT_SECONDS,
        logger=_quiet,
        reuse_port=shares,
    )
    try:
        return await listening
    except OSError as error:
        reason = error.strerror or error
        raise ListenError(f"can't listen on {host}:{port}: {reason}; choose another") from error


class _Gateway:
    """The common part of a server's connections: the way in, the cap, the way out."""

    def __init__(
        self,
        open_session: OpenSession,
        limits: Limits,
        *,
        host: str,
        token: str | None,
        page: Page | None,
        max_sessions: int,
        max_strangers: int,
        runtime: Runtime | None,
        place: Place | None,
    ) -> None:
        if place is None:
            self._seats, self._siblings = Seats(max_sessions), None
        else:
            first = place.share(max_sessions) * place.number
            self._seats = Seats(max_sessions, place.seats, first=first)
            self._siblings = Siblings(place, self._own_health)
            max_strangers = place.share(max_strangers)
        self.strangers: Strangers[ServerConnection] = Strangers(self._send_away, most=max_strangers)
        self._open_session = open_session
        self._limits = limits
        self._host = host
        self._token = token
        self._page = page
        self._runtime = runtime
        self._waiting: dict[ServerConnection, anyio.CancelScope] = {}
        """The scopes around each wait for ``start``."""
        self._shutdown = anyio.Event()
        self._cut_off = anyio.Event()

    async def check(self, websocket: ServerConnection, request: Request) -> Response | None:
        """Answer plain HTTP, refuse those who may not call; None lets the handshake go on."""
        refusal, headers = None, request.headers
        bound = [peer.getsockname()[0] for peer in websocket.server.sockets]
        if all(map(is_loopback, bound)):
            refusal = admission.check_host(headers, self._host)
        if refusal is None and "upgrade" not in headers:
            return await self._answer(websocket, request)
        refusal = refusal or admission.check_origin(headers, own_page=self._page is not None)
        if refusal is None and self._token is not None:
            refusal = admission.check_token(headers, self._token)
        if refusal is None:
            return None
        metrics.reached(Limit.ADMISSION)
        log.info("gateway: connection refused: %s", refusal.text.strip())
        response = websocket.respond(*refusal)
        if refusal.status is http.HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    async def _answer(self, websocket: ServerConnection, request: Request) -> Response:
        """The answer to a request that isn't a WebSocket's: the page, ``/health``, or nothing."""
        if request.method != "GET":
            response = websocket.respond(
                http.HTTPStatus.METHOD_NOT_ALLOWED, "GET is all there is.\n"
            )
            response.headers["Allow"] = "GET"
        elif request.path == "/health":
            response = websocket.respond(http.HTTPStatus.OK, json.dumps(await self._health()))
            _set(response, {"Content-Type": "application/json"})
        elif self._page is not None and (found := self._page.find(request.path)) is not None:
            response = websocket.respond(http.HTTPStatus.OK, found.text)
            _set(response, {"Content-Type": found.content_type})
        else:
            hint = f"Not here: a WebSocket ({SUBPROTOCOL}) or /health.\n"
            response = websocket.respond(http.HTTPStatus.NOT_FOUND, hint)
        _set(response, HEADERS)
        return response

    async def _health(self) -> dict[str, Any]:
        return self._own_health() if self._siblings is None else await self._siblings.health()

    def _own_health(self) -> dict[str, Any]:
        troubles = () if self._runtime is None else self._runtime.troubles()
        found = report(troubles, sessions=len(self._seats), max_sessions=self._seats.most)
        return {**found, "token_required": self._token is not None}

    @asynccontextmanager
    async def told(self, at: tuple[str, int] | None) -> AsyncIterator[None]:
        """Answer Prometheus at a host and port inside the block, None being nowhere; and siblings.

        Raises :class:`~agent.listening.PortError`.
        """
        async with AsyncExitStack() as told:
            if at is not None or self._siblings is not None:
                figures = metrics.Worker(
                    sessions=lambda: len(self._seats),
                    max_sessions=self._seats.most,
                    stats=None if self._runtime is None else self._runtime.stats,
                )
                told.enter_context(figures)
            if at is not None:
                url = await told.enter_async_context(metrics.served(*at))
                log.info("gateway: metrics at %s", url)
            if self._siblings is not None:
                await told.enter_async_context(self._siblings.told())
            yield

    def shut_down(self) -> None:
        """Ask every call to end."""
        self._shutdown.set()
        for waiting in self._waiting.values():
            waiting.cancel()

    async def end_calls(self, stopping: Stopping, seconds: float) -> None:
        """End the calls within so many seconds."""
        await end_calls(
            stopping,
            held=lambda: len(self._seats),
            goodbye=self.shut_down,
            cut=self._cut_off.set,
            timeout=seconds,
        )

    def _send_away(self, websocket: ServerConnection) -> None:
        """Close a connection that has no call, to make room for another."""
        metrics.reached(Limit.STRANGERS)
        if (waiting := self._waiting.pop(websocket, None)) is not None:
            waiting.cancel()  # it is told why
        else:
            websocket.transport.abort()  # it hasn't come as far as WebSocket, or is being closed

    async def hold(self, websocket: ServerConnection) -> None:
        """Take one connection from its handshake to its close frame."""
        assert isinstance(websocket, Connection)  # _listen says so
        try:
            await self._admit(websocket)
        except TurnedAwayError as refusal:
            if isinstance(refusal, ProtocolError):
                metrics.reached(Limit.PROTOCOL)
            log.info("gateway: connection refused: %s", refusal)
            await _close(websocket, refusal.code, refusal.reason)
        except ConnectionClosed as closed:
            if (limit := lost(closed).limit) is not None:
                metrics.reached(limit)
            log.info("gateway: connection closed without 'start'")
        except Exception:  # whatever it is, it is this connection's alone
            log.exception("gateway: connection failed")
            await _close(websocket, CloseCode.INTERNAL_ERROR, "the call could not be opened")

    async def _admit(self, websocket: Connection) -> None:
        """Wait for ``start``; a session's place is taken only by who has sent it."""
        self._seats.check()  # who can't have one need not wait to hear it
        _bound_send_buffer(websocket)
        exchange = Exchange()
        start = await self._receive_start(websocket, exchange)
        with self._seats.taken(start.id), _line(exchange) as line:
            self.strangers.leave(websocket)
            session = self._open_session(_request(start), line)
            stops = Stops(self._shutdown, self._cut_off)
            call = Call(websocket, exchange, line, session, self._limits, stops)
            await call.run()

    async def _receive_start(self, websocket: Connection, exchange: Exchange) -> Start:
        patience = self._limits.start_timeout
        crowded = False
        with anyio.move_on_after(0 if self._shutdown.is_set() else patience) as waiting:
            self._waiting[websocket] = waiting
            try:
                message = exchange.from_caller(await websocket.receive())
            finally:
                crowded = self._waiting.pop(websocket, None) is None
            assert isinstance(message, Start)  # the exchange lets nothing else through
            return message
        if self._shutdown.is_set():
            raise TurnedAwayError(CloseCode.GOING_AWAY, "the gateway is shutting down")
        if crowded:
            many = "too many connections without 'start': send it at once, or try again later"
            raise TurnedAwayError(CloseCode.TRY_AGAIN_LATER, many)
        metrics.reached(Limit.START)
        raise TurnedAwayError(CloseCode.NO_START, f"no 'start' within {patience:g} s")


def _line(exchange: Exchange) -> GatewayLine:
    return GatewayLine(exchange, on_response=metrics.RESPONSES.observe)


def _set(response: Response, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if name in response.headers:
            del response.headers[name]  # setting one adds to it
        response.headers[name] = value


def _request(start: Start) -> SessionRequest:
    return SessionRequest(id=start.id, user=start.user, tags=start.tags, headers=start.headers)


async def _close(websocket: ServerConnection, code: CloseCode, reason: str) -> None:
    with anyio.move_on_after(CLOSE_TIMEOUT_SECONDS):
        await websocket.close(code, reason)


def _bound_send_buffer(websocket: ServerConnection) -> None:
    peer: socket.socket = websocket.transport.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"
