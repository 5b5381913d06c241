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
"""Per cent of two seconds that end in somebody falling silent in which nothing is said."""
OVER_NOISE: Final = 2.5
"""How far what stands out from noise (8 dB) is above the quietest of it, as RMS of some 20 ms."""


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
    blocks = [np.frombuffer(f, "<i2") if isinstance(f, bytes) else f for f in frames if len(f)]
    if not blocks:
        return 0.0
    sizes = np.array([block.size for block in blocks])
    squares = np.square(np.concatenate(blocks), dtype=np.float32)
    means = np.add.reduceat(squares, np.cumsum(sizes) - sizes) / sizes
    return math.sqrt(np.percentile(means, QUIET)) / 2**15


def last_over_noise(frames: Sequence[bytes]) -> tuple[int, int] | None:
    """The last sample that can be heard over the noise between and after the words in some seconds
    of audio: its frame and its index in it; None when none can."""
    noise = noise_level(frames)
    for number in range(len(frames) - 1, -1, -1):
        if (loud := audible(frames[number], noise)).size:
            return number, int(loud[-1])
    return None


def _rms(samples: NDArray[np.int16]) -> float:
    return math.sqrt(np.square(samples, dtype=np.float32).mean()) / 2**15
