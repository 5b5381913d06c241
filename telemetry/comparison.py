"""Two runs side by side: what got slower or faster by more than noise.

A run is measured before a change and after it; what is said in both of them makes a *pair*, of the
same turn of the same scenario. For each measure (the response, each of its stages) the pairs'
differences are looked at:

* the shift is their Hodges-Lehmann estimate, the median of the means of any two of them, and its
  interval holds the true one in 95 of 100 runs: neither asks how the differences are distributed;
* a shift is news if Wilcoxon's signed-rank test says that it is larger than :data:`NOISE_MS`, which
  two runs of one program differ by as the machine has other things to do;
* several measures are tested at once, so p values are raised by Holm's method: in 19 of 20
  comparisons of a program with itself there is no news at all.

Sources: M. Hollander, D. A. Wolfe, E. Chicken, *Nonparametric Statistical Methods*, 3rd ed., Wiley
2014, 3.1 to 3.3; S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian
Journal of Statistics 6 (1979). Pure; times are milliseconds.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from statistics import NormalDist, median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RESPONSE: Final = "response"
"""The measure of a whole response; the others are its stages."""
NOISE_MS: Final = 25.0
"""Shifts that are never news: a machine that runs the same twice isn't the same twice."""
CHANCE: Final = 0.05
"""The share of comparisons of a program with itself in which anything may be news."""
MOST_PAIRS: Final = 600
"""Pairs that an interval is computed from; of more, evenly chosen ones."""
_FOR_THE_WHOLE: Final = 0.8
"""The share of :data:`CHANCE` for all groups together; the rest is for each of them."""
_EXACT: Final = 25
"""Pairs up to which p values are exact."""
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Pair:
    """The same turn in both runs: what each measure was, by its name."""

    group: str
    """Its scenario, or whatever else is to be looked at by itself."""
    before: Mapping[str, float]
    after: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Difference:
    """What has become of one measure."""

    measure: str
    group: str | None
    """None for all groups together."""
    pairs: int
    before_ms: float
    """Median of the first run."""
    after_ms: float
    shift_ms: float
    """Estimate of the shift; above 0 it got slower."""
    low_ms: float
    """The interval's ends."""
    high_ms: float
    chance: float
    """Chance of so large a shift if there is none beyond noise, for all that is tested at once."""

    @property
    def is_news(self) -> bool:
        """True if it is more than noise."""
        return self.chance < CHANCE


