"""Audibility: one measure for gateway, recognition and simulator, so that they agree.

Audio is mono PCM16, little-endian.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

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
LONG_SILENCE_SECONDS: Final = 0.6
"""Length of silence after which audio may wait: twice the pause that ends speech. What else is
decided then about what was said before is decided by the clock."""
TOGETHER_IN_SILENCE: Final = 8
"""Number of windows of detection that are handed on together then. What is loud enough waits for
nothing; of a voice that can't be heard, detection is told up to 0.22 s later."""

_HIGH_BYTES_OF_SMALL: Final = b"\x00\xff"
"""Of samples from -256 to 255."""


def audible(pcm: bytes | NDArray[np.int16], noise: float = 0.0) -> NDArray[np.intp]:
    """Indices of the samples that can be heard, in order.

    ``noise`` is the level of the room at its quietest (:func:`noise_level`): of a frame that
    doesn't stand out from that, nothing can be heard.
    """
    samples = _samples(pcm)
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
    if pcm == bytes(len(pcm)):
        return True
    if pcm[1::2].translate(None, _HIGH_BYTES_OF_SMALL):
        return False
    samples = np.frombuffer(pcm, "<i2")
    return bool(samples.min() > -QUIET_PEAK and samples.max() < QUIET_PEAK)


def noise_level(frames: Sequence[bytes | NDArray[np.int16]]) -> float:
    """Level of the quietest of some frames: RMS, full scale 1; 0 without frames."""
    return _noise_of(np.array([_rms(_samples(frame)) for frame in frames]))


def last_over_noise(pcm: bytes, frame_size: int, latest: int) -> int | None:
    """The last sample that can be heard over the noise between and after the words: its index, in
    the ``latest`` frames of some seconds' audio; None when none can.

    Frames of ``frame_size`` samples, some 20 ms, are counted from the end. It is asked after each
    of a caller's sentences, and takes 0.05 ms.
    """
    samples = _samples(pcm)
    frames = samples[samples.size % frame_size :].reshape(-1, frame_size)
    exact = frames.astype(np.float32)
    levels = np.sqrt(np.einsum("ij,ij->i", exact, exact) / frame_size) / 2**15
    noise = _noise_of(levels)
    over = np.flatnonzero(levels[-latest:] > VOICE_TO_NOISE_RATIO * noise)
    first = max(0, len(frames) - latest)
    for number in (over[::-1] + first).tolist():
        if (loud := audible(frames[number], noise)).size:
            begins: int = samples.size - (len(frames) - number) * frame_size
            return begins + int(loud[-1])
    return None


def _noise_of(levels: NDArray[np.floating[Any]]) -> float:
    if not levels.size:
        return 0.0
    rank = int(levels.size * QUIETEST_PERCENT / 100)
    return float(np.partition(levels, rank)[rank])


def _samples(pcm: bytes | NDArray[np.int16]) -> NDArray[np.int16]:
    return np.frombuffer(pcm, dtype="<i2") if isinstance(pcm, bytes) else pcm


def _rms(samples: NDArray[np.int16]) -> float:
    """The root mean square, full scale 1; 0 without samples."""
    if not samples.size:
        return 0.0
    return math.sqrt(np.square(samples, dtype=np.float32).mean()) / 2**15
