"""What a receiver plays while a line loses frames: the last period of the voice, fading away.

After ITU-T G.711 appendix I, without its overlapping at the seams: silence at once would put holes
into words that no telephone lets through, and that a voice detector takes for pauses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORTEST: Final = 0.005
"""Seconds of the shortest period looked for: a voice of 200 Hz."""
LONGEST: Final = 0.015
"""Of the longest: 66 Hz."""
COMPARED: Final = 0.02
"""Seconds of the latest audio that a period has to repeat in."""
FULL: Final = 0.01
"""Seconds filled in as loud as the voice was."""
SILENT: Final = 0.06
"""Seconds after which nothing is filled in any more; it fades evenly until then."""


class Concealment:
    """Takes the frames of one line, lost ones too, in order."""

    def __init__(self, sample_rate: int) -> None:
        self._shortest, self._longest = round(SHORTEST * sample_rate), round(LONGEST * sample_rate)
        self._compared = round(COMPARED * sample_rate)
        self._full, self._silent = round(FULL * sample_rate), round(SILENT * sample_rate)
        self._latest: NDArray[np.float32] = np.zeros(self._longest + self._compared, np.float32)
        self._period: NDArray[np.float32] = np.zeros(0, np.float32)
        self._filled = 0

    def arrived(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """A frame that came through; it is played as it is."""
        kept = np.concatenate((self._latest, samples))
        self._latest = kept[-self._latest.size :]
        self._filled = 0
        return samples

    def lost(self, size: int) -> NDArray[np.float32]:
        """So many samples that didn't: what is played instead."""
        if not self._filled:
            self._period = self._latest[-self._find_period() :]
        at = np.arange(self._filled, self._filled + size)
        self._filled += size
        loudness = np.clip((self._silent - at) / (self._silent - self._full), 0, 1)
        return (self._period.take(at, mode="wrap") * loudness).astype(np.float32)

    def _find_period(self) -> int:
        """Samples after which the latest audio resembles itself most."""
        latest = self._latest[-self._compared :]
        before = np.lib.stride_tricks.sliding_window_view(
            self._latest[: -self._shortest], self._compared
        )
        energy = np.sqrt(np.square(before).sum(axis=1)) + 1e-9
        return self._latest.size - self._compared - int(np.argmax(before @ latest / energy))
