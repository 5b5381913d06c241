"""A caller's end: a participant of a room of its own, with the gateway client's interface."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

import anyio
from livekit import api, rtc

from agent import gateway
from agent.gateway.protocol import parse_gateway_message

from .line import TOPIC
from .request import CONVERSATION, TRACE
from .server import LiveKit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.gateway import GatewayMessage, Start

log = logging.getLogger(__name__)

RATE: Final = 16_000
"""Hz of a caller's audio, both ways."""
TOKEN_TTL: Final = timedelta(minutes=10)
_FRAME_MS: Final = 20
_MAX_UNREAD: Final = 1024
"""Messages and frames kept for a caller that is slow to read: twenty seconds of them."""


class Call:
    """A call in progress, as :class:`agent.gateway.client.Call` is: iterate over it for what the
    agent sends, messages and 20 ms frames as ``bytes``.

    The frames go on while the agent is silent. Iteration ends after ``ended``, and raises
    :class:`~agent.gateway.Disconnected` when the connection goes before.
    """

    def __init__(self, room: rtc.Room, source: rtc.AudioSource) -> None:
        self.id = ""
        """The conversation's id, once it has started."""
        self.trace_id = ""
        """The trace the conversation is recorded in, likewise."""
        self._room = room
        self._source = source
        self._incoming, self._received = anyio.create_memory_object_stream[GatewayMessage](
            _MAX_UNREAD
        )
        self._ended = False
        self._started = anyio.Event()
        self._why: str | None = None
        self._tasks = anyio.create_task_group()

    async def send_audio(self, frame: bytes) -> None:
        """Send 20 ms of mono PCM16 at :data:`RATE`. Pacing is the caller's."""
        self._check()
        await self._source.capture_frame(rtc.AudioFrame(frame, RATE, 1, len(frame) // 2))

    async def send_text(self, text: str) -> None:
        """Send a typed turn."""
        await self._send(gateway.Text(text=text))

    async def end(self) -> None:
        """Hang up politely; ``ended`` comes back."""
        await self._send(gateway.End())

    def __aiter__(self) -> Self:
        """Messages in the order they come."""
        return self

    async def __anext__(self) -> GatewayMessage:
        """The next message."""
        if self._ended:
            raise StopAsyncIteration
        try:
            message = await self._received.receive()
        except anyio.EndOfStream:
            raise gateway.Disconnected(gateway.CloseCode.GOING_AWAY, self._why or "") from None
        self._ended = isinstance(message, gateway.Ended)
        return message

    async def _send(self, message: gateway.CallerMessage) -> None:
        self._check()
        data = gateway.encode(message)
        try:
            await self._room.local_participant.publish_data(data, topic=TOPIC)
        except rtc.participant.PublishDataError as error:
            raise gateway.Disconnected(gateway.CloseCode.GOING_AWAY, str(error)) from error

    def _check(self) -> None:
        if self._why is not None:
            raise gateway.Disconnected(gateway.CloseCode.GOING_AWAY, self._why)
