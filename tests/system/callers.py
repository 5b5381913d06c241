"""Callers with real speech in real rooms, who measure what they hear in the audio itself."""

from __future__ import annotations

import itertools
import time
import wave
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import anyio

from agent import gateway
from agent.audio import audible
from agent.rooms import client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.rooms import LiveKit
    from agent.session import Outcome

QUESTION: Final = (
    Path(__file__).parents[2] / "config" / "scenarios" / "audio" / "opening_hours-1.wav"
)
FRAME_SECONDS: Final = 0.02
FRAME: Final = 640
"""Bytes of 20 ms."""
SILENCE: Final = bytes(FRAME)
QUIET: Final = 0.6
"""Seconds without a sound after which the agent has finished."""
PATIENCE: Final = 40.0


class Caller:
    """One caller on the line: ``async with Caller(…) as caller``. Times are Unix seconds."""

    def __init__(
        self,
        livekit: LiveKit,
        id: str,
        *,
        agent_name: str = "",
        room: str | None = None,
        headers: dict[str, str] | None = None,
        open_timeout: float = 20.0,
    ) -> None:
        self.id = id
        self.called_at = time.time()
        self.greeted_at: float | None = None
        self.spoke_until: float | None = None
        self.replied_at: float | None = None
        self.outcome: Outcome | None = None
        self.disconnected: str | None = None
        self._connecting = client.connect(
            livekit,
            start=gateway.Start(sample_rate=16000, id=id, headers=headers or {}),
            agent_name=agent_name,
            room=room,
            open_timeout=open_timeout,
        )
        self._stack = AsyncExitStack()
        self._saying: Iterator[bytes] = iter(())
        self._last_sound = 0.0
        self._playing = False
        self._spoken = anyio.Event()
        self._changed = anyio.Event()

    async def __aenter__(self) -> Self:
        self.call = await self._stack.enter_async_context(self._connecting)
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(self._microphone)
        tasks.start_soon(self._listen)
        self._stack.callback(tasks.cancel_scope.cancel)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    # -- what a caller does ------------------------------------------------------------------------

    async def hear_greeting(self) -> None:
        """Wait until the agent has greeted, and is done."""
        await self._until(lambda: self.greeted_at is not None or self.is_over)
        await self.quiet()

    async def ask(self, speech: bytes) -> None:
        """Say something, and hear the reply until its end."""
        self.replied_at = None
        self._answered = False
        self._saying = iter([speech[at : at + FRAME] for at in range(0, len(speech), FRAME)])
        self._spoken = anyio.Event()
        await self._spoken.wait()
        await self._until(lambda: self.replied_at is not None or self.is_over)
        await self.quiet()

    async def quiet(self) -> None:
        """Wait until the agent has been silent for a while."""
        while not self.is_over:
            left = self._last_sound + QUIET - time.time()
            if not self._playing and left <= 0:
                return
            with anyio.move_on_after(max(left, 0.05)):
                await self._changed.wait()

    async def hang_up(self) -> None:
        """Say that the call is over, and hear it confirmed."""
        await self.call.end()
        await self.over()

    async def over(self) -> None:
        """Wait until the agent has ended the call, or the line is cut."""
        await self._until(lambda: self.is_over)

    @property
    def is_over(self) -> bool:
        """Whether the call has ended, one way or the other."""
        return self.outcome is not None or self.disconnected is not None

    # -- its microphone and its ear ----------------------------------------------------------------

    async def _microphone(self) -> None:
        start = anyio.current_time()
        with suppress(gateway.Disconnected):
            for count in itertools.count():
                await anyio.sleep_until(start + count * FRAME_SECONDS)
                frame = next(self._saying, None)
                if frame is None:
                    self._spoken.set()
                elif (loud := audible(frame)).size:
                    ago = FRAME_SECONDS - (int(loud[-1]) + 1) / client.RATE
                    self.spoke_until = time.time() - ago
                await self.call.send_audio((frame or SILENCE).ljust(FRAME, b"\0"))

    async def _listen(self) -> None:
        try:
            async for message in self.call:
                self._hear(message)
                self._changed.set()
                self._changed = anyio.Event()
        except gateway.Disconnected as lost:
            self.disconnected = lost.reason
        self._changed.set()

    def _hear(self, message: gateway.GatewayMessage) -> None:
        match message:
            case bytes():
                if not (loud := audible(message)).size:
                    return
                # a frame arrives as it begins to be played
                at = time.time() + int(loud[0]) / client.RATE
                self._last_sound = at
                if self.greeted_at is None:
                    self.greeted_at = at
                elif self._answered and self.replied_at is None:
                    self.replied_at = at
            case gateway.AudioStarted():
                self._playing = self._answered = True
            case gateway.AudioEnded():
                self._playing = False
            case gateway.Ended(outcome=outcome):
                self.outcome = outcome

    _answered = False

    async def _until(self, holds: Callable[[], bool]) -> None:
        with anyio.fail_after(PATIENCE):
            while not holds():
                await self._changed.wait()


def question() -> bytes:
    """Recorded speech: mono PCM16 at the rate of calls, asking when the restaurant is open."""
    with wave.open(str(QUESTION)) as file:
        assert (file.getframerate(), file.getnchannels()) == (client.RATE, 1)
        pcm: bytes = file.readframes(file.getnframes())
    return pcm
