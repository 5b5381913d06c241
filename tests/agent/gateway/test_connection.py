"""A connection's frames are counted before anybody reads them: strangers' too, and pings."""

from __future__ import annotations

import pytest
from websockets.asyncio.client import connect as connect_websocket
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from agent.gateway import SUBPROTOCOL, CloseCode, Start, connect

from .blunt import connect as connect_bluntly
from .blunt import flood, wire
from .sessions import gateway
from .test_server import assert_answers

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
