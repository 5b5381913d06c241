"""A connection as the gateway accepts it: counted from its first byte, before anybody reads it.

What costs the loop time is not how much comes, but how many frames it comes in: a network's worth
of pings, each of which asks for an answer, would keep every caller waiting. So frames are counted
as they are parsed, a little data at a time. Who sends more of them than a microphone does is told
so and closed, and what has come after that is thrown away unread.

A call's audio comes fifty times a second, so it goes no further than it has to: a frame is given to
whoever listens as it is parsed, past the queue and the task that read everything else, and the
agent's frames are written as many at a time as there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.frames import CTRL_OPCODES, DATA_OPCODES, Frame, Opcode

from agent.metrics import Limit, reached

from .budget import FramePace
from .protocol import FRAME_SECONDS, ProtocolError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from websockets.http11 import Request, Response

    from .strangers import Strangers

_SLICE_BYTES: Final = 1024
"""Data parsed at once: up to 170 frames."""
_CONTROL_SECONDS: Final = 0.2
"""A ping counts as ten frames: it takes an answer, and nobody needs five in a second."""


class Connection(ServerConnection):
    """A connection that is one of the ``strangers`` from its first moment, and is held to the pace
    of real time (:class:`~agent.gateway.budget.FramePace`). ``patience`` is what the server has
    with its handshake."""

    def __init__(
        self,
        strangers: Strangers[ServerConnection],
        patience: float,
        *protocol: Any,
        **options: Any,
    ) -> None:
        super().__init__(*protocol, **options)
        self._strangers = strangers
        self._patience = patience
        """Seconds that its handshake may take."""
        self._since = self.loop.time()
        self._pace = FramePace()
        self._counted = 0.0
        """Seconds of audio that the latest data's frames count as."""
        self._closed = False
        self._unread = 0
        """Messages that whoever receives is yet to take."""
        self.on_audio: Callable[[bytes], bool] | None = None
        """Callback for a binary message which comes whole, with none before it unread; True says
        that it was taken, else it is received as others are."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be a stranger."""
        super().connection_made(transport)
        peer = self.remote_address
        self._strangers.arrive(self, peer[0] if isinstance(peer, tuple) else "")

    def connection_lost(self, exc: Exception | None) -> None:
        """Be none any more."""
        self._strangers.leave(self)
        if self.request is None and self.loop.time() - self._since >= self._patience:
            reached(Limit.HANDSHAKE)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take data in, as far as there is still somebody who may send it."""
        for start in range(0, len(data), _SLICE_BYTES):
            if self._closed:
                return
            super().data_received(data[start : start + _SLICE_BYTES])
            try:
                self._pace.count(self.loop.time(), self._counted)
            except ProtocolError as error:
                self._closed = True
                self._close(error)
            self._counted = 0.0

    def process_event(self, event: Frame | Request | Response) -> None:
        """Count a frame, and hand it on."""
        if isinstance(event, Frame):
            self._counted += _CONTROL_SECONDS if event.opcode in CTRL_OPCODES else FRAME_SECONDS
            if event.opcode in DATA_OPCODES:
                if self._is_taken(event):
                    return
                self._unread += event.fin
        super().process_event(event)

    def _is_taken(self, frame: Frame) -> bool:
        """Offer a frame to whoever takes audio."""
        return (
            frame.opcode is Opcode.BINARY
            and frame.fin
            and not self._unread
            and self.on_audio is not None
            and self.on_audio(bytes(frame.data))
        )

    async def receive(self) -> str | bytes:
        """The next message that isn't taken as audio; else as :meth:`recv`."""
        message = await self.recv()
        self._unread -= 1
        return message

    async def send_all(self, messages: Iterable[str | bytes]) -> None:
        """Send some messages, as :meth:`send` sends one; they are written together."""
        async with self.send_context():
            for message in messages:
                if isinstance(message, bytes):
                    self.protocol.send_binary(message)
                else:
                    self.protocol.send_text(message.encode())

    def _close(self, error: ProtocolError) -> None:
        """Say why, at once, and wait no longer than anybody needs to read it."""
        self.protocol.fail(error.code, error.reason)
        self.send_data()
        self.loop.call_later(self.close_timeout or 0.0, self.transport.abort)
