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
_TAKEN_LATE: Final = 50
"""Frames after one that tell when it came."""


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
        self.spoke_until: float | None = None
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
        self._arrivals: list[float] = []
        self._greeted: tuple[int, float] | None = None
        self._replied: tuple[int, float] | None = None
        """Where sound begins: the frame, and seconds into it."""
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

    @property
    def greeted_at(self) -> float | None:
        """When the greeting was first audible."""
        return self._sounded(self._greeted)

    @property
    def replied_at(self) -> float | None:
        """When the reply to what was asked last was first audible."""
        return self._sounded(self._replied)

    # -- what a caller does ------------------------------------------------------------------------

    async def hear_greeting(self) -> None:
        """Wait until the agent has greeted, and is done."""
        await self._until(lambda: self.greeted_at is not None)
        await self.quiet()

    async def ask(self, speech: bytes) -> None:
        """Say something, and hear the reply until its end."""
        self._replied = None
        self._answered = False
        self._saying = iter([speech[at : at + FRAME] for at in range(0, len(speech), FRAME)])
        self._spoken = anyio.Event()
        await self._until(self._spoken.is_set)
        await self._until(lambda: self.replied_at is not None)
        await self.quiet()

    async def quiet(self) -> None:
        """Wait until the agent has been silent for a while."""
        with anyio.fail_after(PATIENCE):
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
        await self._until(lambda: False)

    @property
    def is_over(self) -> bool:
        """Whether the call has ended, one way or the other."""
        return self.outcome is not None or self.disconnected is not None

    # -- its microphone and its ear ----------------------------------------------------------------

    async def _microphone(self) -> None:
        start, sent_until = anyio.current_time(), 0.0
        with suppress(gateway.Disconnected):
            for count in itertools.count():
                await anyio.sleep_until(start + count * FRAME_SECONDS)
                frame, now = next(self._saying, None), time.time()
                if frame is None:
                    self._spoken.set()
                    if sent_until > now:  # it was late: no microphone has that wait for ever
                        continue
                # what is handed over late leaves one after another
                sent_until = max(now, sent_until + FRAME_SECONDS)
                if frame is not None and (loud := audible(frame)).size:
                    ago = FRAME_SECONDS - (int(loud[-1]) + 1) / client.SAMPLE_RATE_HZ
                    self.spoke_until = sent_until - ago
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
                self._arrivals.append(time.time())
                if not (loud := audible(message)).size:
                    return
                self._last_sound = self._arrivals[-1]
                begins = len(self._arrivals) - 1, int(loud[0]) / client.SAMPLE_RATE_HZ
                if self._greeted is None:
                    self._greeted = begins
                elif self._answered and self._replied is None:
                    self._replied = begins
            case gateway.AudioStarted():
                self._playing = self._answered = True
            case gateway.AudioEnded():
                self._playing = False
            case gateway.Ended(outcome=outcome):
                self.outcome = outcome

    _answered = False

    def _sounded(self, begins: tuple[int, float] | None) -> float | None:
        """When a sound was heard: its frame arrives as it begins to be played.

        Frames are played one after another: none is later than one after it less the audio from
        here to there, even if this process took it later.
        """
        if begins is None:
            return None
        frame, offset = begins
        after = self._arrivals[frame : frame + _TAKEN_LATE]
        return offset + min(at - number * FRAME_SECONDS for number, at in enumerate(after))

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait until it holds, or the call is over: then it never will."""
        with anyio.fail_after(PATIENCE):
            while not (holds() or self.is_over):
                await self._changed.wait()


def question() -> bytes:
    """Recorded speech: mono PCM16 at the rate of calls, asking when the restaurant is open."""
    with wave.open(str(QUESTION)) as file:
        assert (file.getframerate(), file.getnchannels()) == (client.SAMPLE_RATE_HZ, 1)
        pcm: bytes = file.readframes(file.getnframes())
    return pcm
