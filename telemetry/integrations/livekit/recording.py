"""LiveKit's recorder, with what it lacks: when the caller spoke, and a file that grows meanwhile.

The agent's voice is placed by what the audio output reports of its playing. For the caller's,
LiveKit takes the time at which a frame is read, which may be late by as much as the event loop is:
:class:`Input` gives it half a second at a time instead, and when that was spoken
(:mod:`.arrivals`). It has no public way for either; ``test_recorder.py`` fails when that changes.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import av
from livekit import rtc
from livekit.agents.voice import io
from livekit.agents.voice.recorder_io import RecorderIO, recorder_io
from livekit.agents.voice.recorder_io.recorder_io import _Captured, _EndRun, _Flush

from .arrivals import Arrivals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from livekit.agents import AgentSession

BATCH_SECONDS: Final = 0.5
"""Of the caller's audio that is placed together; LiveKit takes it for stalled after a second."""
LONGEST_BATCH_SECONDS: Final = 0.9
"""Of one that is late, and may be caught up with."""
MOVED_SECONDS: Final = 0.01
"""Audio that turns out to be so far from where the audio before it ends is placed anew."""
CLOCK_SECONDS: Final = 5.0
"""By which the machine's clock may be set while a recording runs, which has one time line."""
_FAILED: Final = "recorder encode thread failed"
"""LiveKit's words for a recording that can't go on."""
_ENDS: Final = "a recording ends here, and the call goes on: %s"

logger = logging.getLogger(__name__)


def prepare() -> None:
    """Have what LiveKit's recorder writes flushed, and what it complains of said in one line."""
    recorder_io.av = _Flushed()  # type: ignore[attr-defined,assignment]  # all of PyAV
    logging.getLogger("livekit.agents").addFilter(_in_one_line)


class _Flushed:
    """PyAV, but a file has what was encoded at once, and not after 32 kB, which may be 20 seconds:
    so much less is lost with a process that is killed, and a call can be heard while it runs."""

    def __getattr__(self, name: str) -> Any:
        return getattr(av, name)

    @staticmethod
    def open(file: Any, **given: Any) -> Any:
        """Open a container."""
        return av.open(file, **given, options={"flush_packets": "1"})


class Recording(RecorderIO):
    """LiveKit's recorder, told when the caller spoke. Where it can't go on, the call does."""

    def __init__(self, session: AgentSession[Any], heard_late: Callable[[], float]) -> None:
        super().__init__(agent_session=session)
        self._heard_late = heard_late
        self._input: Input | None = None
        self._placed_until = 0.0
        """The Unix time of the end of the caller's audio so far."""
        self._is_over = False
        self._clock_began = 0.0
        """The Unix time at which the monotonic clock was at 0."""

    @property
    def recording(self) -> bool:
        """True from the start on, until the file's end has been queued."""
        return super().recording and not self._is_over

    def record_input(self, audio_input: io.AudioInput) -> io.AudioInput:  # type: ignore[override]
        """The session's audio input instead of this one."""
        super().record_input(audio_input)  # without it there is no start
        self._input = Input(audio_input, self)
        return self._input

    async def start(self, *, output_path: str | Path) -> None:
        """Record to a file from now on."""
        self._clock_began = time.time() - time.monotonic()
        await super().start(output_path=output_path)

    def finish(self) -> None:
        """Queue what there is still of the caller, and the file's end.

        The encoder's thread then completes the file, whatever becomes of the loop.
        """
        if self._input is not None:
            self._input.finish()
        if self.recording and self._clock_is_right():
            self._queue_end(time.time())

    def give_up(self, why: str) -> None:
        """End the recording here, and say so."""
        if self.recording:
            logger.warning(_ENDS, why)
            self._queue_end(self._time_by_monotonic())

    async def aclose(self) -> None:
        """Take what there is still of the caller, and wait until the file is complete."""
        try:
            self.finish()
        finally:
            await super().aclose()

    @contextmanager
    def survived(self) -> Iterator[None]:
        """A block that may raise: the recording is given up then, and the call hears on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the caller's audio goes through here
            self.give_up(f"{type(error).__name__}: {error}")

    def _put(self, item: Any) -> None:
        """Queue something for the encoder. LiveKit's own marks and the agent's voice come here,
        too."""
        if not self._is_over and self._clock_is_right():
            super()._put(item)

    def _queue_end(self, until: float) -> None:
        self._is_over = True
        for item in (_EndRun(channel=0), _EndRun(channel=1), _Flush(until=until), None):
            super()._put(item)

    def _clock_is_right(self) -> bool:
        """True unless the clock was set; the recording is then given up.

        Forward, LiveKit would write silence for the gap, from one piece of memory; back, it would
        write nothing until the clock is there again.
        """
        if abs(time.time() - self._time_by_monotonic()) <= CLOCK_SECONDS:
            return True
        self.give_up("the machine's clock was set")
        return False

    def _time_by_monotonic(self) -> float:
        """Unix time by the clock of the recording's beginning."""
        return self._clock_began + time.monotonic()

    def place(self, frame: rtc.AudioFrame, until: float) -> None:
        """Put audio of the caller, which was spoken until then, in its place."""
        until -= self._heard_late()
        begins = until - frame.duration
        earliest = max(self._placed_until, self.recording_started_at or 0.0)
        if abs(begins - earliest) > MOVED_SECONDS:
            self._put(_EndRun(channel=0))
            rest = _without(frame, earliest - begins)
            if rest is None:
                return
            frame, begins = rest, until - rest.duration
        self._put(_Captured(channel=0, started_at=begins, frame=frame))
        self._placed_until = self._input_settled = max(until, self._input_settled)


