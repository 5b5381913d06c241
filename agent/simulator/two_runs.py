"""Two reports of ``parley simulate --report`` side by side. Pure functions of what is in them.

Turns are paired by scenario, line, which call of that scenario it is, and their place in the call.
Latencies are compared by :mod:`telemetry.comparison`. Words and traces aren't figures: a reply, or
a path of operations in a trace, is news if no call of the scenario had it in the first run.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.errors import InputError
from agent.simulator.report import same_words
from telemetry.attributes import STAGES
from telemetry.comparison import RESPONSE, Changed, Comparison, Pair, Reshaped, compare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Key = tuple[str, str, int, int]
"""Scenario, line, number of the call among those of both, number of the turn."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of a run, as far as it is compared."""

    measures: Mapping[str, float]
    """Milliseconds; empty if it has no response latency."""
    reply: str
    is_cut: bool
    """True if the caller spoke into the reply: how much was said of it is chance."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run, out of its report."""

    conversations: int
    turns: Mapping[Key, Turn]
    shapes: Mapping[str, frozenset[str]]
    """By scenario, the paths of operations that its traces have."""


def read(path: Path) -> Run:
    """A run out of the file of its report.

    Raises:
        InputError: it isn't one. One line of text.
    """
    try:
        return run_of(json.loads(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: not a report of `parley simulate --report`: {type(error).__name__}: {error}"
        ) from error


def run_of(report: Mapping[str, Any]) -> Run:
    """A run out of its report; what the report lacks raises what Python raises for it."""
    calls = report["conversations"]
    turns: dict[Key, Turn] = {}
    shapes: dict[str, set[str]] = {}
    numbers: Counter[tuple[str, str]] = Counter()
    for call in calls:
        scenario, line = str(call["scenario"]), str(call["line"])
        number = numbers[scenario, line]
        numbers[scenario, line] += 1
        shapes.setdefault(scenario, set()).update(map(str, call.get("shape", ())))
        for place, turn in enumerate(_turns(call["turns"])):
            turns[scenario, line, number, place] = turn
    return Run(len(calls), turns, {name: frozenset(paths) for name, paths in shapes.items()})


def _turns(turns: Sequence[Mapping[str, Any]]) -> Iterator[Turn]:
    after = [*turns[1:], {}]
    for turn, following in zip(turns, after, strict=True):
        told, measured = turn["e2e_ms"], turn["measured_ms"]
        measures: dict[str, float] = {}
        if told is not None:
            measures = {str(stage): float(ms) for stage, ms in turn["stages_ms"].items()}
            measures[RESPONSE] = float(told if measured is None else measured)
        yield Turn(measures, str(turn["reply"]), following.get("interruption") is not None)


def compare_runs(before: Run, after: Run) -> Comparison:
    """What differs in the second run."""
    both = [key for key in before.turns if key in after.turns]
    pairs = [
        Pair(key[0], before.turns[key].measures, after.turns[key].measures)
        for key in both
        if before.turns[key].measures and after.turns[key].measures
    ]
    return Comparison(
        len(pairs),
        len(before.turns) + len(after.turns) - 2 * len(both),
        tuple(compare(pairs, [RESPONSE, *STAGES])),
        tuple(_changed(before, after)),
        tuple(_reshaped(before, after)),
    )


def _changed(before: Run, after: Run) -> Iterator[Changed]:
    said: dict[tuple[str, int], list[str]] = {}
    for (scenario, _, _, place), turn in before.turns.items():
        if turn.reply and not turn.is_cut:
            said.setdefault((scenario, place), []).append(turn.reply)
    told: set[tuple[str, int, str]] = set()
    for (scenario, _, _, place), turn in after.turns.items():
        known = said.get((scenario, place))
        if turn.is_cut or not known or (scenario, place, turn.reply) in told:
            continue
        if not any(same_words(turn.reply, one) for one in known):
            told.add((scenario, place, turn.reply))
            yield Changed(scenario, place + 1, known[0], turn.reply)


def _reshaped(before: Run, after: Run) -> Iterator[Reshaped]:
    for scenario, paths in before.shapes.items():
        others = after.shapes.get(scenario, frozenset())
        if paths and others and paths != others:
            yield Reshaped(scenario, tuple(sorted(paths - others)), tuple(sorted(others - paths)))
