"""A caller that sends bytes as they are, whatever the gateway says, and hears why it is closed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from websockets.frames import Close, Frame, Opcode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.gateway import CallerMessage

from agent.gateway import encode

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: parley.v1\r\n\r\n"
)


def wire(frame: Frame) -> bytes:
    """A frame as a client sends it."""
    return frame.serialize(mask=True)


async def flood(
    url: str, data: bytes, *, messages: Iterable[CallerMessage] = ()
) -> tuple[int, str] | None:
    """Connect, start a call with these messages, if any, then send all of this data at once.

    Returns the code and reason the gateway closes with; None if it closes without.
    """
    async with await connect(url) as stream:
        received = bytearray()
        for message in messages:
            encoded = encode(message)
            binary = isinstance(encoded, bytes)
            payload = encoded if isinstance(encoded, bytes) else encoded.encode()
            await stream.send(wire(Frame(Opcode.BINARY if binary else Opcode.TEXT, payload)))
            while b"started" not in received:
                received += await stream.receive()

        async def send() -> None:
            with suppress(anyio.BrokenResourceError):  # closed before all of it was taken
                await stream.send(data)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            try:
                while (close := close_frame(received)) is None:
                    received += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                close = close_frame(received)
            tasks.cancel_scope.cancel()
        return None if close is None else (int(close.code), close.reason)


async def connect(url: str) -> anyio.abc.SocketStream:
    """A connection that has made its handshake."""
    host, port = url.removeprefix("ws://").split(":")
    stream = await anyio.connect_tcp(host, int(port))
    await stream.send(HANDSHAKE)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += await stream.receive(1)
    assert answer.startswith(b"HTTP/1.1 101 ")
    return stream


def close_frame(received: bytearray) -> Close | None:
    """The close frame among whole frames received; those before it are dropped."""
    while len(received) >= 2:
        opcode, length, header = received[0] & 0x0F, received[1], 2
        if length == 126:
            length, header = int.from_bytes(received[2:4], "big"), 4
        if len(received) < header + length:
            return None
        payload = bytes(received[header : header + length])
        del received[: header + length]
        if opcode == Opcode.CLOSE:
            return Close.parse(payload)
    return None