@dataclass(frozen=True, slots=True)
class Changed:
    """A turn whose reply was never heard in the first run."""

    scenario: str
    turn: int
    """From 1."""
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Reshaped:
    """A scenario whose traces have other paths of operations than before."""

    scenario: str
    gone: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that differs between two runs."""

    pairs: int
    """Turns with a response that both have."""
    unpaired: int
    """Turns that only one of them has."""
    differences: tuple[Difference, ...]
    changed: tuple[Changed, ...]
    reshaped: tuple[Reshaped, ...]

    @property
    def news(self) -> list[Difference]:
        """The latencies that differ by more than noise."""
        return [one for one in self.differences if one.is_news]

    def slower_by(self, ms: float | None, share: float | None) -> list[Difference]:
        """Responses, and stages of them, that are slower by more than so much, and than noise.

        A share is one of the response: a stage's own may be next to nothing.
        """
        whole = {one.group: one.before_ms for one in self.differences if one.measure == RESPONSE}
        return [
            one
            for one in self.news
            if (ms is not None and one.shift_ms > ms)
            or (share is not None and one.shift_ms > share * whole.get(one.group, math.inf))
        ]


def compare(
    pairs: Sequence[Pair], measures: Iterable[str], *, noise_ms: float = NOISE_MS
) -> list[Difference]:
    """The difference in each measure that some pair has: over all pairs, then in each group.

    A measure that one side of a pair hasn't got took no time there.
    """
    names = [*measures]
    groups = sorted({pair.group for pair in pairs})
    whole = [found for name in names if (found := _difference(pairs, name, None, noise_ms))]
    parts = [
        found
        for group in groups
        for name in names
        if (
            found := _difference(
                [one for one in pairs if one.group == group], name, group, noise_ms
            )
        )
    ]
    # most of the chance to the whole: the many groups mustn't hide what all of them show
    return [*_raised(whole, 1 / _FOR_THE_WHOLE), *_raised(parts, 1 / (1 - _FOR_THE_WHOLE))]


def _difference(
    pairs: Sequence[Pair], measure: str, group: str | None, noise_ms: float
) -> Difference | None:
    both = [
        (one.before.get(measure, 0.0), one.after.get(measure, 0.0))
        for one in pairs
        if measure in one.before or measure in one.after
    ]
    if not both:
        return None
    shifts = [after - before for before, after in both]
    shift, low, high = interval(shifts)
    more = above([each - noise_ms for each in shifts])
    less = above([-each - noise_ms for each in shifts])
    return Difference(
        measure,
        group,
        len(both),
        median(before for before, _ in both),
        median(after for _, after in both),
        shift,
        low,
        high,
        min(1.0, 2 * min(more, less)),
    )


def _raised(found: Sequence[Difference], times: float) -> list[Difference]:
    """The differences with their chances raised for being tested together (Holm), times so much."""
    raised = [1.0] * len(found)
    so_far = 0.0
    order = sorted(range(len(found)), key=lambda index: found[index].chance)
    for place, index in enumerate(order):
        so_far = max(so_far, min(1.0, times * (len(found) - place) * found[index].chance))
        raised[index] = so_far
    return [replace(one, chance=chance) for one, chance in zip(found, raised, strict=True)]


# -- one measure -----------------------------------------------------------------------------------


def interval(shifts: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """The Hodges-Lehmann estimate of a shift, and the two ends of its interval.

    With less than six pairs there is no such interval: its ends are the least and the largest.
    """
    chosen = _thinned(shifts)
    number = len(chosen)
    means = sorted(
        (one + other) / 2 for index, one in enumerate(chosen) for other in chosen[index:]
    )
    spread = math.sqrt(number * (number + 1) * (2 * number + 1) / 24)
    outside = number * (number + 1) / 4 - _NORMAL.inv_cdf((1 + level) / 2) * spread
    left = max(0, math.floor(outside))
    return median(means), means[left], means[-1 - left]


def above(shifts: Sequence[float]) -> float:
    """The chance, by Wilcoxon's signed-rank test, that shifts around 0 are as far above it.

    Shifts of 0 are left out, as Wilcoxon did.
    """
    others = [shift for shift in shifts if shift]
    if not others:
        return 1.0
    ranks = _ranks([abs(shift) for shift in others])
    reached = sum(rank for shift, rank in zip(others, ranks, strict=True) if shift > 0)
    if len(others) <= _EXACT:
        return _exactly(ranks, reached)
    spread = math.sqrt(sum(rank * rank for rank in ranks)) / 2
    return 1.0 - _NORMAL.cdf((reached - sum(ranks) / 2 - 0.5) / spread)


def _exactly(ranks: Sequence[float], reached: float) -> float:
    """The share of all ways to give these ranks signs in which the positive sum is as large."""
    doubled = [round(2 * rank) for rank in ranks]  # ties have halves
    ways = [1]
    for rank in doubled:
        longer = [*ways, *[0] * rank]
        for total, count in enumerate(ways):
            longer[total + rank] += count
        ways = longer
    return sum(ways[round(2 * reached) :]) / (1 << len(ranks))


def _ranks(values: Sequence[float]) -> list[float]:
    """The place of each value among all, from 1; equal ones share the mean of their places."""
    ordered = sorted(values)
    return [(bisect_left(ordered, one) + bisect_right(ordered, one) + 1) / 2 for one in values]


def _thinned(shifts: Sequence[float]) -> list[float]:
    step = len(shifts) / MOST_PAIRS
    if step <= 1:
        return [*shifts]
    return [shifts[int(number * step)] for number in range(MOST_PAIRS)]
