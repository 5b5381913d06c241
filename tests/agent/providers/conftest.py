"""The real models, loaded once, and speech made with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
from livekit import rtc

from agent.providers import Choice, Models, load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from numpy.typing import NDArray

    Samples: TypeAlias = NDArray[np.int16]
    Speak: TypeAlias = Callable[[str], Awaitable[Samples]]

RATE = 16_000


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """LiveKit needs asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def models() -> Iterator[Models]:
    """The local models with two inference threads, as by default."""
    with load(Choice()) as models:
        yield models


@pytest.fixture
def speak(models: Models) -> Speak:
    """Speech as a caller sends it: mono PCM16 at 16 kHz."""

    async def speak(text: str) -> Samples:
        async with models.plugins().tts.synthesize(text) as speech:
            frame = await speech.collect()
        resampler = rtc.AudioResampler(frame.sample_rate, RATE)
        frames = [*resampler.push(frame), *resampler.flush()]
        return np.concatenate([np.frombuffer(f.data, np.int16) for f in frames])

    return speak


def silence(seconds: float) -> Samples:
    """Nothing, at 16 kHz."""
    return np.zeros(round(seconds * RATE), np.int16)


def frames(*samples: Samples, rate: int = RATE) -> list[rtc.AudioFrame]:
    """Audio in frames of 20 ms, the last one shorter."""
    audio = np.concatenate(samples)
    step = rate // 50
    return [
        rtc.AudioFrame(part.tobytes(), rate, 1, len(part))
        for part in (audio[at : at + step] for at in range(0, len(audio), step))
    ]
