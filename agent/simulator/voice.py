"""When somebody could be heard: stretches of voice on a clock, and where two of them overlap.

Times are Unix seconds at the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

BREATH: Final = 0.2
"""Seconds without a sample that can be heard that don't end a stretch: between two syllables."""


@dataclass(slots=True)
class Voice:
    """Stretches in which somebody was heard, in order."""

    stretches: list[tuple[float, float]] = field(default_factory=list)
    """From the first to the last sample of each that can be heard."""

    @property
    def first(self) -> float | None:
        """The first sample that could be heard."""
        return self.stretches[0][0] if self.stretches else None

    @property
    def last(self) -> float | None:
        """The last sample that could be heard."""
        return self.stretches[-1][1] if self.stretches else None

    @property
    def seconds(self) -> float:
        """How long it could be heard, pauses aside."""
        return sum(until - since for since, until in self.stretches)

    def add(self, since: float, until: float) -> None:
        """It was heard from here to there; later than all before."""
        if self.stretches and since - self.stretches[-1][1] <= BREATH:
            self.stretches[-1] = (self.stretches[-1][0], max(until, self.stretches[-1][1]))
        else:
            self.stretches.append((since, until))


def overlap(one: Iterable[tuple[float, float]], other: Iterable[tuple[float, float]]) -> float:
    """Seconds that belong to a stretch of both."""
    others = list(other)
    return sum(
        max(0.0, min(until, its_end) - max(since, its_start))
        for since, until in one
        for its_start, its_end in others
    )
