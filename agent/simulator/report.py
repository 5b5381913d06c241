"""What a simulation found: frozen values, what is computed from them, and the JSON report.

Latencies are milliseconds; times are Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import jiwer
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.session.line import Outcome

AGREEMENT_MS: Final = 100.0
"""What telemetry says of response latency and what callers measure differ by less (p95)."""

_spelling: Final = jiwer.Compose(
    [
        jiwer.ToLowerCase(),
        jiwer.SubstituteRegexes({r"[-\u2013\u2014]": " ", r"[^\w\s]": ""}),
        jiwer.RemoveMultipleSpaces(),
        jiwer.Strip(),
        jiwer.ReduceToListOfListOfWords(),
    ]
)


@dataclass(frozen=True, slots=True)
class Progress:
    """Something happened in a call; for whoever watches."""

    conversation: str
    scenario: str
    turn: int
    """Turns begun, of ``turns``."""
    turns: int
    what: str


@dataclass(frozen=True, slots=True)
class TurnResult:
    """A turn of the caller and what came of it."""

    caller: str
    """What the caller said or typed."""
    spoken: bool
    heard: str = ""
    """What the caller was heard to say."""
    reply: str = ""
    """The agent's words."""
    voiced_until: float | None = None
    """When the caller's last voiced sample was sent."""
    measured_ms: float | None = None
    """Last voiced sample → first audible sample of the reply, at the caller, from the audio."""
    e2e_ms: float | None = None
    """The same, as telemetry has it."""
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    """The stages telemetry tiles it with."""
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallResult:
    """A call and the verdict on it. It passed if nothing failed."""

    id: str
    scenario: str
    trace_id: str | None
    """None when the call was never accepted."""
    outcome: Outcome | None
    """None when the connection was lost before the agent said how the call ended."""
    turns: tuple[TurnResult, ...]
    failures: tuple[str, ...] = ()
    """Of the call itself, not of one turn."""
    trace_failures: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every expectation and the trace held."""
        return not (
            self.failures or self.trace_failures or any(turn.failures for turn in self.turns)
        )


@dataclass(frozen=True, slots=True)
class Report:
    """All calls of a simulation, in the order they were dealt."""

    calls: tuple[CallResult, ...]
    stats: Mapping[str, Any]
    """Telemetry's counts, as ``telemetry.Stats`` names them."""
    interrupted: bool = False
    """It was stopped before every call had ended."""

    @property
    def failures(self) -> tuple[str, ...]:
        """What is wrong with the run as a whole."""
        found = []
        if self.interrupted:
            found.append("interrupted before every call had ended")
        if not self.calls:
            found.append("no call was made")
        found += [
            f"{self.stats[n]} {n}" for n in ("orphan_spans", "dropped_spans") if self.stats[n]
        ]
        if (p95 := percentile(self.disagreements, 95)) is not None and p95 > AGREEMENT_MS:
            found.append(f"telemetry's latency and the callers' differ by {p95:.0f} ms (p95)")
        return tuple(found)

    @property
    def passed(self) -> bool:
        """Whether every call passed, no span was orphaned or dropped, and latencies agree."""
        return not self.failures and all(call.passed for call in self.calls)

    @property
    def measured(self) -> list[float]:
        """Every response latency measured at a caller."""
        return [turn.measured_ms for turn in self.turns if turn.measured_ms is not None]

    @property
    def disagreements(self) -> list[float]:
        """How far telemetry is from the caller, for each turn that both measured."""
        return [
            abs(turn.e2e_ms - turn.measured_ms)
            for turn in self.turns
            if turn.e2e_ms is not None and turn.measured_ms is not None
        ]

    @property
    def word_error_rate(self) -> float | None:
        """Wrong words per word said, over all turns said aloud; None when there was none.

        Case, punctuation and hyphens don't count as words; a turn that wasn't heard counts whole.
        """
        said = [turn for turn in self.turns if turn.voiced_until is not None]
        if not said:
            return None
        return jiwer.wer(
            [turn.caller for turn in said],
            [turn.heard for turn in said],
            reference_transform=_spelling,
            hypothesis_transform=_spelling,
        )

    @property
    def turns(self) -> list[TurnResult]:
        """The turns of all calls."""
        return [turn for call in self.calls for turn in call.turns]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON's types."""
        return {
            "passed": self.passed,
            "failures": list(self.failures),
            "word_error_rate": _rounded(self.word_error_rate, 4),
            "response_ms": _percentiles(self.measured),
            "disagreement_ms": _percentiles(self.disagreements),
            "stats": dict(self.stats),
            "conversations": [_call_as_json(call) for call in self.calls],
        }


def same_words(one: str, other: str) -> bool:
    """Whether two texts differ in nothing that word error rate counts."""
    return bool(_spelling([one]) == _spelling([other]))


def percentile(values: Sequence[float], rank: float) -> float | None:
    """The value that ``rank`` per cent of the values don't exceed; None when there are none."""
    return float(np.percentile(values, rank)) if values else None


def _percentiles(values: Sequence[float]) -> dict[str, float | None]:
    ranks = {"p50": 50, "p95": 95, "max": 100}
    return {name: _rounded(percentile(values, rank)) for name, rank in ranks.items()}


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)


def _call_as_json(call: CallResult) -> dict[str, Any]:
    return {
        "id": call.id,
        "trace_id": call.trace_id,
        "scenario": call.scenario,
        "passed": call.passed,
        "outcome": call.outcome,
        "failures": list(call.failures),
        "trace_failures": list(call.trace_failures),
        "turns": [
            {
                "caller": turn.caller,
                "heard": turn.heard,
                "reply": turn.reply,
                "e2e_ms": _rounded(turn.e2e_ms),
                "measured_ms": _rounded(turn.measured_ms),
                "stages_ms": {stage: round(ms, 1) for stage, ms in turn.stages_ms.items()},
                "failures": list(turn.failures),
            }
            for turn in call.turns
        ],
    }
