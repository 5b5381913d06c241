"""A caller's line over a WebSocket: what :class:`agent.session.line.Line` asks for, on queues.

Audio and events meet the network in two bounded queues, one each way, so that neither side can make
the other wait: frames that the session is too slow to hear are dropped, oldest first, and a caller
too slow to read is disconnected.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from livekit import rtc
from livekit.agents.voice import io

from agent.audio import DETECTION_SECONDS, TOGETHER_IN_SILENCE, Silence, last_over_noise
from agent.metrics import Limit, reached
from agent.session import line as session

from .bell import Bell
from .playout import Playout
from .protocol import (
    AGENT_AHEAD_SECONDS,
    FRAME_SECONDS,
    Ended,
    GatewayMessage,
    State,
    Tool,
    Words,
    frame_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from .exchange import Exchange

MAX_UNHEARD_SECONDS: Final = 2.0
"""Length of the caller's audio kept for a session that is slow to take it."""
VOICED_WITHIN_SECONDS: Final = 2.0
"""Length of the latest audio in which the end of the caller's speech is looked for."""
NOISE_FROM_SECONDS: Final = 6.0
"""Length of the latest audio from which its noise is told; 190 kB a call."""
FRAMES_TOGETHER: Final = 5
"""Number of the agent's frames sent at a time. A caller plays them one after another, and throws
those away that a ``flush`` overtakes."""
SENT_AHEAD_SECONDS: Final = AGENT_AHEAD_SECONDS - FRAMES_TOGETHER * FRAME_SECONDS
"""Length of the audio that a caller still has when the next frames are sent, within a speech."""
WRITTEN_TOGETHER: Final = 10
"""Number of messages that are written to a caller at a time, at most."""
MAX_UNREAD_SECONDS: Final = 5.0
"""Length of the audio kept for a caller that is slow to read."""


