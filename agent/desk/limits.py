"""The limits of the reservations service: how large a request may be, how long it may take to come,
and how many connections there are.

What the server offers is used for heads and for the number of requests; the rest is here. uvicorn
waits without end for the first head of a connection, and for the rest of one that has begun.
"""

from __future__ import annotations

import http
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import anyio
from uvicorn.protocols.http.h11_impl import H11Protocol

from agent.desk.wire import Problem, Reason

if TYPE_CHECKING:
    import asyncio

    from telemetry.integrations.asgi import App, Message, Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one service."""

    head_bytes: int = 16 * 1024
    """Size of a request's line and headers."""
    body_bytes: int = 16 * 1024
    """Size of its body: a booking has less than two hundred."""
    seconds: float = 5.0
    """Time a head has to come, and then a body."""
    connections: int = 200
    """Number of connections. One more takes the place of the one that has waited longest without
    a request; where all of them have one, it is answered 503."""


LIMITS: Final = Limits()
_DROPPED_BYTES: Final = 1024 * 1024
"""Size of what is read, beyond what a body may have, to let a client see the answer."""


class BoundedBody:
    """An ASGI application around another, which gets whole bodies or isn't asked.

    Answers 413 to a body that is too large and 408 to one that takes too long, and closes the
    connection. A body that is not much too large is read, and dropped: a client that is still
    sending when it is closed may not get to see the answer.
    """

    def __init__(self, app: App, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limits, body, size, more = self._limits, bytearray(), 0, True
        with anyio.move_on_after(limits.seconds):
            while more and size <= limits.body_bytes + _DROPPED_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                part = message.get("body", b"")
                size += len(part)
                if size <= limits.body_bytes:
                    body += part
                more = message.get("more_body", False)
        if size > limits.body_bytes:
            large = f"body: larger than {limits.body_bytes} bytes"
            await _refuse(send, http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, large)
        elif more:
            late = f"body: not whole within {limits.seconds:g} s"
            await _refuse(send, http.HTTPStatus.REQUEST_TIMEOUT, late)
        else:
            await self._app(scope, _again(bytes(body), receive), send)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body that was read, then whatever comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def read() -> Message:
        return messages.pop() if messages else await receive()

    return read


async def _refuse(send: Send, status: http.HTTPStatus, detail: str) -> None:
    problem = Problem(reason=Reason.INVALID, detail=detail)
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": problem.model_dump_json().encode()})


_TOO_LATE: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedConnection(H11Protocol):
    """uvicorn's connection, which waits for a request as long as the ``limits`` say."""

    def __init__(self, limits: Limits, **server: Any) -> None:
        super().__init__(**server)
        self._limits = limits
        self._since = self.loop.time()
        self._seen: object = None
        """The request that was the latest one when it was last looked."""
        self._look: asyncio.TimerHandle | None = None

    def connection_made(  # type: ignore[override]  # as uvicorn has it
        self, transport: asyncio.Transport
    ) -> None:
        """Make room, and wait for the first request."""
        if len(self.connections) >= self._limits.connections:
            others = (each for each in self.connections if isinstance(each, BoundedConnection))
            waiting = [each for each in others if each.waits]
            if waiting:
                min(waiting, key=lambda each: (each.cycle is not None, each._since)).give_up()
        super().connection_made(transport)
        self._look = self.loop.call_later(self._limits.seconds, self._watch)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    @property
    def waits(self) -> bool:
        """True while there is no request, or not the whole head of one."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and not self.transport.is_closing()

    def give_up(self) -> None:
        """Close it: the request that it waits for has not come."""
        self.transport.write(_TOO_LATE)
        self.transport.close()

    def _watch(self) -> None:
        """Give up a connection that has had no request since this was last asked."""
        if self.waits and self.cycle is self._seen:
            self.give_up()
            return
        self._seen = self.cycle
        self._look = self.loop.call_later(self._limits.seconds, self._watch)
