"""The agent's speech on its way to the caller: taken as fast as it is made, sent in real time.

A *segment* is one speech: from the first frame captured to ``flush``. Its audio waits here, is cut
into 20 ms frames, which are sent when a monotonic clock says they are due. So this is where the
times of the agent's speech are known: when a segment starts, where its first audible sample is, and
how much of it had played when it ended or was cut.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio
import numpy as np
from livekit import rtc
from livekit.agents.voice import io

from agent.audio import audible

from .bell import Bell
from .protocol import FRAME_SECONDS, AudioEnded, AudioStarted, Flush, GatewayMessage, frame_size

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CATCH_UP_SECONDS: Final = 0.1
"""Length of the audio sent at once, at most, to catch up after the event loop stalled."""
_BYTES_PER_SAMPLE: Final = 2


@dataclass(slots=True, eq=False)
class _Segment:
    """One speech, being sent from the front while it may still grow at the back."""

    audio: bytearray = field(default_factory=bytearray)
    """Audio still to be sent: mono PCM16 at the playout's rate."""
    resampler: rtc.AudioResampler | None = None
    sent: int = 0
    """Samples sent."""
    audible: bool = False
    """True once a sent sample could be heard."""
    run_at: float = 0.0
    """The Unix time at which the current run began to be sent: frames without a pause between."""
    run_from: int = 0
    """Samples sent before it."""
    run_until: float = 0.0
    """Its end so far, on the loop's clock."""


