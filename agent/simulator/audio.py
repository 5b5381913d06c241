"""A caller's audio: recordings of speech, and the samples of a frame that can be heard.

Everything a caller sends and receives is mono PCM16 little-endian at :data:`SAMPLE_RATE_HZ`, in
frames of 20 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent.audio import audible
from agent.simulator.recording import read_pcm

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
    """Read a recording of speech, of whatever kind (:mod:`.recording`).

    Raises ValueError with one line of text that says what is wrong with the file, and what to do.
    """
    pcm = read_pcm(path, rate=SAMPLE_RATE_HZ)
    if last_audible(pcm) is None:
        raise ValueError(
            f"{path} is silent: no sample of it reaches 1 % of full scale: record it louder, or "
            "use a turn of silence"
        )
    return Speech(path, pcm)


def first_audible(pcm: bytes) -> float | None:
    """Seconds from the start to the first sample that can be heard; None when none can."""
    heard = audible(pcm)
    return float(heard[0]) / SAMPLE_RATE_HZ if heard.size else None


def last_audible(pcm: bytes) -> float | None:
    """Seconds from the start to the last sample that can be heard; None when none can."""
    heard = audible(pcm)
    return float(heard[-1]) / SAMPLE_RATE_HZ if heard.size else None
