"""Leaks: what a process that holds no call has more of than before, and memory that grows."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .gateway import Vitals

_POOLS: Final = {
    "AnyIO worker thread": 40,
    "asyncio_": 40,
    "telemetry-send-": 4,
}
"""Threads of pools, by name, with the most there may be: they come when they are needed."""
_KEPT_ALIVE: Final = {"socket": 4}
"""Connections to Sentry, one for each thread that sends; they come and go."""
NOISE_MB_PER_MINUTE: Final = 0.25
"""A slope that can't be told from none, over some minutes."""
ENOUGH_SECONDS: Final = 180.0
"""A slope of less time says nothing: what a process keeps for its next calls comes with the first
hundred."""


def leaks(before: Vitals, after: Vitals) -> list[str]:
    """What there is more of, a line each."""
    return [
        *_more("task", before.tasks, after.tasks, {}),
        *_more("thread", before.threads, after.threads, _POOLS),
        *_more("file", before.files, after.files, _KEPT_ALIVE),
    ]


def _more(
    what: str, before: Mapping[str, int], after: Mapping[str, int], spare: Mapping[str, int]
) -> list[str]:
    return [
        f"{what} {name}: {before.get(name, 0)} before, {count} after"
        for name, count in after.items()
        if count > before.get(name, 0) + spare.get(name, 0)
    ]


@dataclass(frozen=True, slots=True)
class Slope:
    """The growth of memory over some time."""

    mb_per_minute: float
    noise: float
    """The slope's standard error, in the same unit."""
    seconds: float

    @property
    def is_leak(self) -> bool | None:
        """True if memory grows by more than noise; None if the time is too short to tell."""
        if self.seconds < ENOUGH_SECONDS:
            return None
        return self.mb_per_minute - 2 * self.noise > NOISE_MB_PER_MINUTE


def slope(samples: Sequence[tuple[float, float]]) -> Slope:
    """The slope of samples: seconds, and MB.

    Neighbours are alike, as what a call takes stays for as long as it lasts: the error is that of
    means of :data:`_BLOCK_SECONDS`, which are not.
    """
    blocks: dict[int, list[float]] = {}
    for at, mb in samples:
        blocks.setdefault(int((at - samples[0][0]) // _BLOCK_SECONDS), []).append(mb)
    minutes = [(number + 0.5) * _BLOCK_SECONDS / 60 for number in blocks]
    means = [statistics.fmean(block) for block in blocks.values()]
    seconds = samples[-1][0] - samples[0][0]
    if len(means) < 3:
        return Slope(0.0, float("inf"), seconds)
    line = statistics.linear_regression(minutes, means)
    left = sum(
        (y - line.intercept - line.slope * x) ** 2 for x, y in zip(minutes, means, strict=True)
    )
    spread = statistics.pvariance(minutes) * len(minutes)
    noise = (left / (len(means) - 2) / spread) ** 0.5
    return Slope(line.slope, noise, seconds)


_BLOCK_SECONDS: Final = 10.0
