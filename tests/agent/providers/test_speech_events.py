"""Where speech begins and ends: as LiveKit's own detector says, over all recordings."""

from __future__ import annotations

import tracemalloc
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import inference
from livekit.agents.vad import VADEvent, VADEventType

from agent.audio import DETECTION_SECONDS
from agent.providers.speech_events import (
    ACTIVATION_PROBABILITY,
    DEACTIVATION_PROBABILITY,
    LEAD_IN_SECONDS,
    MAX_SPEECH_SECONDS,
    MIN_SILENCE_SECONDS,
    MIN_SPEECH_SECONDS,
    WINDOW_SECONDS,
    SpeechEvents,
    _Kept,
)
from agent.simulator.impairment import noise
from config import scenarios

from .conftest import frames, silence

if TYPE_CHECKING:
    from .conftest import Samples

AUDIO = Path(scenarios.__file__).parent / "audio"
RECORDINGS = sorted(AUDIO.glob("*.wav"))


def recording(path: Path) -> Samples:
    """A recording's samples, 16 kHz mono, between silences as in a call."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return np.concatenate((silence(0.7), samples, silence(0.7)))


def noisy(samples: Samples) -> Samples:
    """The same in a room full of people, 12 dB below the whole."""
    level = float(np.sqrt(np.mean(samples.astype(float) ** 2))) * 10 ** (-12 / 20)
    room = level * noise(len(samples) / 16_000, np.random.default_rng(7))
    return np.clip(samples + room, -(2**15), 2**15 - 1).astype(np.int16)


def at_rate(samples: Samples, rate: int) -> list[rtc.AudioFrame]:
    """Frames of 20 ms at another sample rate."""
    if rate == 16_000:
        return frames(samples)
    resampler = rtc.AudioResampler(16_000, rate)
    parts = [part for frame in frames(samples) for part in resampler.push(frame)]
    parts += resampler.flush()
    return frames(np.concatenate([np.frombuffer(f.data, np.int16) for f in parts]), rate=rate)


async def livekits(
    audio: list[rtc.AudioFrame], pause: float = MIN_SILENCE_SECONDS
) -> list[VADEvent]:
    """What LiveKit's own detector says, but for windows in which nothing happens."""
    stream = inference.VAD(
        activation_threshold=ACTIVATION_PROBABILITY,
        deactivation_threshold=DEACTIVATION_PROBABILITY,
        min_speech_duration=MIN_SPEECH_SECONDS,
        min_silence_duration=pause,
        prefix_padding_duration=LEAD_IN_SECONDS,
        max_buffered_speech=MAX_SPEECH_SECONDS,
    ).stream()
    for frame in audio:
        stream.push_frame(frame)
    stream.end_input()
    found = [event async for event in stream]
    await stream.aclose()
    return [event for event in found if not is_silence(event)]


def is_silence(event: VADEvent) -> bool:
    """True of a window in which nobody speaks or begins to."""
    says_nothing = not event.speaking and event.raw_accumulated_speech == 0
    return event.type == VADEventType.INFERENCE_DONE and says_nothing


def told(event: VADEvent) -> tuple[object, ...]:
    """All that an event says, but for its probability and how long the model took."""
    durations = (
        event.timestamp,
        event.speech_duration,
        event.silence_duration,
        event.raw_accumulated_speech,
        event.raw_accumulated_silence,
    )
    [frame] = event.frames
    audio = (frame.sample_rate, frame.num_channels, bytes(frame.data))
    rounded = tuple(round(duration, 6) for duration in durations)
    return (event.type, event.samples_index, event.speaking, *rounded, audio)


def probabilities(events: list[VADEvent]) -> list[float]:
    """The model's answers."""
    return [event.probability for event in events]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
async def test_events_are_livekits(path: Path) -> None:
    """Clean and noisy, after pauses of either length: the same events, at the same samples, with
    the same audio."""
    clean, loud = recording(path), noisy(recording(path))
    for samples, pause in ((clean, 0.3), (loud, 0.3), (clean, 0.2)):
        audio = frames(samples)
        ours = SpeechEvents(pause)
        found = [event for frame in audio for event in ours.hear(frame)]
        theirs = await livekits(audio, pause)
        assert list(map(told, found)) == list(map(told, theirs))
        assert probabilities(found) == probabilities(theirs)


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100, 48_000])
async def test_events_are_livekits_at_other_rates(rate: int) -> None:
    """A line of another sample rate is resampled for the model; the audio is as it came.

    Resampling dithers: the same audio, twice, comes to probabilities a ten-thousandth apart.
    """
    audio = at_rate(recording(AUDIO / "booking-1.wav"), rate)
    ours = SpeechEvents()
    found = [event for frame in audio for event in ours.hear(frame)]
    assert {event.type for event in found} == set(VADEventType)
    theirs = await livekits(audio)
    assert list(map(told, found)) == list(map(told, theirs))
    assert probabilities(found) == pytest.approx(probabilities(theirs), abs=0.02)


async def test_very_long_speech_is_kept_as_far_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What does not fit is left out of the audio; the end is still found."""
    words = recording(AUDIO / "booking-1.wav")[8_000:-8_000]
    audio = frames(silence(1), *[words] * 3, silence(1))
    monkeypatch.setattr("agent.providers.speech_events.MAX_SPEECH_SECONDS", 1.0)
    monkeypatch.setitem(globals(), "MAX_SPEECH_SECONDS", 1.0)
    ours = SpeechEvents()
    found = [event for frame in audio for event in ours.hear(frame)]
    assert list(map(told, found)) == list(map(told, await livekits(audio)))
    assert max(frame.duration for e in found for frame in e.frames) == LEAD_IN_SECONDS + 1.0


def test_speech_without_end_holds_no_more_memory() -> None:
    """Once there is no room, a hundred seconds more of it cost nothing."""
    kept = _Kept(16_000)
    window = np.ones(512, np.int16)
    tracemalloc.start()
    try:
        for _ in range(3_000):
            kept.add(window.copy())
        assert kept.frame().duration == MAX_SPEECH_SECONDS + LEAD_IN_SECONDS
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3_000):
            kept.add(window.copy())
        assert tracemalloc.get_traced_memory()[0] - before < 10_000
    finally:
        tracemalloc.stop()


def test_a_frame_of_another_rate_has_nothing_in_it() -> None:
    """A line keeps its sample rate; a frame that doesn't is left out."""
    ours = SpeechEvents()
    assert ours.hear(frames(silence(0.02))[0]) == []
    other = rtc.AudioFrame(bytes(960), 24_000, 1, 480)
    assert ours.hear(other) == []


def test_lines_cut_audio_into_its_windows() -> None:
    """A line's pieces are those that the model takes."""
    assert WINDOW_SECONDS == DETECTION_SECONDS
