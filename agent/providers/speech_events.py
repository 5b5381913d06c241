"""The beginnings and ends of speech in a caller's audio, as LiveKit's ``inference.VAD`` finds them.

No I/O, no tasks: frames go in, LiveKit's events come out. The rules are those of
``livekit.agents.inference.vad`` (livekit-agents 1.8), and so are the events, but for one thing: of
windows in which nobody speaks, and nobody has begun to, nothing is said.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from livekit import local_inference, rtc
from livekit.agents.vad import VADEvent, VADEventType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples: TypeAlias = NDArray[np.int16]

ACTIVATION_PROBABILITY: Final = 0.5
"""Probability of voice with which a window begins speech."""
DEACTIVATION_PROBABILITY: Final = 0.35
"""Probability of voice below which a window isn't voiced, within speech either."""
MIN_SPEECH_SECONDS: Final = 0.05
"""Length of voice in a row that makes speech: shorter is a click."""
MIN_SILENCE_SECONDS: Final = 0.3
"""Length of a pause that ends speech, where nobody asks for another.

Every reply waits for it; a caller who pauses longer within a sentence is heard in two pieces,
which LiveKit joins while its endpointing delay lasts.
"""
LEAD_IN_SECONDS: Final = 0.5
"""Length of what is kept from before a beginning of speech."""
MAX_SPEECH_SECONDS: Final = 60.0
"""Length of speech that is kept in one piece, without its lead-in; what comes then is left out."""

SAMPLE_RATE_HZ: Final = 16_000
"""Sample rate of the model. Audio of another is resampled."""
WINDOW_SAMPLES: Final = local_inference.VAD_WINDOW_SAMPLES
WINDOW_SECONDS: Final = WINDOW_SAMPLES / SAMPLE_RATE_HZ


