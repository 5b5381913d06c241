"""A connection's frames are counted before anybody reads them: strangers' too, and pings."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest
from websockets.asyncio.client import connect as connect_websocket
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from agent.gateway import SUBPROTOCOL, CloseCode, Start, connect
from agent.gateway.connection import Connection
from agent.gateway.strangers import Strangers

from .blunt import connect as connect_bluntly
from .blunt import flood, wire
from .sessions import gateway
from .test_server import assert_answers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

MANY = 100_000
_PARTS = [Frame(Opcode.TEXT, b"", fin=False), *[Frame(Opcode.CONT, b"", fin=False)] * MANY]


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        wire(Frame(Opcode.PING, b"")) * MANY,
        wire(Frame(Opcode.PONG, b"")) * MANY,
        wire(Frame(Opcode.TEXT, b"{}")) * MANY,
        b"".join(map(wire, _PARTS)),
    ],
    ids=["pings", "pongs", "messages", "fragments"],
)
async def test_a_flood_of_small_frames(data: bytes, started: bool) -> None:
    """With a call or without, who sends them is closed with a reason, however many come at once,
    and another's call goes on."""
    start = Start(sample_rate=16000)
    async with gateway() as echo, connect(echo.url, start=start) as other:
        closed = await flood(echo.url, data, messages=[start] if started else [])
        assert closed == (CloseCode.TOO_FAST, "more than 10 s of audio ahead of real time")
        await assert_answers(other)


async def test_pings_as_anybody_sends_them() -> None:
    """A client's keepalive is answered, as often as any client sends it."""
    async with (
        gateway(start_timeout=30) as echo,
        connect_websocket(echo.url, subprotocols=[Subprotocol(SUBPROTOCOL)], proxy=None) as caller,
    ):
        for _ in range(20):
            await (await caller.ping())


async def test_a_message_in_small_pieces() -> None:
    """However the network cuts a message up, it is one."""
    start = Start(sample_rate=16000, tags={f"tag{n}": "x" * 200 for n in range(30)})
    async with gateway() as echo, await connect_bluntly(echo.url) as stream:
        for byte in wire(Frame(Opcode.TEXT, start.model_dump_json().encode())):
            await stream.send(bytes([byte]))
        assert b'"started"' in await stream.receive()


@asynccontextmanager
async def serving(handle: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    """A server whose connections are the gateway's, without a gateway; its URL."""
    strangers: Strangers[ServerConnection] = Strangers(lambda connection: None)
    async with serve(
        handle,
        "127.0.0.1",
        0,
        create_connection=partial(Connection, strangers, 5.0),  # type: ignore[arg-type]  # documented: or a wrapper
        subprotocols=[Subprotocol(SUBPROTOCOL)],
    ) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_audio_goes_past_what_is_read_but_never_before_it() -> None:
    """A binary message is offered as it comes in, unless one that came before it is unread, or it
    comes in fragments; one that isn't taken is read as others are."""
    taken, read = list[bytes](), list[str | bytes]()
    is_read = anyio.Event()

    async def serve_one(connection: ServerConnection) -> None:
        assert isinstance(connection, Connection)

        def take(data: bytes) -> bool:
            taken.append(data)
            return data != b"refused"

        connection.on_audio = take
        while len(read) < 5:
            read.append(await connection.receive())
        is_read.set()
        await connection.wait_closed()

    with anyio.fail_after(10):
        async with serving(serve_one) as url, await connect_bluntly(url) as stream:
            frames = [
                Frame(Opcode.BINARY, b"at once"),
                Frame(Opcode.TEXT, b"text"),
                Frame(Opcode.BINARY, b"after text"),
                Frame(Opcode.BINARY, b"in ", fin=False),
                Frame(Opcode.CONT, b"pieces"),
            ]
            await stream.send(b"".join(map(wire, frames)))
            while len(read) < 3:
                await anyio.lowlevel.checkpoint()
            more = [Frame(Opcode.BINARY, b"refused"), Frame(Opcode.TEXT, b"last")]
            await stream.send(b"".join(map(wire, more)))
            await is_read.wait()
    assert taken == [b"at once", b"refused"]
    assert read == ["text", b"after text", b"in pieces", b"refused", "last"]


async def test_messages_that_are_written_together() -> None:
    """They come one by one, in order, as text and as binary."""
    sent: list[str | bytes] = ["one", b"two", "three"]

    async def serve_one(connection: ServerConnection) -> None:
        assert isinstance(connection, Connection)
        await connection.send_all(sent)

    async with (
        serving(serve_one) as url,
        connect_websocket(url, subprotocols=[Subprotocol(SUBPROTOCOL)], proxy=None) as caller,
    ):
        assert [message async for message in caller] == sent
