"""Speech is cut out of a caller's audio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from agent import audio
from agent.providers.utterance import MAX_SPEECH_SECONDS, SAMPLE_RATE_HZ, SpeechBuffer
from agent.simulator.impairment import noise

from .conftest import RATE, silence

if TYPE_CHECKING:
    from .conftest import Samples, Speak


def audible(samples: Samples) -> tuple[float, float]:
    """When the first and the last audible sample are, in seconds."""
    loud = audio.audible(samples)
    return float(loud[0]) / RATE, float(loud[-1] + 1) / RATE


async def test_speech_is_dated_by_the_audio(speak: Speak) -> None:
    """It begins within two windows of the first audible sample, and ends at exactly the last."""
    audio = np.concatenate((silence(1), await speak("A table for four, please."), silence(1)))
    buffer = SpeechBuffer()
    buffer.push(audio)
    utterance = buffer.take()
    assert utterance is not None
    begins, ends = audible(audio)
    assert utterance.begins == pytest.approx(begins, abs=0.064)
    assert utterance.ends == pytest.approx(ends, abs=0.001)


async def test_in_a_noisy_room_speech_ends_where_it_sinks_into_the_noise(speak: Speak) -> None:
    """Noise that can be heard goes on after the words; the end of the words is still found."""
    words = np.concatenate((silence(1), await speak("A table for four, please."), silence(1)))
    level = np.sqrt(np.square(words[np.abs(words) > 328], dtype=np.float64).mean())
    room = level / 10 * noise(8.0, np.random.default_rng(0))[: len(words)]  # 20 dB below
    assert audio.audible(room.astype(np.int16)).size > len(room) / 100
    buffer = SpeechBuffer()
    buffer.push((words + room).astype(np.int16))
    utterance = buffer.take()
    assert utterance is not None
    assert utterance.ends == pytest.approx(audible(words)[1], abs=0.08)


async def test_any_chunking_is_the_same(speak: Speak) -> None:
    """How the audio is cut into frames changes nothing."""
    audio = np.concatenate((silence(0.7), await speak("Hello there."), silence(0.7)))
    whole, pieces = SpeechBuffer(), SpeechBuffer()
    whole.push(audio)
    for at in range(0, len(audio), 333):
        pieces.push(audio[at : at + 333])
    first, second = whole.take(), pieces.take()
    assert first is not None
    assert second is not None
    assert (first.begins, first.ends) == (second.begins, second.ends)
    assert np.array_equal(first.samples, second.samples)


async def test_pauses_are_shortened_and_speech_is_taken_once(speak: Speak) -> None:
    """A long pause within speech is kept as a third of a second; what was taken is gone."""
    words = await speak("Yes, that is right.")
    buffer = SpeechBuffer()
    buffer.push(np.concatenate((silence(5), words, silence(5), words, silence(5))))
    utterance = buffer.take()
    assert utterance is not None
    assert len(utterance.samples) < 2 * len(words) + SAMPLE_RATE_HZ
    assert utterance.begins == pytest.approx(5, abs=0.2)
    assert utterance.ends == pytest.approx(10 + 2 * len(words) / RATE, abs=0.3)
    assert buffer.take() is None


def test_clicks_and_noise_are_not_speech() -> None:
    """Hiss and a loud click leave nothing to recognise."""
    audio = np.random.default_rng(0).normal(0, 100, 5 * RATE).astype(np.int16)
    audio[2 * RATE : 2 * RATE + 160] = 20_000
    buffer = SpeechBuffer()
    buffer.push(audio)
    assert buffer.take() is None


async def test_it_says_when_it_is_full(speak: Speak) -> None:
    """Speech that never pauses doesn't grow without bound, and goes on after it is taken."""
    words = await speak("and a table for four on Friday " * 4)
    buffer = SpeechBuffer()
    for _ in range(round(2 * MAX_SPEECH_SECONDS * SAMPLE_RATE_HZ) // len(words)):
        buffer.push(words)
        if buffer.full:
            break
    else:
        pytest.fail("it was never full")
    first = buffer.take()
    buffer.push(words)
    second = buffer.take()
    assert first is not None
    assert second is not None
    assert first.begins < first.ends <= second.begins < second.ends
    assert len(second.samples) < MAX_SPEECH_SECONDS * SAMPLE_RATE_HZ <= len(first.samples)
