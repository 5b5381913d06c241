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
_THRESHOLD: Final = round(AUDIBLE * 2**15)


def audible(pcm: bytes | NDArray[np.int16]) -> NDArray[np.intp]:
    """Indices of the samples that can be heard, in order."""
    samples = np.frombuffer(pcm, dtype="<i2") if isinstance(pcm, bytes) else pcm
    return np.flatnonzero((samples >= _THRESHOLD) | (samples <= -_THRESHOLD))
