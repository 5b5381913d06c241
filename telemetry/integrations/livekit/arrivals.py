"""The time at which audio was spoken, from the times at which it arrives.

A frame may come late, as the network or a busy event loop has it, but never early: of some seconds'
frames the one that came soonest says when all of them were spoken, as one follows another. Pure.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

GAP_SECONDS: Final = 0.1
"""If all frames of a batch are so much later than those before, something is missing between."""
BATCHES: Final = 8
"""The soonest of so many batches counts: a caller's clock may be slower than ours."""


class Arrivals:
    """Arrivals of frames that follow one another. Times are Unix seconds."""

    def __init__(self) -> None:
        self._position = 0.0
        """Seconds of audio that have come."""
        self._earliest = math.inf
        """Of this batch: the time at which the first of all samples seems to have been spoken."""
        self._before: deque[float] = deque(maxlen=BATCHES)
        """The same, of the batches before."""

    def add(self, at: float, seconds: float) -> None:
        """So much audio came, at this time."""
        self._position += seconds
        self._earliest = min(self._earliest, at - self._position)

    def spoken_until(self, *, is_last: bool) -> float | None:
        """The time at which the last sample that came was spoken; a batch ends with it.

        None if all of the batch is so late that it may be caught up with: ask again with more of
        it. ``is_last``: there is no time to wait.
        """
        if self._before and self._earliest > min(self._before) + GAP_SECONDS:
            if not is_last:
                return None
            self._before.clear()
        self._before.append(self._earliest)
        self._earliest = math.inf
        return min(self._before) + self._position
