"""The page of two runs side by side: what got slower by more than noise, and what is new.

The comparison is :mod:`..comparison`'s; whoever starts the viewer knows what the runs were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from . import pages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from ..comparison import Comparison, Difference

WIDTH: Final = 200
"""Units of a drawn interval, 0 in its middle."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Two runs, by their names, and what differs in the second."""

    before: str
    after: str
    found: Comparison


@dataclass(frozen=True, slots=True)
class Row:
    """A difference, and its interval as it is drawn: its ends and the shift, from the left."""

    difference: Difference
    low: float
    shift: float
    high: float


def rows(differences: Sequence[Difference]) -> list[Row]:
    """Differences on one scale, which reaches to the farthest end of an interval."""
    most = max((max(abs(one.low_ms), abs(one.high_ms)) for one in differences), default=0.0)

    def at(ms: float) -> float:
        return round(WIDTH / 2 * (1 + ms / (most or 1.0)), 1)

    return [Row(one, at(one.low_ms), at(one.shift_ms), at(one.high_ms)) for one in differences]


def compared(request: Request) -> Response:
    """``GET /compare``: all that differs; what doesn't, for all groups together."""
    runs: Runs | None = request.app.state.runs
    found = None if runs is None else runs.found
    same = [] if found is None else [one for one in found.differences if not one.is_news]
    return pages.page(
        request,
        "compare.html",
        runs=runs,
        found=found,
        news=[] if found is None else rows(found.news),
        same=rows([one for one in same if one.group is None]),
        width=WIDTH,
    )


routes = [Route("/compare", compared)]
