"""A caller's end of the protocol, for the simulator and the tests."""

from __future__ import annotations

import asyncio
import http
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Self

import anyio
from websockets import frames
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from .exchange import Exchange, Phase
from .protocol import (
    AGENT_AHEAD_SECONDS,
    SUBPROTOCOL,
    End,
    Gap,
    GatewayError,
    GatewayMessage,
    Start,
    Started,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

_CLOSE_TIMEOUT_SECONDS = 2.0


class ConnectError(GatewayError):
    """The gateway isn't there, or doesn't take this caller."""


class Disconnected(GatewayError):  # noqa: N818 (what happened; not always an error)
    """The connection closed before the call had ended; ``code`` and ``reason`` say why."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"disconnected: {reason or frames.Close(code, '')} (close code {code})")


class Call:
    """A call in progress. Iterate over it for the gateway's messages, and its frames as
    ``bytes``.

    Iteration ends when the connection closes after ``ended``. It raises :class:`Disconnected` when
    it closes before, and :class:`~agent.gateway.protocol.ProtocolError` if the gateway breaks the
    protocol. Sending raises the same two.
    """

    def __init__(self, websocket: ClientConnection, exchange: Exchange, started: Started) -> None:
        self.started = started
        self._websocket = websocket
        self._exchange = exchange

    @property
    def id(self) -> str:
        """The conversation's id."""
        return self.started.id

    @property
    def trace_id(self) -> str:
        """The id of the conversation's trace."""
        return self.started.trace_id

    @property
    def ahead_seconds(self) -> float:
        """Length of the agent's audio that comes before it is to be played, at most."""
        return AGENT_AHEAD_SECONDS

    @property
    def close_code(self) -> int | None:
        """The code that the connection closed with; None while it is open."""
        return self._websocket.close_code

    async def send_audio(self, frame: bytes) -> None:
        """Send 20 ms of mono PCM16 at the call's rate. Pacing is the caller's."""
        with _disconnection():
            await self._websocket.send(self._exchange.to_gateway(frame))

    async def send_text(self, text: str, headers: Mapping[str, str] | None = None) -> None:
        """Send a typed turn; its trace ``headers`` name the span that it becomes a child of."""
        turn = Text(text=text, headers=dict(headers or {}))
        with _disconnection():
            await self._websocket.send(self._exchange.to_gateway(turn))

    async def send_gap(self, seconds: float) -> None:
        """Tell how long the caller has waited for an answer, by its own ears."""
        with _disconnection():
            await self._websocket.send(self._exchange.to_gateway(Gap(seconds=seconds)))

    async def end(self) -> None:
        """Hang up politely; frames may still be sent, and are ignored."""
        with _disconnection():
            await self._websocket.send(self._exchange.to_gateway(End()))

    def __aiter__(self) -> Self:
        """Messages in the order they come."""
        return self

    async def __anext__(self) -> GatewayMessage:
        """The next message."""
        try:
            with _disconnection():
                data = await self._websocket.recv()
        except Disconnected as closed:
            if self._exchange.phase is Phase.ENDED:
                raise StopAsyncIteration from closed
            raise
        return self._exchange.from_gateway(data)


@asynccontextmanager
async def connect(
    url: str, *, start: Start, token: str | None = None, open_timeout: float = 10.0
) -> AsyncIterator[Call]:
    """Call the gateway at ``url`` (``ws://host:port``); the call has started inside the block.

    Leaving the block closes the connection, which hangs up a call that hasn't ended.
    ``open_timeout``, in seconds, is for connecting and for ``started``. Raises
    :class:`ConnectError`, and :class:`Disconnected` when the gateway closes the connection instead
    of starting the call.
    """
    websocket = await _connected(url, token=token, open_timeout=open_timeout)
    try:
        exchange = Exchange()
        with _disconnection():
            await websocket.send(exchange.to_gateway(start))
            try:
                async with asyncio.timeout(open_timeout):
                    started = exchange.from_gateway(await websocket.recv())
            except TimeoutError:
                raise ConnectError(f"{url} didn't start the call in {open_timeout:g} s") from None
        assert isinstance(started, Started)  # the exchange lets nothing else through
        yield Call(websocket, exchange, started)
    finally:
        with anyio.move_on_after(_CLOSE_TIMEOUT_SECONDS, shield=True):
            await websocket.close()
        websocket.transport.abort()  # of one that the gateway hasn't closed in that time


async def _connected(url: str, *, token: str | None, open_timeout: float) -> ClientConnection:
    try:
        return await connect_websocket(
            url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers=None if token is None else {"Authorization": f"Bearer {token}"},
            compression=None,
            open_timeout=open_timeout,
            close_timeout=_CLOSE_TIMEOUT_SECONDS,
            proxy=None,  # calls are made to a gateway of one's own
        )
    except InvalidStatus as refused:
        status = refused.response.status_code
        hint = ": check the token" if status == http.HTTPStatus.UNAUTHORIZED else ""
        raise ConnectError(f"{url} answered with HTTP status {status}{hint}") from refused
    except (OSError, WebSocketException) as error:
        raise ConnectError(f"can't connect to {url}: {error}") from error


@contextmanager
def _disconnection() -> Iterator[None]:
    """Say in this module's terms that the connection is closed."""
    try:
        yield
    except ConnectionClosed as closed:
        close = closed.rcvd or closed.sent
        if close is None:
            raise Disconnected(frames.CloseCode.ABNORMAL_CLOSURE, "") from closed
        raise Disconnected(close.code, close.reason) from closed
