"""Concealment of lost frames: a receiver plays the last period of the voice, fading away.

After ITU-T G.711 appendix I, without its overlapping at the seams: silence at once would put holes
into words that no telephone lets through, and that a voice detector takes for pauses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORTEST_PERIOD_SECONDS: Final = 0.005
"""Shortest period looked for: that of a voice of 200 Hz."""
LONGEST_PERIOD_SECONDS: Final = 0.015
"""Longest period looked for: that of a voice of 66 Hz."""
COMPARED_SECONDS: Final = 0.02
"""Length of the latest audio that a period has to repeat in."""
FULL_SECONDS: Final = 0.01
"""Length of the part filled in as loud as the voice was."""
SILENT_AFTER_SECONDS: Final = 0.06
"""Time after which nothing is filled in any more; the filling fades evenly until then."""


class Concealment:
    """The receiver of one line. It takes the frames, lost ones too, in order."""

    def __init__(self, sample_rate: int) -> None:
        self._shortest, self._longest = (
            round(SHORTEST_PERIOD_SECONDS * sample_rate),
            round(LONGEST_PERIOD_SECONDS * sample_rate),
        )
        self._compared = round(COMPARED_SECONDS * sample_rate)
        self._full, self._silent = (
            round(FULL_SECONDS * sample_rate),
            round(SILENT_AFTER_SECONDS * sample_rate),
        )
        self._latest: NDArray[np.float32] = np.zeros(self._longest + self._compared, np.float32)
        self._period: NDArray[np.float32] = np.zeros(0, np.float32)
        self._filled = 0

    def arrived(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take a frame that came through; it is played as it is."""
        kept = np.concatenate((self._latest, samples))
        self._latest = kept[-self._latest.size :]
        self._filled = 0
        return samples

    def lost(self, size: int) -> NDArray[np.float32]:
        """Fill in for lost samples: the audio that is played instead."""
        if not self._filled:
            self._period = self._latest[-self._find_period() :]
        at = np.arange(self._filled, self._filled + size)
        self._filled += size
        loudness = np.clip((self._silent - at) / (self._silent - self._full), 0, 1)
        return (self._period.take(at, mode="wrap") * loudness).astype(np.float32)

    def _find_period(self) -> int:
        """Number of samples after which the latest audio resembles itself most."""
        latest = self._latest[-self._compared :]
        before = np.lib.stride_tricks.sliding_window_view(
            self._latest[: -self._shortest], self._compared
        )
        energy = np.sqrt(np.square(before).sum(axis=1)) + 1e-9
        return self._latest.size - self._compared - int(np.argmax(before @ latest / energy))
