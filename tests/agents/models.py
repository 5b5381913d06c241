"""The models of these agents: doubles that hear real audio, and need neither a network nor a key.

Speech is a tone, in both directions. Each of :data:`SAYINGS` has a pitch of its own: :func:`speech`
makes it, and whoever hears knows the words by it. In an agent of your own your providers' plugins
stand here.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectOptions,
    NotGivenOr,
    stt,
    vad,
)

from tests.telemetry.integrations.livekit.providers import (
    FAST,
    RATE,
    Mind,
    Reply,
    Streaming,
    Tone,
)
from tests.telemetry.integrations.livekit.realtime import Oracle, Trance

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RATE", "Activity", "Ear", "Mind", "Oracle", "Reply", "Seer", "Tone", "speech"]

SAYINGS: Final = (
    "What is there?",
    "I want to pay",
    "By card",
    "In cash",
    "Goodbye",
    "A pizza please",
    "Anything to drink?",
    "What will be?",
    "And then?",
    "Your manager please",
    "Yes",
    "Hello again",
)
"""Everything that people say to these agents."""
_LOWEST_HZ: Final = 400
_STEP_HZ: Final = 100
_LOUD: Final = 500
"""Amplitude from which somebody speaks."""
_PAUSE_SECONDS: Final = 0.2
"""Silence after which they have spoken."""
_RESPONSE_SECONDS: Final = 0.1
"""Time that a realtime model takes to send a response; then it says what it cost."""


def speech(words: str, *, seconds: float = 0.6) -> bytes:
    """Somebody saying one of :data:`SAYINGS`: PCM16, mono, at :data:`RATE`."""
    pitch = _LOWEST_HZ + _STEP_HZ * SAYINGS.index(words)
    times = np.arange(int(seconds * RATE)) / RATE
    return (8_000 * np.sin(2 * math.pi * pitch * times)).astype(np.int16).tobytes()


class Heard(NamedTuple):
    """The line, as of a frame: for how long somebody has spoken, and been silent since."""

    spoken: float
    silent: float
    words: str | None = None
    """All they said, once they have."""


class Tones:
    """Tells speech from silence, and words by their pitch."""

    def __init__(self) -> None:
        self._voice: list[np.ndarray] = []
        self._spoken = self._silent = 0.0

    def hear(self, frame: rtc.AudioFrame) -> Heard:
        """The line after one more frame."""
        samples = np.frombuffer(frame.data, dtype=np.int16)
        if np.abs(samples).max(initial=0) >= _LOUD:
            self._voice.append(samples)
            self._spoken, self._silent = self._spoken + self._silent + frame.duration, 0.0
        elif self._voice:
            self._silent += frame.duration
            if self._silent >= _PAUSE_SECONDS:
                return self.finish(frame.sample_rate)
        return Heard(self._spoken, self._silent)

    def finish(self, rate: int) -> Heard:
        """They have spoken, at whatever length."""
        words = _words(np.concatenate(self._voice), rate) if self._voice else None
        heard = Heard(self._spoken, self._silent, words)
        self._voice, self._spoken, self._silent = [], 0.0, 0.0
        return heard


def _words(samples: np.ndarray, rate: int) -> str:
    middle = samples[len(samples) // 4 : -len(samples) // 4 or None]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    pitch = int(np.argmax(spectrum)) * rate / len(middle)
    number = round((pitch - _LOWEST_HZ) / _STEP_HZ)
    return SAYINGS[min(max(number, 0), len(SAYINGS) - 1)]


class Activity(vad.VAD):
    """Voice activity detection."""

    def __init__(self) -> None:
        super().__init__(capabilities=vad.VADCapabilities(update_interval=0.05))

    def stream(self) -> vad.VADStream:
        return _Detecting(self)


class _Detecting(vad.VADStream):
    async def _main_task(self) -> None:
        tones, speaking = Tones(), False
        async for frame in self._input_ch:
            if not isinstance(frame, rtc.AudioFrame):
                continue
            heard = tones.hear(frame)
            if heard.spoken and not speaking:
                speaking = True
                self._tell(vad.VADEventType.START_OF_SPEECH, heard)
            self._tell(vad.VADEventType.INFERENCE_DONE, heard)
            if heard.words is not None:
                speaking = False
                self._tell(vad.VADEventType.END_OF_SPEECH, heard)

    def _tell(self, kind: vad.VADEventType, heard: Heard) -> None:
        self._event_ch.send_nowait(
            vad.VADEvent(
                type=kind,
                samples_index=0,
                timestamp=0.0,
                speech_duration=heard.spoken,
                silence_duration=heard.silent,
                raw_accumulated_speech=heard.spoken if not heard.silent else 0.0,
                raw_accumulated_silence=heard.silent,
                speaking=bool(heard.spoken) and heard.words is None,
            )
        )


class Ear(Streaming):
    """Speech to text."""

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        return _Recognizing(stt=self, conn_options=FAST)


class _Recognizing(stt.RecognizeStream):
    async def _run(self) -> None:
        tones, rate = Tones(), RATE
        async for frame in self._input_ch:
            if isinstance(frame, rtc.AudioFrame):
                rate, heard = frame.sample_rate, tones.hear(frame)
            else:  # that was all, says LiveKit
                heard = tones.finish(rate)
            if heard.words is None:
                continue
            data = stt.SpeechData(language="en", text=heard.words, confidence=1.0)  # type: ignore[arg-type]  # a plain str will do
            for event in (
                stt.SpeechEvent(type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data]),
                stt.SpeechEvent(
                    type=stt.SpeechEventType.RECOGNITION_USAGE,
                    recognition_usage=stt.RecognitionUsage(audio_duration=heard.spoken),
                ),
            ):
                self._event_ch.send_nowait(event)


class Seer(Oracle):
    """A realtime model: hears and speaks by itself."""

    def __init__(self, answers: Mapping[str, Reply | str]) -> None:
        super().__init__()
        self.hears = _Seeing(self, answers)


class _Seeing(Trance):
    def __init__(self, model: Oracle, answers: Mapping[str, Reply | str]) -> None:
        super().__init__(model)
        self._answers = answers
        self._tones, self._speaking = Tones(), False

    def push_audio(self, frame: rtc.AudioFrame) -> None:
        """Listen, and answer what was said."""
        heard = self._tones.hear(frame)
        if heard.spoken and not self._speaking:
            self._speaking = True
            self.starts_speaking()
        if heard.words is not None:
            self._speaking = False
            self.stops_speaking(heard.words)
            found = self._answers.get(heard.words, f"You said {heard.words}")
            reply = Reply(found) if isinstance(found, str) else found
            self.answers(reply.text, tool=next(iter(reply.tools), None))
            asyncio.get_running_loop().call_later(_RESPONSE_SECONDS, self.charges)
