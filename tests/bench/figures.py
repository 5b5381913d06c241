"""Figures: what was measured, what it should be, and both as a table."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    unit: str
    ratio: float | None = None
    """To what ``against`` names."""
    against: str = ""
    target: float | None = None
    """What the ratio, or without one the value, must not exceed."""

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return (self.value if self.ratio is None else self.ratio) <= self.target


def medians(
    rounds: int, contenders: Mapping[str, Callable[[], Mapping[str, float]]]
) -> dict[str, dict[str, float]]:
    """Each contender's figures, as medians over rounds in which all of them take turns.

    What the machine does meanwhile then hits all alike, and every second round runs backwards, so
    that none profits from coming after another. What a round hasn't seen was 0 there: a thread that
    had ended, or was yet to begin.
    """
    seen: dict[str, list[Mapping[str, float]]] = {name: [] for name in contenders}
    order = list(contenders)
    for _ in range(rounds):
        for name in order:
            seen[name].append(contenders[name]())
        order.reverse()
    return {
        name: {
            key: statistics.median(run.get(key, 0.0) for run in runs)
            for key in dict.fromkeys(itertools.chain.from_iterable(runs))
        }
        for name, runs in seen.items()
    }


def table(figures: Iterable[Figure]) -> Table:
    """The figures, for the terminal."""
    made = Table(box=None, pad_edge=False)
    for heading, justify in (
        ("figure", "left"),
        ("value", "right"),
        ("", "left"),
        ("ratio", "right"),
        ("against", "left"),
        ("target", "right"),
        ("ok", "left"),
    ):
        made.add_column(heading, justify=justify)  # type: ignore[arg-type]  # two literals
    for figure in figures:
        made.add_row(
            figure.name,
            f"{figure.value:.2f}",
            figure.unit,
            "" if figure.ratio is None else f"{figure.ratio:.3g}",
            figure.against,
            "" if figure.target is None else f"≤ {figure.target:g}",
            {True: "yes", False: "NO", None: ""}[figure.ok],
        )
    return made