class Playout(io.AudioOutput):
    """An :class:`~livekit.agents.voice.io.AudioOutput` that sends frames through ``send``.

    ``send`` takes ``audio_started``, frames, ``flush`` and ``audio_ended`` in order, and must not
    block. ``sample_rate`` is the call's, in Hz; other rates are resampled and channels mixed down.
    ``max_buffered`` is how many seconds may wait before ``capture_frame`` holds its caller.
    :meth:`run` must be running for anything to be sent. ``together`` is the number of frames sent
    when the first of them is due, as far as they are there: who plays them one after another hears
    no difference, and it is less work. Within a speech they are sent ``ahead`` of that by so many
    seconds, which a network may be late by. ``now`` gives Unix seconds. ``heard_after`` is how many
    seconds after a frame was due it is heard.
    """

    def __init__(
        self,
        send: Callable[[GatewayMessage], None],
        *,
        sample_rate: int,
        max_buffered: float = 10.0,
        together: int = 1,
        ahead: float = 0.0,
        heard_after: float = 0.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(
            label="Gateway",
            capabilities=io.AudioOutputCapabilities(pause=True),
            sample_rate=sample_rate,
        )
        self.on_audible: Callable[[float], None] | None = None
        """Callback for each segment, with the Unix time of its first audible sample."""
        self._send = send
        self._now = now
        self._rate = sample_rate
        self._frame_size = frame_size(sample_rate)
        self._max_buffered = max_buffered
        self._together = together
        self._ahead = ahead
        self._heard_after = heard_after
        self._segments: deque[_Segment] = deque()
        """Segments that have not finished; the first is the one being played."""
        self._capturing: _Segment | None = None
        """The segment not yet flushed; when cut short, it is no longer among the above."""
        self._paused = False
        self._clock = asyncio.get_running_loop().time
        self._cut = Bell()
        """Rung when nothing is due any more."""
        self._next_at = 0.0
        """Due time of the next frame, on the loop's clock: the end of the last one sent."""
        self._changed = anyio.Event()
        self._room: anyio.Event | None = None
        """The event of room again; None while nobody waits for it."""

    @property
    def buffered(self) -> float:
        """Seconds of audio waiting to be sent."""
        return self._seconds(sum(len(s.audio) for s in self._segments) // _BYTES_PER_SAMPLE)

    async def run(self) -> None:
        """Send the captured audio, until cancelled."""
        clock = self._clock
        while True:
            while not self._due():
                await self._changed.wait()
                self._next_at = max(self._next_at, clock())  # idle time is not owed
            await self._cut.wait(until=self._sends_at())
            if self._due():  # still: it may have been cleared or paused meanwhile
                self._next_at = max(self._next_at, clock() - MAX_CATCH_UP_SECONDS)
                self._step()
                for _ in range(1, self._together):
                    if self._goes_on():
                        self._step()

    # -- what AgentSession calls -----------------------------------------------------------------

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Take audio of the current segment; waits while more than ``max_buffered`` is ahead."""
        await super().capture_frame(frame)
        if (segment := self._capturing) is None:
            segment = self._capturing = _Segment()
            self._segments.append(segment)
        if segment not in self._segments:
            return  # cut short: nobody wants the rest of it
        segment.audio += self._converted(frame, segment)
        self._notify()
        while segment in self._segments and self.buffered > self._max_buffered:
            self._room = self._room or anyio.Event()
            await self._room.wait()

    def flush(self) -> None:
        """The current segment has all its audio."""
        super().flush()
        if (segment := self._capturing) is None:
            return
        self._capturing = None
        if segment.resampler is not None:
            segment.audio += b"".join(bytes(rest.data) for rest in segment.resampler.flush())
        self._notify()

    def clear_buffer(self) -> None:
        """Stop at once: every segment ends here, interrupted."""
        if self._segments and self._segments[0].sent:
            self._send(Flush())
        while self._segments:
            self._finish(self._segments.popleft(), interrupted=True)
        self._next_at = min(self._next_at, self._clock())  # the caller has thrown the rest away
        self._cut.ring()
        self._make_room()

    def pause(self) -> None:
        """Hold the frames not yet sent."""
        super().pause()
        self._paused = True

    def resume(self) -> None:
        """Go on where :meth:`pause` stopped."""
        super().resume()
        self._paused = False
        self._notify()

    # -- one frame -------------------------------------------------------------------------------

    def _due(self) -> bool:
        """True when there is a frame to send, or a segment to end, once its time has come."""
        if not self._segments:
            return False
        segment = self._segments[0]
        complete = segment is not self._capturing
        if not segment.audio:
            return complete
        return not self._paused and (complete or len(segment.audio) >= self._frame_size)

    def _sends_at(self) -> float:
        """The time, on the loop's clock, of what is due next: a speech's first frame and its end
        are sent when they are due."""
        segment = self._segments[0]
        return self._next_at - (self._ahead if segment.sent and segment.audio else 0.0)

    def _goes_on(self) -> bool:
        """True when there is another frame of a speech that has begun."""
        return self._due() and self._segments[0].sent > 0 and bool(self._segments[0].audio)

    def _step(self) -> None:
        """Send the first segment's next frame or, when its last one has played, end it."""
        segment = self._segments[0]
        if not segment.audio:
            self._segments.popleft()
            self._finish(segment, interrupted=False)
            return
        frame = bytes(segment.audio[: self._frame_size])
        del segment.audio[: self._frame_size]
        early = max(0.0, self._next_at - self._clock())
        at, first = self._now() + early, segment.sent == 0
        if first:
            self._send(AudioStarted())
            segment.run_at = at
        elif self._next_at > segment.run_until:  # it was held, or can't be caught up with
            self._played(segment, self._seconds(segment.sent))
            segment.run_at, segment.run_from = at, segment.sent
        self._send(frame.ljust(self._frame_size, b"\0"))
        segment.sent += len(frame) // _BYTES_PER_SAMPLE
        self._next_at += FRAME_SECONDS
        segment.run_until = self._next_at
        if self._room is not None and self.buffered <= self._max_buffered:
            self._make_room()
        if first:
            self.on_playback_started(created_at=at)
        if not segment.audible:
            self._listen(segment, frame, at)

    def _listen(self, segment: _Segment, frame: bytes, at: float) -> None:
        """Report the first sample of the segment that can be heard, if it is in this frame."""
        loud = audible(frame)
        if loud.size:
            segment.audible = True
            if self.on_audible is not None:
                self.on_audible(at + self._seconds(int(loud[0])))

    def _finish(self, segment: _Segment, *, interrupted: bool) -> None:
        """Report a segment that has left the queue."""
        played = self._seconds(segment.sent)
        if segment.sent:
            # the frame sent last is still playing until the next one would be due
            played = max(0.0, played - max(0.0, self._next_at - self._clock()))
            self._send(AudioEnded(interrupted=interrupted))
            self._played(segment, played)
        self.on_playback_finished(playback_position=played, interrupted=interrupted)

    def _played(self, segment: _Segment, until: float) -> None:
        """Report the current run, up to so many seconds of the segment: a recorder places it."""
        offset = self._seconds(segment.run_from)
        if until > offset:
            self.on_playback_progressed(
                started_at=segment.run_at + self._heard_after,
                offset=offset,
                duration=until - offset,
            )

    def _converted(self, frame: rtc.AudioFrame, segment: _Segment) -> bytes:
        """A frame's audio as mono PCM16 at the playout's rate."""
        pcm = bytes(frame.data)
        if frame.num_channels != 1:
            channels = np.frombuffer(pcm, dtype="<i2").reshape(-1, frame.num_channels)
            pcm = channels.mean(axis=1).astype("<i2").tobytes()
        if frame.sample_rate == self._rate:
            return pcm
        if segment.resampler is None:
            segment.resampler = rtc.AudioResampler(frame.sample_rate, self._rate, num_channels=1)
        return b"".join(bytes(part.data) for part in segment.resampler.push(bytearray(pcm)))

    def _seconds(self, samples: int) -> float:
        return samples / self._rate

    def _notify(self) -> None:
        """Wake :meth:`run`."""
        self._changed.set()
        self._changed = anyio.Event()

    def _make_room(self) -> None:
        """Wake whoever is held in :meth:`capture_frame`."""
        if self._room is not None:
            self._room.set()
            self._room = None
