"""Voice activity: the 32 ms windows of a caller's audio that hold a voice.

The model (Silero, in ``livekit.local_inference``) is one native singleton; each caller has only
its recurrent state. A window takes it 21 µs, less than handing it to a thread does, so it runs
where the audio is: on the event loop, as a frame arrives.

LiveKit's own detector on the same model (``inference.VAD``) takes three times that: an executor's
future, a task to wait for it and one for metrics, three copies of a window; and a session that
recognises by utterance has two of its streams, which hear the same. Here a frame is heard once,
whoever streams it, and nothing is said while nothing changes. What is said is what LiveKit's says,
at the same samples (:mod:`.speech_events`); but of a voice that goes on, each second window is
passed over, since each that is told costs a session as much as finding out does.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from livekit.agents import utils, vad

from .speech_events import MIN_SILENCE_SECONDS, WINDOW_SECONDS, SpeechEvents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from livekit import rtc

_RECENT_FRAMES: Final = 64
"""Number of frames that one stream may be behind another and still hear through it: 1.3 s of
20 ms each."""
_WAITING_EVENTS: Final = 256
"""Number of events that wait for a session, 8 s of them. Beyond, what is said of each window is
left out; beginnings and ends of speech never are."""


def detector(pause: float = MIN_SILENCE_SECONDS) -> Detector:
    """The detector an ``AgentSession`` listens with; a new one for each session.

    ``pause`` is the length in seconds of a silence that ends speech.
    """
    return Detector(pause)


class Detector(vad.VAD):
    """LiveKit's interface to one caller's voice activity. It reports no metrics."""

    def __init__(self, pause: float) -> None:
        super().__init__(capabilities=vad.VADCapabilities(update_interval=WINDOW_SECONDS))
        self._pause = pause
        self._hearing: _Hearing | None = None

    @property
    def model(self) -> str:
        """The model's name."""
        return "silero"

    @property
    def provider(self) -> str:
        """The library that it comes with."""
        return "livekit-local-inference"

    @property
    def min_silence_duration(self) -> float:
        """Length in seconds of a pause that ends speech: LiveKit's turn detectors ask for it."""
        return self._pause

    def stream(self) -> Stream:
        """A stream of its own for each who listens: frames in, events out."""
        return Stream(self)

    def events(self) -> SpeechEvents:
        """A pass over a caller's audio that begins now."""
        return SpeechEvents(self._pause)

    def hearing(self, first: rtc.AudioFrame) -> _Hearing:
        """Whatever hears the audio that begins with this frame."""
        if self._hearing is None or not self._hearing.began_with(first):
            self._hearing = _Hearing(self.events())
        return self._hearing


class _Hearing:
    """One pass over a caller's audio, which several streams may follow.

    LiveKit hands the same frames, as objects, to whoever listens, one a little before the other.
    """

    def __init__(self, events: SpeechEvents) -> None:
        self._events = events
        self._count = 0
        self._recent: deque[tuple[rtc.AudioFrame, list[vad.VADEvent]]] = deque(
            maxlen=_RECENT_FRAMES
        )

    def began_with(self, frame: rtc.AudioFrame) -> bool:
        """True if this is the first frame that was heard, and it isn't long ago."""
        is_young = 0 < self._count == len(self._recent)
        return is_young and self._recent[0][0] is frame

    def hear(self, number: int, frame: rtc.AudioFrame) -> list[vad.VADEvent] | None:
        """What a frame comes to, the ``number``-th of somebody's; None if theirs is another."""
        behind = self._count - number
        if behind == 0:
            found = self._events.hear(frame)
            self._recent.append((frame, found))
            self._count += 1
            return found
        if behind > len(self._recent) or self._recent[-behind][0] is not frame:
            return None
        return self._recent[-behind][1]

    def leave(self, number: int) -> tuple[_Hearing, list[vad.VADEvent]]:
        """A pass for one who goes on with other frames, and what this one has found since."""
        behind = min(self._count - number, len(self._recent))
        missed = list(self._recent)[len(self._recent) - behind :]
        return _Hearing(self._events.fork()), [event for _, found in missed for event in found]


class Stream(vad.VADStream):
    """One listener's events. All of the base's interface, and nothing that the base is made of."""

    def __init__(self, detector: Detector) -> None:  # the base's would start two tasks
        self._detector = detector
        self._hearing: _Hearing | None = None
        self._number = 0
        self._is_over = False
        self._events: utils.aio.Chan[vad.VADEvent] = utils.aio.Chan()
        self._passes_over = False
        """Whether the latest window of a voice that goes on was passed over."""

    def push_frame(self, frame: rtc.AudioFrame) -> None:
        """Hear a frame: mono PCM16 of any rate, which stays the same, and any length.

        Raises:
            RuntimeError: the stream is closed, or its input has ended.
        """
        self._check_open()
        if self._hearing is None:
            self._hearing = self._detector.hearing(frame)
        found = self._hearing.hear(self._number, frame)
        if found is None:
            self._hearing, missed = self._hearing.leave(self._number)
            self._number = 0
            found = [*missed, *(self._hearing.hear(0, frame) or ())]
        self._number += 1
        for event in found:
            if self._is_told(event):
                self._events.send_nowait(event)

    def flush(self) -> None:
        """Forget what was heard: the next frame begins anew."""
        self._check_open()
        self._hearing, self._number = _Hearing(self._detector.events()), 0

    def end_input(self) -> None:
        """Take no more frames; what was found is still to be read."""
        self._check_open()
        self._end()

    async def aclose(self) -> None:
        """Close the stream. Idempotent."""
        self._end()

    def __aiter__(self) -> AsyncIterator[vad.VADEvent]:
        """Itself."""
        return self

    async def __anext__(self) -> vad.VADEvent:
        """The next event."""
        return await self._events.__anext__()

    async def _main_task(self) -> None:
        raise NotImplementedError("nothing runs beside it")

    def _is_told(self, event: vad.VADEvent) -> bool:
        if event.type is not vad.VADEventType.INFERENCE_DONE:
            return True
        if event.speaking and not event.raw_accumulated_silence:
            self._passes_over = not self._passes_over
            if self._passes_over:
                return False
        return self._events.qsize() < _WAITING_EVENTS

    def _end(self) -> None:
        self._is_over = True
        self._hearing = None
        self._events.close()

    def _check_open(self) -> None:
        if self._is_over:
            raise RuntimeError("the stream of voice activity is closed")
