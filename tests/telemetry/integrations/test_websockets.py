"""Connections of websockets: headers at the handshake, context in the messages."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

import telemetry
from telemetry.integrations import websockets as traced
from telemetry.testing import Captured, capture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from websockets.http11 import Request, Response


class Server:
    """Remembers each handshake, answers each message in a conversation below its sender's."""

    def __init__(self) -> None:
        self.handshakes: list[dict[str, str]] = []
        self.redirect: str | None = None
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Server]:
        """Serve, on loopback."""
        async with serve(self._answer, "127.0.0.1", 0, process_request=self._handshake) as server:
            [socket] = server.sockets
            self.port = socket.getsockname()[1]
            yield self

    def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        self.handshakes.append({name.lower(): value for name, value in request.headers.items()})
        if self.redirect is None:
            return None
        answer = connection.respond(HTTPStatus.FOUND, "")
        answer.headers["Location"], self.redirect = self.redirect, None
        return answer

    async def _answer(self, connection: ServerConnection) -> None:
        async for text in connection:
            message = json.loads(text)
            async with telemetry.conversation("server", headers=message["trace"]):
                await connection.send(message["words"])


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """The server."""
    async with Server().running() as server:
        yield server


@pytest.fixture(params=["transaction", "stream"])
def captured(request: pytest.FixtureRequest) -> Iterator[Captured]:
    """Headers go to 127.0.0.1 only."""
    with capture(lifecycle=request.param, propagate_to=["127.0.0.1"]) as captured:
        yield captured


def by_id(captured: Captured) -> dict[str, Any]:
    """Every span."""
    return {span.span_id: span for event in captured.transactions for span in captured.spans(event)}


async def test_the_handshake_is_a_child_of_its_span(server: Server, captured: Captured) -> None:
    """Twenty conversations connect at the same time: each is the parent of its own handshake."""
    made_in: dict[str, str] = {}

    async def converse(number: int) -> None:
        async with telemetry.conversation(f"c{number}"):
            with telemetry.span("tool") as span:
                made_in[f"c{number}"] = span.id
                url = f"ws://127.0.0.1:{server.port}/{number}"
                given = {"who": f"c{number}"}
                async with traced.connect(url, additional_headers=given):
                    pass

    await asyncio.gather(*map(converse, range(20)))
    spans = by_id(captured)
    assert len(server.handshakes) == 20
    for handshake in server.handshakes:
        parent = spans[handshake["sentry-trace"].split("-")[1]]
        assert parent.op == "websocket.client"
        assert parent.parent_span_id == made_in[handshake["who"]]


async def test_a_reconnect_is_a_child_of_where_it_happens(
    server: Server, captured: Captured
) -> None:
    """One ``connect`` object, two handshakes, two spans."""
    connecting = traced.connect(f"ws://127.0.0.1:{server.port}")
    made_in = []
    async with telemetry.conversation("c"):
        for _ in range(2):
            with telemetry.span("attempt") as span:
                made_in.append(span.id)
                async with connecting:
                    pass
    spans = by_id(captured)
    parents = [spans[shake["sentry-trace"].split("-")[1]] for shake in server.handshakes]
    assert [parent.parent_span_id for parent in parents] == made_in


async def test_a_redirect_takes_headers_only_where_they_may_go(
    server: Server, captured: Captured
) -> None:
    """To a host that gets none the handshake has none; what the caller gave goes along."""
    server.redirect = f"ws://localhost:{server.port}"
    async with telemetry.conversation("c"):
        url = f"ws://127.0.0.1:{server.port}"
        async with traced.connect(url, additional_headers={"who": "c"}):
            pass
    here, elsewhere = server.handshakes
    assert {"sentry-trace", "baggage"} <= here.keys()
    assert not {"sentry-trace", "baggage"} & elsewhere.keys()
    assert here["who"] == elsewhere["who"] == "c"


async def test_a_message_continues_the_trace_of_its_span(
    server: Server, captured: Captured
) -> None:
    """Not that of the handshake, which was long ago."""
    async with (
        telemetry.conversation("client") as conversation,
        traced.connect(f"ws://127.0.0.1:{server.port}") as connection,
    ):
        with telemetry.span("ask") as span:
            message: dict[str, str] = {}
            telemetry.inject(message)
            await connection.send(json.dumps({"words": "Hello", "trace": message}))
            assert await connection.recv() == "Hello"
    [answered] = [event for event in captured.conversations if event["transaction"] == "server"]
    assert answered["contexts"]["trace"]["trace_id"] == conversation.trace_id
    assert answered["contexts"]["trace"]["parent_span_id"] == span.id


async def test_without_a_conversation(server: Server, captured: Captured) -> None:
    """A connection is just a connection."""
    async with traced.connect(f"ws://127.0.0.1:{server.port}"):
        pass
    assert "sentry-trace" not in server.handshakes[0]
    assert captured.runtime.stats().orphan_spans == 0
