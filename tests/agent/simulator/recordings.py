"""Recordings for tests: tones and silence, which is all a microphone can tell of speech."""

from __future__ import annotations

import math
import struct
import wave
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def tone(seconds: float, *, rate: int = 16_000, amplitude: int = 8_000) -> bytes:
    """A loud tone, PCM16; its first sample is not zero."""
    times = (n / rate for n in range(round(seconds * rate)))
    samples = (int(amplitude * math.cos(2 * math.pi * 440 * at)) for at in times)
    return b"".join(struct.pack("<h", sample) for sample in samples)


def silence(seconds: float, *, rate: int = 16_000) -> bytes:
    return bytes(2 * round(seconds * rate))


def write_wav(path: Path, pcm: bytes, *, rate: int = 16_000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(channels)
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes(pcm)
    return path
