"""A connection's frames are counted before anybody reads them: strangers' too, and pings."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from agent.gateway import SUBPROTOCOL, CloseCode, Start, connect

from .sessions import gateway
from .test_server import assert_answers

MANY = 100_000


def _masked(frame: Frame) -> bytes:
    return frame.serialize(mask=True)


_PARTS = [Frame(Opcode.TEXT, b"", fin=False), *[Frame(Opcode.CONT, b"", fin=False)] * MANY]


@pytest.mark.parametrize(
    "data",
    [
        _masked(Frame(Opcode.PING, b"")) * MANY,
        _masked(Frame(Opcode.PONG, b"")) * MANY,
        _masked(Frame(Opcode.TEXT, b"{}")) * MANY,
        b"".join(map(_masked, _PARTS)),
    ],
    ids=["pings", "pongs", "messages", "fragments"],
)
async def test_a_flood_of_small_frames(data: bytes) -> None:
    """Who has no call yet is closed for it with a reason; the loop isn't kept busy, and another's
    call goes on."""
    async with gateway() as echo, connect(echo.url, start=Start(sample_rate=16000)) as other:
        async with connect_websocket(
            echo.url, subprotocols=[Subprotocol(SUBPROTOCOL)], proxy=None
        ) as stranger:
            stranger.transport.write(data)
            with suppress(ConnectionClosed):
                while True:
                    await stranger.recv()
            assert stranger.close_code == CloseCode.TOO_FAST
            assert "ahead of real time" in (stranger.close_reason or "")
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
    async with gateway() as echo, await anyio.connect_tcp(*_address(echo.url)) as stream:
        await stream.send(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: parley.v1\r\n\r\n"
        )
        assert b"101" in await stream.receive()
        start = Start(sample_rate=16000, tags={f"tag{n}": "x" * 200 for n in range(30)})
        for byte in _masked(Frame(Opcode.TEXT, start.model_dump_json().encode())):
            await stream.send(bytes([byte]))
        assert b'"started"' in await stream.receive()


def _address(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("ws://").split(":")
    return host, int(port)
