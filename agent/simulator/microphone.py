"""A caller's microphone: a frame every 20 ms for as long as the call lasts."""

from __future__ import annotations

import itertools
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

import anyio

from agent.simulator.audio import FRAME_SECONDS, SILENCE, first_audible, last_audible
from agent.simulator.impairment import Arrival

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from agent.simulator.audio import Speech


def _perfect(frame: bytes) -> Arrival:
    """A perfect line: each frame arrives at once, as it is."""
    return Arrival(0.0, frame)


class OnVoice(Protocol):
    """A listener to voiced frames."""

    def __call__(self, since: float, until: float, *, swallowed: bool) -> None:
        """Take a frame's first and last audible sample (Unix seconds), and the line's effect: it
        swallowed it or not."""


class Microphone:
    """A microphone that sends speech when something is said, and silence when not.

    Args:
        send: takes a frame to the agent.
        on_voice: told of each frame that has an audible sample. The times are those of the
            caller's voice, not of its arrival over the line. A frame is sent when it is full, so
            its last sample is as old as its sending and its first one 20 ms older.
        line: takes a frame, returns its arrival.
    """

    def __init__(
        self,
        send: Callable[[bytes], Awaitable[None]],
        on_voice: OnVoice,
        line: Callable[[bytes], Arrival] = _perfect,
    ) -> None:
        self._send = send
        self._on_voice = on_voice
        self._line = line
        self.late = 0.0
        """Seconds by which the latest frame of all was: the machine is too busy to keep time."""
        self._under_way: deque[tuple[float, bytes]] = deque()
        """Frames and their due times (the loop's clock), in order; late by a second at most."""
        self._saying: Iterator[bytes] = iter(())
        self._said = anyio.Event()

    async def run(self) -> None:
        """Send until cancelled, paced by a clock that doesn't drift."""
        start = anyio.current_time()
        for count in itertools.count():
            tick = start + count * FRAME_SECONDS
            await self._arrive(before=tick)
            await anyio.sleep_until(tick)
            self.late = max(self.late, anyio.current_time() - tick)
            frame = next(self._saying, None)
            arrival = self._line(frame or SILENCE)
            if frame is None:
                self._said.set()
            else:
                self._listen(frame, arrival)
            due = tick + arrival.late
            if self._under_way:
                due = max(due, self._under_way[-1][0])
            self._under_way.append((due, arrival.frame))

    async def say(self, speech: Speech) -> None:
        """Say something; returns once all of it is sent."""
        self._said = anyio.Event()
        self._saying = speech.frames()
        await self._said.wait()

    def _listen(self, frame: bytes, arrival: Arrival) -> None:
        first, last = first_audible(frame), last_audible(frame)
        if first is not None and last is not None:
            began = time.time() - FRAME_SECONDS
            self._on_voice(began + first, began + last, swallowed=arrival.swallowed)

    async def _arrive(self, *, before: float) -> None:
        """Hand over the frames that are due before that time."""
        while self._under_way and self._under_way[0][0] < before:
            due, frame = self._under_way.popleft()
            await anyio.sleep_until(due)
            await self._send(frame)
