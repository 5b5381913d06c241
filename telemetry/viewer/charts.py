"""Charts as plain geometry, which a template draws as SVG: no script, and readable as a table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .figures import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 720
HEIGHT: Final = 200
_BINS: Final = 36
_POINTS: Final = 48
_SHOWN: Final = 0.995
"""The share of values that a scale has room for: one that is far out would flatten the others."""
_STEPS: Final = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a histogram; the last one has all that is longer, too."""

    x: float
    y: float
    width: float
    height: float
    begins: float
    ends: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """The spread of values."""

    bars: list[Bar]
    ticks: list[Tick]


@dataclass(frozen=True, slots=True)
class Point:
    """A piece of time, with two percentiles of what was in it."""

    x: float
    begins: float
    count: int
    p50: float
    p95: float
    y50: float
    y95: float


@dataclass(frozen=True, slots=True)
class Trend:
    """The course of values over time."""

    points: list[Point]
    ticks: list[Tick]
    begins: float = 0.0
    ends: float = 0.0

    def line(self, name: str) -> str:
        """The points of a line, as SVG has them: ``y50`` or ``y95``."""
        return " ".join(f"{point.x:.1f},{getattr(point, name):.1f}" for point in self.points)


def histogram(values: Sequence[float]) -> Histogram:
    """The histogram of some durations, in seconds."""
    if not values:
        return Histogram([], [])
    top, ticks = _scale(percentile(sorted(values), _SHOWN) or 0.0)
    counts = [0] * _BINS
    for value in values:
        counts[min(int(max(value, 0.0) / top * _BINS), _BINS - 1)] += 1
    width, most = WIDTH / _BINS, max(counts)
    bars = [
        Bar(
            x=number * width + 1,
            y=HEIGHT - HEIGHT * count / most,
            width=width - 2,
            height=HEIGHT * count / most,
            begins=top * number / _BINS,
            ends=None if number == _BINS - 1 else top * (number + 1) / _BINS,
            count=count,
        )
        for number, count in enumerate(counts)
    ]
    return Histogram(bars, [Tick(WIDTH * value / top, value) for value in ticks])


def trend(at: Sequence[float], values: Sequence[float]) -> Trend:
    """The p50 and p95 of durations over the time at which they were measured (Unix seconds)."""
    if not values:
        return Trend([], [])
    begins, ends = min(at), max(at)
    each = (ends - begins) / _POINTS or 1.0
    pieces: dict[int, list[float]] = {}
    for when, value in zip(at, values, strict=True):
        pieces.setdefault(min(int((when - begins) / each), _POINTS - 1), []).append(value)
    found = []
    for number, piece in sorted(pieces.items()):
        ordered = sorted(piece)
        found.append((number, len(piece), percentile(ordered, 0.5), percentile(ordered, 0.95)))
    top, ticks = _scale(max(p95 or 0.0 for *_, p95 in found))
    points = [
        Point(
            x=WIDTH * (number + 0.5) / _POINTS,
            begins=begins + number * each,
            count=count,
            p50=p50 or 0.0,
            p95=p95 or 0.0,
            y50=HEIGHT - HEIGHT * (p50 or 0.0) / top,
            y95=HEIGHT - HEIGHT * (p95 or 0.0) / top,
        )
        for number, count, p50, p95 in found
    ]
    return Trend(
        points, [Tick(HEIGHT - HEIGHT * value / top, value) for value in ticks], begins, ends
    )


def _scale(most: float) -> tuple[float, list[float]]:
    """The top of a scale that has room for a value, and some round values on it."""
    most = max(most, 0.001)
    magnitude = 10.0 ** math.floor(math.log10(most / 4))
    step = next(magnitude * one for one in _STEPS if most / 4 <= magnitude * one * 1.0001)
    count = math.ceil(most / step - 1e-9)
    return step * count, [step * number for number in range(count + 1)]
