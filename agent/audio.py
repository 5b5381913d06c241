"""What can be heard: one measure for gateway, recognition and simulator, so that they agree.

Audio is mono PCM16, little-endian.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

AUDIBLE: Final = 0.01
"""Share of full scale (-40 dBFS) that a sample reaches if it can be heard."""
QUIET: Final = 15.0
"""Per cent of some seconds that end in somebody falling silent in which nothing is said."""
OVER_NOISE: Final = 3.5
"""How far what stands out from noise (11 dB) is above the quietest of it, as RMS of some 20 ms.

The noise of a room full of people swells, and in less than some six seconds its quietest may be so
quiet that its loudest is taken for a voice. Of 1,800 ends of speech at 20 dB, 183 are 140 ms late
or more with 8 dB, 10 with 9.5 dB, none with 11 dB, which takes 40 ms of a faint end for noise."""


_NOTHING: Final = bytes(2)


def audible(pcm: bytes | NDArray[np.int16], noise: float = 0.0) -> NDArray[np.intp]:
    """Indices of the samples that can be heard, in order.

    ``noise`` is what the room has at its quietest (:func:`noise_level`): of a frame that doesn't
    stand out from that, nothing can be heard.
    """
    samples = np.frombuffer(pcm, dtype="<i2") if isinstance(pcm, bytes) else pcm
    if noise and _rms(samples) <= OVER_NOISE * noise:
        return np.empty(0, np.intp)
    threshold = round(max(AUDIBLE, OVER_NOISE * noise) * 2**15)
    return np.flatnonzero((samples >= threshold) | (samples <= -threshold))


def noise_level(frames: Sequence[bytes | NDArray[np.int16]]) -> float:
    """How loud the quietest of some frames are: RMS, full scale 1; 0 without frames."""
    return _quiet(_levels(frames))


def last_over_noise(frames: Sequence[bytes], latest: int) -> tuple[int, int] | None:
    """The last sample in the ``latest`` of some seconds' frames that can be heard over the noise
    between and after the words: its frame and its index in it; None when none can."""
    levels = _levels(frames)
    noise = _quiet(levels)
    for number in np.flatnonzero(levels > OVER_NOISE * noise)[::-1].tolist():
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
    samples = np.frombuffer(b"".join(block or _NOTHING for block in blocks), "<i2")
    squares = np.square(samples, dtype="f4")
    means: NDArray[np.float64] = np.add.reduceat(squares, np.cumsum(sizes) - sizes) / sizes
    return np.sqrt(means) / 2**15


def _quiet(levels: NDArray[np.float64]) -> float:
    if not levels.size:
        return 0.0
    rank = int(levels.size * QUIET / 100)
    return float(np.partition(levels, rank)[rank])


def _rms(samples: NDArray[np.int16]) -> float:
    return math.sqrt(np.square(samples, dtype=np.float32).mean()) / 2**15