class SpeechEvents:
    """One pass over one caller's audio.

    Args:
        min_silence: length in seconds of a pause that ends speech.
    """

    def __init__(self, min_silence: float = MIN_SILENCE_SECONDS) -> None:
        self._min_silence = min_silence
        self._model = local_inference.VAD()
        self._resampler: rtc.AudioResampler | None = None
        self._rest: Samples = np.empty(0, np.int16)
        """Of the next window, as far as it has come."""
        self._given: Samples = np.empty(0, np.int16)
        """As it came, as far as no window has been made of it; only where it is resampled."""
        self._owed = 0.0
        """The part of a sample that the last window was short of, at the rate it came in."""
        self._heard: _Kept | None = None
        self._index = 0
        self._is_speaking = False
        self._speech = self._silence = 0.0
        """Seconds of speech, if there is speech, and of silence before it."""
        self._voiced = self._unvoiced = 0.0
        """Seconds of voiced, or unvoiced, windows in a row."""

    def fork(self) -> SpeechEvents:
        """Another one, which goes on from here with other audio. Only the model begins anew."""
        other = SpeechEvents(self._min_silence)
        other._heard = None if self._heard is None else self._heard.copy()
        other._index, other._is_speaking = self._index, self._is_speaking
        other._speech, other._silence = self._speech, self._silence
        other._voiced, other._unvoiced = self._voiced, self._unvoiced
        return other

    def hear(self, frame: rtc.AudioFrame) -> list[VADEvent]:
        """What is found in the next frame, mono PCM16. One of another sample rate than the first
        has nothing in it."""
        if self._heard is None:
            self._heard = _Kept(frame.sample_rate)
        if frame.sample_rate != self._heard.rate:
            return []
        samples = np.frombuffer(frame.data, np.int16)
        if self._heard.rate != SAMPLE_RATE_HZ:
            self._given = np.concatenate((self._given, samples))
            samples = self._resampled(frame)
        found: list[VADEvent] = []
        if len(self._rest):
            samples = np.concatenate((self._rest, samples))
        whole = len(samples) - len(samples) % WINDOW_SAMPLES
        for at in range(0, whole, WINDOW_SAMPLES):
            self._judge(samples[at : at + WINDOW_SAMPLES], found)
        self._rest = samples[whole:]
        return found

    def _resampled(self, frame: rtc.AudioFrame) -> Samples:
        if self._resampler is None:
            self._resampler = rtc.AudioResampler(
                frame.sample_rate, SAMPLE_RATE_HZ, quality=rtc.AudioResamplerQuality.QUICK
            )
        parts = [np.frombuffer(part.data, np.int16) for part in self._resampler.push(frame)]
        return np.concatenate(parts) if parts else np.empty(0, np.int16)

    def _as_it_came(self, window: Samples) -> Samples:
        """A window's audio at the rate that it came in."""
        assert self._heard is not None
        if self._heard.rate == SAMPLE_RATE_HZ:
            return window
        exact = WINDOW_SAMPLES * self._heard.rate / SAMPLE_RATE_HZ + self._owed
        count = int(exact)
        self._owed = exact - count
        part, self._given = self._given[:count], self._given[count:]
        return part

    def _judge(self, window: Samples, found: list[VADEvent]) -> None:
        """Add what a window comes to."""
        began = time.perf_counter()
        probability = self._model.predict(window)
        took = time.perf_counter() - began
        part = self._as_it_came(window)
        heard = self._heard
        assert heard is not None
        heard.add(part)
        self._index += WINDOW_SAMPLES
        if self._is_speaking:
            self._speech += WINDOW_SECONDS
        else:
            self._silence += WINDOW_SECONDS
        is_voiced = probability >= ACTIVATION_PROBABILITY or (
            self._is_speaking and probability > DEACTIVATION_PROBABILITY
        )
        if self._is_speaking or self._voiced:
            event = self._event(VADEventType.INFERENCE_DONE, heard.frame_of(part), self._speech)
            event.probability, event.inference_duration = probability, took
            event.raw_accumulated_silence = self._unvoiced
            event.raw_accumulated_speech = self._voiced
            found.append(event)
        if is_voiced:
            self._voiced += WINDOW_SECONDS
            self._unvoiced = 0.0
            if not self._is_speaking and self._voiced >= MIN_SPEECH_SECONDS:
                self._is_speaking = True
                self._silence, self._speech = 0.0, self._voiced
                kept = heard.frame()
                found.append(self._event(VADEventType.START_OF_SPEECH, kept, self._speech))
            return
        self._unvoiced += WINDOW_SECONDS
        self._voiced = 0.0
        if self._is_speaking and self._unvoiced >= self._min_silence:
            self._is_speaking = False
            self._silence = self._unvoiced
            spoken = max(0.0, self._speech - self._unvoiced)
            found.append(self._event(VADEventType.END_OF_SPEECH, heard.frame(), spoken))
            self._speech = 0.0
        if not self._is_speaking:
            heard.shorten()

    def _event(self, type: VADEventType, frame: rtc.AudioFrame, speech: float) -> VADEvent:
        return VADEvent(
            type=type,
            samples_index=self._index,
            timestamp=self._index / SAMPLE_RATE_HZ,
            speech_duration=speech,
            silence_duration=self._silence,
            frames=[frame],
            speaking=self._is_speaking,
        )


class _Kept:
    """The audio of speech and of what leads to it, at the rate that it came in."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._lead_in = int(LEAD_IN_SECONDS * rate)
        self._room = int(MAX_SPEECH_SECONDS * rate) + self._lead_in
        self._parts: deque[Samples] = deque()
        self._count = 0
        """Samples in the parts."""
        self._skipped = 0
        """Those of the first part that are no longer wanted."""

    def copy(self) -> _Kept:
        """Another one with the same audio."""
        other = _Kept(self.rate)
        other._parts, other._count, other._skipped = self._parts.copy(), self._count, self._skipped
        return other

    def add(self, part: Samples) -> None:
        """Keep what there is room for."""
        room = self._room + self._skipped - self._count
        if room <= 0:
            return
        if len(part) > room:
            part = part[:room].copy()  # a view would keep all of it
        self._parts.append(part)
        self._count += len(part)

    def shorten(self) -> None:
        """Keep the lead-in of what may begin next."""
        self._skipped = max(self._skipped, self._count - self._lead_in)
        while self._parts and self._skipped >= len(self._parts[0]):
            gone = len(self._parts.popleft())
            self._skipped -= gone
            self._count -= gone

    def frame(self) -> rtc.AudioFrame:
        """All that is kept."""
        return self.frame_of(np.concatenate(self._parts)[self._skipped :])

    def frame_of(self, part: Samples) -> rtc.AudioFrame:
        """A part as a frame."""
        return rtc.AudioFrame(part.tobytes(), self.rate, 1, len(part))
