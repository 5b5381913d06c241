"""Ways of finding the end of a turn side by side: what each gets wrong, and how long it takes.

Pure functions of the calls of simulations. Latencies are milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent.simulator.report import percentile, word_error_rate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.simulator.report import CallResult

LATE_MS: Final = 3000.0
"""Response latency from which an end counts as missed: the caller asks whether anybody is there."""
SAME_MS: Final = 20.0
"""Difference of two latencies that is none: the callers' own audio comes in frames of 20 ms."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One way of finding the end of a turn, and what came of it."""

    environ: Mapping[str, str]
    """The settings that make an agent do so; an empty one is to be unset."""
    calls: int
    turns: int
    """Turns that were said aloud."""
    false_ends: int
    """Those of them that were cut off in a pause, or spoken into."""
    missed_ends: int
    """Those that weren't answered, or after more than :data:`LATE_MS`."""
    talk_over_seconds: float
    p50_ms: float | None
    p95_ms: float | None
    word_error_rate: float | None

    @property
    def settings(self) -> str:
        """The settings as one sets them for a command, and the names of those to be unset."""
        given = " ".join(f"{name}={value}" for name, value in self.environ.items() if value)
        unset = " and ".join(name for name, value in self.environ.items() if not value)
        return f"{given}, with {unset} unset" if unset else given


def trial(environ: Mapping[str, str], calls: Sequence[CallResult]) -> Trial:
    """What came of some settings in these calls."""
    turns = [turn for call in calls for turn in call.turns if turn.kind == "spoken"]
    said = [turn for turn in turns if turn.voiced_until is not None]
    measured = [turn.measured_ms for turn in said if turn.measured_ms is not None]
    return Trial(
        environ=dict(environ),
        calls=len(calls),
        turns=len(said),
        false_ends=sum(turn.cut_off or turn.spurious > 0 for turn in said),
        missed_ends=sum(turn.missed or (turn.measured_ms or 0.0) > LATE_MS for turn in said),
        talk_over_seconds=sum(call.talk_over_ms for call in calls) / 1000,
        p50_ms=percentile(measured, 50),
        p95_ms=percentile(measured, 95),
        word_error_rate=word_error_rate(said),
    )


def best(trials: Sequence[Trial]) -> list[Trial]:
    """Those that no other is better than in one thing and as good as in all others: false ends,
    missed ends, latency (median, and p95)."""
    usable = [each for each in trials if each.p50_ms is not None]
    return [
        each
        for each in usable
        if not any(_dominates(other, each) for other in usable if other is not each)
    ]


def recommended(trials: Sequence[Trial]) -> Trial | None:
    """The one to use; None where nobody was answered.

    Nobody likes to be cut off, or not to be answered: so few of both come first, then a short wait,
    also in the worst cases. Of equals it is the first.
    """
    ranked = best(trials)
    return min(ranked, key=_cost, default=None)


def as_json(trials: Sequence[Trial]) -> dict[str, Any]:
    """The trials as JSON's types, with the recommended settings; null where there are none, and
    an empty setting is to be unset."""
    found, chosen = best(trials), recommended(trials)
    return {
        "recommended": None if chosen is None else dict(chosen.environ),
        "trials": [
            {
                "settings": dict(each.environ),
                "best": each in found,
                "calls": each.calls,
                "turns": each.turns,
                "false_ends": each.false_ends,
                "missed_ends": each.missed_ends,
                "talk_over_seconds": round(each.talk_over_seconds, 3),
                "response_ms": {"p50": _rounded(each.p50_ms), "p95": _rounded(each.p95_ms)},
                "word_error_rate": _rounded(each.word_error_rate, 4),
            }
            for each in trials
        ],
    }


def _dominates(one: Trial, other: Trial) -> bool:
    pairs = list(zip(_figures(one), _figures(other), strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _cost(one: Trial) -> tuple[float, ...]:
    false, missed, p50, p95 = _figures(one)
    return (false + missed, p50 + p95)


def _figures(one: Trial) -> tuple[float, ...]:
    """What is compared, the less the better; latencies without what is no difference."""
    turns = max(1, one.turns)
    latencies = (round((ms or 0.0) / SAME_MS) for ms in (one.p50_ms, one.p95_ms))
    return (one.false_ends / turns, one.missed_ends / turns, *latencies)


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)
