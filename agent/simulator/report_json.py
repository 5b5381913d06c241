"""A report as JSON: the contract with whoever reads ``parley simulate --report``.

Fields may be added. Latencies are milliseconds; null where there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.simulator.report import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.simulator.report import CallResult, Report, TurnResult


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON's types."""
    return {
        "passed": report.passed,
        "failures": list(report.failures),
        "seed": report.seed,
        "command": report.command,
        "word_error_rate": _rounded(report.word_error_rate, 4),
        "word_error_rates": [
            {"scenario": scenario, "line": line, "word_error_rate": _rounded(rate, 4)}
            for (scenario, line), rate in report.word_error_rates.items()
        ],
        "response_ms": _percentiles(report.measured),
        "telemetry_response_ms": _percentiles(report.told),
        "disagreement_ms": _percentiles(report.disagreements),
        "stages_ms": {stage: _percentiles(took) for stage, took in report.stages.items()},
        "barge_in_stop_ms": _percentiles(report.stops),
        "talk_over_seconds": _rounded(report.talk_over, 3),
        "missed_replies": report.missed,
        "spurious_replies": report.spurious,
        "sentences_with_pauses": report.with_pauses,
        "sentences_cut_off": report.cut_off,
        "stats": dict(report.stats),
        "conversations": [_call(call) for call in report.calls],
    }


def _call(call: CallResult) -> dict[str, Any]:
    return {
        "id": call.id,
        "trace_id": call.trace_id,
        "scenario": call.scenario,
        "passed": call.passed,
        "outcome": call.outcome,
        "seed": call.seed,
        "line": call.line,
        "started_at": _rounded(call.started_at, 3),
        "seconds": _rounded(call.seconds, 3),
        "talk_over_ms": _rounded(call.talk_over_ms),
        "late_ms": _rounded(call.late_ms),
        "shape": list(call.shape),
        "failures": list(call.failures),
        "trace_failures": list(call.trace_failures),
        "turns": [_turn(turn) for turn in call.turns],
    }


def _turn(turn: TurnResult) -> dict[str, Any]:
    return {
        "kind": turn.kind,
        "caller": turn.caller,
        "heard": turn.heard,
        "reply": turn.reply,
        "e2e_ms": _rounded(turn.e2e_ms),
        "measured_ms": _rounded(turn.measured_ms),
        "swallowed_ms": _rounded(turn.swallowed_ms),
        "stages_ms": {stage: round(ms, 1) for stage, ms in turn.stages_ms.items()},
        "interruption": turn.interruption,
        "stop_ms": _rounded(turn.stop_ms),
        "missed": turn.missed,
        "spurious": turn.spurious,
        "pauses_ms": list(turn.pauses_ms),
        "cut_off": turn.cut_off,
        "failures": list(turn.failures),
    }


def _percentiles(values: Sequence[float]) -> dict[str, float | None]:
    ranks = {"p50": 50, "p95": 95, "max": 100}
    return {name: _rounded(percentile(values, rank)) for name, rank in ranks.items()}


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)