class Input(io.AudioInput):
    """Passes the caller's audio on to the session, and half a second of it at a time to the
    recorder."""

    def __init__(self, source: io.AudioInput, recording: Recording) -> None:
        super().__init__(label="Recorded", source=source)
        self._recording = recording
        self._arrivals = Arrivals()
        self._frames: list[rtc.AudioFrame] = []
        self._seconds = 0.0

    async def __anext__(self) -> rtc.AudioFrame:
        """The next frame."""
        assert self.source is not None
        try:
            frame = await self.source.__anext__()
        except StopAsyncIteration:
            self.finish()
            raise
        if self._recording.recording:
            with self._recording.survived():
                self._take(frame)
        return frame

    def finish(self) -> None:
        """Have the recorder place all that has come."""
        with self._recording.survived():
            self._place(is_last=True)

    def _take(self, frame: rtc.AudioFrame) -> None:
        if self._frames and self._frames[0].sample_rate != frame.sample_rate:
            self._place(is_last=True)
        self._frames.append(frame)
        self._seconds += frame.duration
        self._arrivals.add(time.time(), frame.duration)
        if self._seconds >= BATCH_SECONDS:
            self._place(is_last=self._seconds >= LONGEST_BATCH_SECONDS)

    def _place(self, *, is_last: bool) -> None:
        """Have the recorder place what has come, unless it is better to wait for more of it."""
        if not self._frames:
            return
        until = self._arrivals.spoken_until(is_last=is_last)
        if until is None:
            return
        first = self._frames[0]
        pcm = b"".join(bytes(frame.data) for frame in self._frames)
        size = len(pcm) // 2 // first.num_channels
        self._frames, self._seconds = [], 0.0
        joined = rtc.AudioFrame(pcm, first.sample_rate, first.num_channels, size)
        self._recording.place(joined, until)


def _without(frame: rtc.AudioFrame, seconds: float) -> rtc.AudioFrame | None:
    """What is left of a frame without so much of its beginning; None if that is all of it."""
    skipped = max(0, round(seconds * frame.sample_rate))
    if not skipped:
        return frame
    left = frame.samples_per_channel - skipped
    if left <= 0:
        return None
    pcm = bytes(frame.data)[2 * skipped * frame.num_channels :]
    return rtc.AudioFrame(pcm, frame.sample_rate, frame.num_channels, left)


def _in_one_line(record: logging.LogRecord) -> bool:
    """A filter that lets everything pass: of a recording that can't go on, one line says so."""
    if str(record.msg).startswith(_FAILED):
        error = record.exc_info[1] if record.exc_info else None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.exc_info = _ENDS, None
        record.args = (str(error),)
    return True
