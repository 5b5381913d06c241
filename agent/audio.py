"""What can be heard: one measure for gateway, recognition and simulator, so that they agree.

Audio is mono PCM16, little-endian.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

AUDIBLE: Final = 0.01
"""Share of full scale (-40 dBFS) that a sample reaches if it can be heard."""
PEAK: Final = 5.0
"""How far noise reaches above its RMS, now and then: what is louder is not the noise."""


def audible(pcm: bytes | NDArray[np.int16], noise: float = 0.0) -> NDArray[np.intp]:
    """Indices of the samples that can be heard, in order; in a room with so much noise (RMS, full
    scale 1), those that can be heard over it."""
    samples = np.frombuffer(pcm, dtype="<i2") if isinstance(pcm, bytes) else pcm
    threshold = round(max(AUDIBLE, PEAK * noise) * 2**15)
    return np.flatnonzero((samples >= threshold) | (samples <= -threshold))