class Microphone(io.AudioInput):
    """The caller's audio, in windows of voice detection. The oldest is dropped if nobody takes it.

    Detection decides at the end of a window of 32 ms, whatever the frames are that bring it: in
    windows a session has five of eight pieces to pass on, and hears as soon. In a long silence
    eight of them are handed on together, until something can be heard: that is handed on at once,
    with what was kept back. ``gathers`` is False where they already come like that.
    """

    def __init__(self, *, sample_rate: int, gathers: bool = True) -> None:
        super().__init__(label="Gateway")
        self.dropped = 0
        """Frames dropped because the session was too slow to take them."""
        self._sample_rate = sample_rate
        self._unheard = bytearray()
        self._window_size = 2 * round(DETECTION_SECONDS * sample_rate)
        self._wanted = self._window_size
        """Bytes that it takes for something to be handed on."""
        self._room = 2 * round(MAX_UNHEARD_SECONDS * sample_rate)
        self._recent: deque[tuple[float, bytes]] = deque()
        """The latest audio, and when each piece of it came."""
        self._remembered = 0
        """Bytes in it."""
        self._memory = 2 * round(NOISE_FROM_SECONDS * sample_rate)
        self._silence = Silence(sample_rate) if gathers else None
        self._attached = True  # a session that is still starting hears what was said meanwhile
        self._heard = False
        """Whether anybody has listened yet."""
        self._closed = False
        self._more = Bell()
        """What whoever listens waits for."""

    def push(self, frame: bytes, at: float | None = None) -> None:
        """Take audio from the caller: mono PCM16, some 20 or 30 ms of it, which came ``at`` that
        Unix time; now if it is None."""
        self._recent.append((time.time() if at is None else at, frame))
        self._remembered += len(frame)
        while self._remembered > self._memory:
            self._remembered -= len(self._recent.popleft()[1])
        if not self._attached:
            return
        if self._silence is not None:
            self._silence.hear(frame)
            self._wanted = self._window_size * (TOGETHER_IN_SILENCE if self._silence.is_long else 1)
        self._unheard += frame
        if len(self._unheard) > self._room:
            self.dropped += 1
            reached(Limit.UNHEARD)
            del self._unheard[: len(frame)]
        if len(self._unheard) >= self._wanted:
            self._more.ring()

    def voiced_until(self) -> float | None:
        """The Unix time at which the last sample arrived that can be heard over the noise.

        None when there is none in the last two seconds. A busy machine takes a frame late. But
        frames are spoken one after another: none is later than one after it less the audio from
        here to there.
        """
        pcm = b"".join([frame for _, frame in self._recent])
        last = last_over_noise(
            pcm,
            frame_size(self._sample_rate) // 2,
            round(VOICED_WITHIN_SECONDS / FRAME_SECONDS),
        )
        if last is None:
            return None
        spoken, end, arrived = 2 * (last + 1), len(pcm), float("inf")
        for taken, frame in reversed(self._recent):
            if end < spoken:
                break
            arrived = min(arrived, taken - (end - spoken) / 2 / self._sample_rate)
            end -= len(frame)
        return arrived

    def close(self) -> None:
        """End the iteration, after what has come."""
        self._closed = True
        self._more.ring()

    async def __anext__(self) -> rtc.AudioFrame:
        """The next window, as soon as it is whole; several where they have come together. The last
        one may be shorter."""
        self._heard = True
        while len(self._unheard) < self._wanted and not self._closed:
            await self._more.wait()
        if not self._unheard:
            raise StopAsyncIteration
        whole = len(self._unheard) // self._window_size
        size = self._window_size * min(max(whole, 1), TOGETHER_IN_SILENCE)
        window = bytes(self._unheard[:size])
        del self._unheard[:size]
        return rtc.AudioFrame(window, self._sample_rate, 1, len(window) // 2)

    def on_attached(self) -> None:
        """The session listens."""
        self._attached = True

    def on_detached(self) -> None:
        """The session has stopped listening: what is said meanwhile is not for it.

        One that hasn't begun to listen hears what was said before: LiveKit detaches a microphone
        too when something is put between it and the session, such as a recorder.
        """
        self._attached = False
        if self._heard:
            self._unheard.clear()


class Outgoing:
    """Data to be written to a caller, in order: a bounded queue, as an async iterator.

    What has come meanwhile comes together, :data:`WRITTEN_TOGETHER` at most. Closed, it takes no
    more, and ends after that. Made for one reader. It is given fifty frames a second: a stream of
    anyio's has an event for each, 2 % of a session.
    """

    def __init__(self, most: int) -> None:
        self._waiting: deque[str | bytes] = deque()
        self._most = most
        self.closed = False
        """True if it takes no more."""
        self._more = Bell()

    def put(self, data: str | bytes) -> bool:
        """Add data at the end; False if there is no room, or it is closed."""
        if self.closed or len(self._waiting) >= self._most:
            return False
        self._waiting.append(data)
        self._more.ring()
        return True

    def close(self) -> None:
        """Take no more."""
        self.closed = True
        self._more.ring()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[str | bytes]:
        while not self._waiting:
            if self.closed:
                raise StopAsyncIteration
            await self._more.wait()
        count = min(len(self._waiting), WRITTEN_TOGETHER)
        return [self._waiting.popleft() for _ in range(count)]


class GatewayLine:
    """A :class:`agent.session.line.Line`, made once ``start`` has been received.

    :attr:`outgoing` yields what is to be written to the caller, in order; as a context manager it
    closes that. ``on_response`` is told the seconds from the caller's last
    audible sample to the agent's first, for each answer.
    """

    def __init__(
        self, exchange: Exchange, *, on_response: Callable[[float], object] = lambda _: None
    ) -> None:
        self.microphone = Microphone(sample_rate=exchange.sample_rate)
        self.playout = Playout(
            self.say,
            sample_rate=exchange.sample_rate,
            together=FRAMES_TOGETHER,
            ahead=SENT_AHEAD_SECONDS,
        )
        self.on_overflow: Callable[[], None] | None = None
        """Callback for :data:`MAX_UNREAD_SECONDS` of audio waiting; nothing is queued after it."""
        self._exchange = exchange
        self._on_response = on_response
        self._spoke_until: float | None = None
        """The time at which the caller whose answer is to come was last heard (Unix seconds)."""
        self.outgoing = Outgoing(round(MAX_UNREAD_SECONDS / FRAME_SECONDS))
        self._silent = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.outgoing.close()

    @property
    def audio_input(self) -> io.AudioInput:
        """The caller's audio."""
        return self.microphone

    @property
    def audio_output(self) -> Playout:
        """The playout of the agent's audio."""
        return self.playout

    def voiced_until(self) -> float | None:
        """The Unix time at which the caller was last heard."""
        self._spoke_until = self.microphone.voiced_until()
        return self._spoke_until

    def heard_late(self) -> float:
        """None: the clock of a call over a WebSocket is that of its audio's arrival."""
        return 0.0

    def on_audible(self, function: Callable[[float], None]) -> None:
        """Call ``function`` with the Unix time of each speech's first audible sample."""

        def audible(at: float) -> None:
            spoke, self._spoke_until = self._spoke_until, None
            if spoke is not None:
                self._on_response(at - spoke)
            function(at)

        self.playout.on_audible = audible

    def send(self, event: session.SessionEvent) -> None:
        """Tell the caller of an event."""
        match event:
            case session.StateChanged(agent=agent, user=user):
                self.say(State(agent=agent, user=user))
            case session.Words(speaker=speaker, text=text, final=final):
                self.say(Words(speaker=speaker, text=_text(text), final=final))
            case session.ToolCalled(name=name, arguments=arguments, ok=ok):
                self.say(Tool(name=_text(name), arguments=_text(arguments), ok=ok))

    def say(self, message: GatewayMessage) -> None:
        """Queue a message for the caller, while the call lasts. Never blocks, never raises."""
        if self._silent or not self._exchange.gateway_may(message):
            return
        if not self.outgoing.put(self._exchange.to_caller(message)):
            self._silent = True
            if not self.outgoing.closed and self.on_overflow is not None:
                self.on_overflow()

    def hang_up(self, outcome: session.Outcome) -> None:
        """Say that the call is over: nothing more is heard or played, the queue is written out."""
        self.microphone.close()
        self.playout.clear_buffer()
        self.say(Ended(outcome=outcome))
        self.outgoing.close()


def _text(words: str) -> str:
    """Words as they can be encoded: a model's tokens may end in the middle of a character."""
    return words.encode(errors="replace").decode()
