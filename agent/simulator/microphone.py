"""A caller's microphone: a frame every 20 ms for as long as the call lasts."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import anyio

from agent.simulator.audio import FRAME_SECONDS, SILENCE, last_audible

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from agent.simulator.audio import Speech


class Microphone:
    """Sends speech when something is said, and silence when not.

    Args:
        send: takes a frame to the agent.
        on_voice: told the Unix time of the last audible sample of each frame that has one. A frame
            is sent when it is full, so its last sample is as old as its sending and its first one
            20 ms older.
    """

    def __init__(
        self, send: Callable[[bytes], Awaitable[None]], on_voice: Callable[[float], None]
    ) -> None:
        self._send = send
        self._on_voice = on_voice
        self._saying: Iterator[bytes] = iter(())
        self._said = anyio.Event()

    async def run(self) -> None:
        """Send until cancelled, paced by a clock that doesn't drift."""
        start = anyio.current_time()
        for count in itertools.count():
            await anyio.sleep_until(start + count * FRAME_SECONDS)
            frame = next(self._saying, None)
            if frame is None:
                self._said.set()
                await self._send(SILENCE)
                continue
            voiced = last_audible(frame)
            if voiced is not None:
                self._on_voice(time.time() - FRAME_SECONDS + voiced)
            await self._send(frame)

    async def say(self, speech: Speech) -> None:
        """Say something; returns once all of it is sent."""
        self._said = anyio.Event()
        self._saying = speech.frames()
        await self._said.wait()
