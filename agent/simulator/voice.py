"""Voices on a clock: the stretches in which somebody could be heard, and their overlap.

Times are Unix seconds at the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

BREATH_SECONDS: Final = 0.2
"""Longest silence within a stretch: between two syllables."""


@dataclass(slots=True)
class Voice:
    """Stretches in which somebody was heard, in order."""

    stretches: list[tuple[float, float]] = field(default_factory=list)
    """The stretches: from the first to the last sample of each that can be heard."""

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
        """Time in which it could be heard, pauses aside."""
        return sum(until - since for since, until in self.stretches)

    def add(self, since: float, until: float) -> None:
        """Add a time in which it was heard; later than all before."""
        if self.stretches and since - self.stretches[-1][1] <= BREATH_SECONDS:
            self.stretches[-1] = (self.stretches[-1][0], max(until, self.stretches[-1][1]))
        else:
            self.stretches.append((since, until))

    def cut(self, at: float) -> None:
        """Forget what would have been heard after this."""
        self.stretches = [(since, min(until, at)) for since, until in self.stretches if since < at]


def overlap(one: Iterable[tuple[float, float]], other: Iterable[tuple[float, float]]) -> float:
    """Seconds that belong to a stretch of both."""
    others = list(other)
    return sum(
        max(0.0, min(until, its_end) - max(since, its_start))
        for since, until in one
        for its_start, its_end in others
    )
