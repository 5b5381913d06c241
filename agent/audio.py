"""Audibility: one measure for gateway, recognition and simulator, so that they agree.

Audio is mono PCM16, little-endian.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DETECTION_SECONDS: Final = 0.032
"""Length of a window of voice detection: a voice begins or ends with one."""
AUDIBLE_SHARE: Final = 0.01
"""Share of full scale (-40 dBFS) that a sample reaches if it can be heard."""
QUIETEST_PERCENT: Final = 15.0
"""Part of a speaker's last seconds, in per cent, in which nothing is said: its quietest frames."""
VOICE_TO_NOISE_RATIO: Final = 3.5
"""Level of a voice over the quietest noise (11 dB), both as RMS of some 20 ms.

The noise of a room full of people swells, and in less than some six seconds its quietest may be so
quiet that its loudest is taken for a voice. Of 1,800 ends of speech at 20 dB, 183 are 140 ms late
or more with 8 dB, 10 with 9.5 dB, none with 11 dB, which takes 40 ms of a faint end for noise."""


QUIET_PEAK: Final = 104
"""Sample (-50 dBFS) from which there is something to be heard: a third of what is audible."""
LONG_SILENCE_SECONDS: Final = 2.0
"""Length of silence after which audio may wait: every decision about what was said before has been
made."""
TOGETHER_IN_SILENCE: Final = 4
"""Number of windows of detection that are handed on together then. What is loud enough waits for
nothing; of a voice that can't be heard, detection is told up to 96 ms later."""

_HIGH_BYTES_OF_SMALL: Final = b"\x00\xff"
"""Of samples from -256 to 255."""
_SILENT_SAMPLE: Final = bytes(2)


def audible(pcm: bytes | NDArray[np.int16], noise: float = 0.0) -> NDArray[np.intp]:
    """Indices of the samples that can be heard, in order.

    ``noise`` is the level of the room at its quietest (:func:`noise_level`): of a frame that
    doesn't stand out from that, nothing can be heard.
    """
    samples = np.frombuffer(pcm, dtype="<i2") if isinstance(pcm, bytes) else pcm
    if noise and _rms(samples) <= VOICE_TO_NOISE_RATIO * noise:
        return np.empty(0, np.intp)
    threshold = round(max(AUDIBLE_SHARE, VOICE_TO_NOISE_RATIO * noise) * 2**15)
    return np.flatnonzero((samples >= threshold) | (samples <= -threshold))


class Silence:
    """A speaker's silence, as it goes on."""

    def __init__(self, sample_rate: int) -> None:
        self._quiet = 0
        """Bytes since something could be heard."""
        self._long = 2 * round(LONG_SILENCE_SECONDS * sample_rate)

    @property
    def is_long(self) -> bool:
        """True once nothing could be heard for :data:`LONG_SILENCE_SECONDS`."""
        return self._quiet > self._long

    def hear(self, pcm: bytes) -> None:
        """Take the next audio."""
        self._quiet = self._quiet + len(pcm) if _is_quiet(pcm) else 0


def _is_quiet(pcm: bytes) -> bool:
    """True if no sample reaches :data:`QUIET_PEAK`. It is asked of every frame: most can be told by
    their bytes, which takes a tenth of the time."""
    if not pcm.strip(b"\0"):
        return True
    if pcm[1::2].translate(None, _HIGH_BYTES_OF_SMALL):
        return False
    samples = np.frombuffer(pcm, "<i2")
    return bool(samples.min() > -QUIET_PEAK and samples.max() < QUIET_PEAK)


def noise_level(frames: Sequence[bytes | NDArray[np.int16]]) -> float:
    """Level of the quietest of some frames: RMS, full scale 1; 0 without frames."""
    return _noise_of(_levels(frames))


def last_over_noise(frames: Sequence[bytes], latest: int) -> tuple[int, int] | None:
    """The last sample in the ``latest`` of some seconds' frames that can be heard over the noise
    between and after the words: its frame and its index in it; None when none can."""
    levels = _levels(frames)
    noise = _noise_of(levels)
    for number in np.flatnonzero(levels > VOICE_TO_NOISE_RATIO * noise)[::-1].tolist():
        if number < len(frames) - latest:
            return None
        if (loud := audible(frames[number], noise)).size:
            return number, int(loud[-1])
    return None


def _levels(frames: Sequence[bytes | NDArray[np.int16]]) -> NDArray[np.float64]:
    """The RMS of each; one call of numpy's for each step, not for each frame."""
    if not frames:
        return np.empty(0)
    blocks = [frame if isinstance(frame, bytes) else frame.tobytes() for frame in frames]
    sizes = np.array([max(len(block) // 2, 1) for block in blocks])
    samples = np.frombuffer(b"".join(block or _SILENT_SAMPLE for block in blocks), "<i2")
    squares = np.square(samples, dtype="f4")
    means: NDArray[np.float64] = np.add.reduceat(squares, np.cumsum(sizes) - sizes) / sizes
    return np.sqrt(means) / 2**15


def _noise_of(levels: NDArray[np.float64]) -> float:
    if not levels.size:
        return 0.0
    rank = int(levels.size * QUIETEST_PERCENT / 100)
    return float(np.partition(levels, rank)[rank])


def _rms(samples: NDArray[np.int16]) -> float:
    return math.sqrt(np.square(samples, dtype=np.float32).mean()) / 2**15
