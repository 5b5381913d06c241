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
NOISE_MB_PER_MINUTE: Final = 0.4
"""A slope that is none: caches of a bounded size still fill for some minutes."""
ENOUGH_SECONDS: Final = 180.0
"""A slope of less time says nothing: what a process keeps for its next calls, caches of a bounded
size among it, comes with the first hundreds."""


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
    """The slope's standard error, in the same unit; infinite where there is nothing to tell by."""
    seconds: float

    @property
    def is_leak(self) -> bool | None:
        """True if memory grows by more than noise; None if the time is too short to tell."""
        if self.seconds < ENOUGH_SECONDS or self.noise == float("inf"):
            return None
        return self.mb_per_minute - 2 * self.noise > NOISE_MB_PER_MINUTE


def slope(points: Sequence[tuple[float, float]]) -> Slope:
    """The slope of points: seconds, and MB."""
    minutes = [at / 60 for at, _ in points]
    memory = [mb for _, mb in points]
    line = statistics.linear_regression(minutes, memory)
    seconds = points[-1][0] - points[0][0]
    if len(points) < 3:
        return Slope(line.slope, float("inf"), seconds)
    fitted = [line.intercept + line.slope * minute for minute in minutes]
    left = sum((mb - fit) ** 2 for mb, fit in zip(memory, fitted, strict=True))
    spread = statistics.pvariance(minutes) * len(minutes)
    return Slope(line.slope, (left / (len(points) - 2) / spread) ** 0.5, seconds)
