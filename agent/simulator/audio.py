"""A caller's audio: recordings of speech, and the samples of a frame that can be heard.

Everything a caller sends and receives is mono PCM16 little-endian at :data:`SAMPLE_RATE_HZ`, in
frames of 20 ms.
"""

from __future__ import annotations

import wave
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent.audio import audible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAMPLE_RATE_HZ: Final = 16_000
FRAME_SECONDS: Final = 0.02
FRAME_BYTES: Final = int(SAMPLE_RATE_HZ * FRAME_SECONDS) * 2
SILENCE: Final = bytes(FRAME_BYTES)


@dataclass(frozen=True, slots=True)
class Speech:
    """A recording of something said."""

    path: Path
    pcm: bytes = field(repr=False)

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return len(self.pcm) / (2 * SAMPLE_RATE_HZ)

    def frames(self) -> Iterator[bytes]:
        """The recording in whole frames; the last one is filled up with silence."""
        for start in range(0, len(self.pcm), FRAME_BYTES):
            yield self.pcm[start : start + FRAME_BYTES].ljust(FRAME_BYTES, b"\0")


def read_speech(path: Path) -> Speech:
    """Read a WAV file of speech.

    Raises ValueError with one line of text that says what the file is, and how to convert it if it
    isn't 16 kHz mono PCM16.
    """
    convert = f"convert it with: ffmpeg -i {path.name} -ar 16000 -ac 1 -c:a pcm_s16le NEW.wav"
    try:
        with wave.open(str(path), "rb") as wav:
            rate, channels, bits = wav.getframerate(), wav.getnchannels(), 8 * wav.getsampwidth()
            pcm = wav.readframes(wav.getnframes())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(f"cannot read {path}: {reason.lower()}") from error
    except (wave.Error, EOFError) as error:
        what = str(error) or "the file is cut short"
        raise ValueError(f"{path} is not a PCM WAV file ({what}); {convert}") from error
    if (rate, channels, bits) != (SAMPLE_RATE_HZ, 1, 16):
        raise ValueError(
            f"{path} is {rate} Hz, {channels} channel{'s' * (channels > 1)}, {bits} bits; "
            f"it has to be 16000 Hz, 1 channel, 16 bits: {convert}"
        )
    if last_audible(pcm) is None:
        raise ValueError(f"{path} is silent: no sample of it reaches 1 % of full scale")
    return Speech(path, pcm)


def first_audible(pcm: bytes) -> float | None:
    """Seconds from the start to the first sample that can be heard; None when none can."""
    heard = audible(pcm)
    return float(heard[0]) / SAMPLE_RATE_HZ if heard.size else None


def last_audible(pcm: bytes) -> float | None:
    """Seconds from the start to the last sample that can be heard; None when none can."""
    heard = audible(pcm)
    return float(heard[-1]) / SAMPLE_RATE_HZ if heard.size else None
