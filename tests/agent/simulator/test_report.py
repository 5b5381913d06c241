"""What a report computes, writes and shows."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from agent.session.line import Outcome
from agent.simulator.display import render, watch
from agent.simulator.report import CallResult, Progress, Report, TurnResult
from agent.simulator.written import as_json

STATS = {"conversations": 1, "orphan_spans": 0, "dropped_spans": 0, "faults": 0, "dropped": {}}
TURN = TurnResult(
    caller="A table for four, please.",
    kind="spoken",
    words="A table for four, please.",
    heard="A table for four please",
    reply="For which day?",
    voiced_until=100.0,
    measured_ms=610.0,
    e2e_ms=600.04,
    stages_ms={"endpointing": 400.0, "llm": 200.04},
)
TYPED = TurnResult(caller="Friday", kind="typed", reply="At what time?")
CUTTING = TurnResult(
    caller="No, wait!",
    kind="spoken",
    words="No, wait!",
    heard="no wait",
    reply="Yes?",
    voiced_until=110.0,
    interruption="stops",
    stop_ms=340.0,
)
NOISE = TurnResult(caller="(cough)", kind="spoken", interruption="resumes", spurious=1)
CALL = CallResult("booking-1", "booking", "a" * 32, Outcome.COMPLETED, (TURN, TYPED))
GOOD = Report((CALL,), STATS, seed=7, command="parley simulate booking --seed 7")


def test_json_report() -> None:
    """The JSON has the contract's fields; what has no response latency has null."""
    written = json.loads(json.dumps(as_json(GOOD)))
    assert written["passed"] is True
    assert written["stats"] == STATS
    assert written["word_error_rate"] == 0
    assert written["response_ms"] == {"p50": 610, "p95": 610, "max": 610}
    (call,) = written["conversations"]
    assert {name: call[name] for name in ("id", "trace_id", "scenario", "passed", "outcome")} == {
        "id": "booking-1",
        "trace_id": "a" * 32,
        "scenario": "booking",
        "passed": True,
        "outcome": "completed",
    }
    spoken, typed = call["turns"]
    assert spoken["stages_ms"] == {"endpointing": 400.0, "llm": 200.0}
    assert (spoken["e2e_ms"], spoken["measured_ms"]) == (600.0, 610.0)
    assert (typed["e2e_ms"], typed["measured_ms"]) == (None, None)
    assert (written["seed"], written["command"]) == (7, "parley simulate booking --seed 7")


def test_json_report_tells_what_was_heard() -> None:
    """Barge-in, talking over, missed and spurious replies, stages and lines are in the JSON."""
    missed = replace(TYPED, missed=True)
    call = replace(CALL, turns=(TURN, CUTTING, NOISE, missed), talk_over_ms=420.0, line="snr=20")
    written = json.loads(json.dumps(as_json(replace(GOOD, calls=(call,)))))
    assert written["barge_in_stop_ms"] == {"p50": 340, "p95": 340, "max": 340}
    assert written["talk_over_seconds"] == 0.42
    assert (written["missed_replies"], written["spurious_replies"]) == (1, 1)
    assert written["stages_ms"]["llm"] == {"p50": 200.0, "p95": 200.0, "max": 200.0}
    assert written["telemetry_response_ms"]["p50"] == 600
    assert written["word_error_rates"] == [
        {"scenario": "booking", "line": "snr=20", "word_error_rate": 0}
    ]
    turns = written["conversations"][0]["turns"]
    assert [turn["interruption"] for turn in turns] == [None, "stops", "resumes", None]


@pytest.mark.parametrize(
    ("report", "failure"),
    [
        (replace(GOOD, calls=()), "no call was made"),
        (replace(GOOD, interrupted=True), "interrupted"),
        (replace(GOOD, stats={**STATS, "orphan_spans": 2}), "2 orphan_spans"),
        (replace(GOOD, stats={**STATS, "faults": 1}), "1 faults"),
        (replace(GOOD, stats={**STATS, "dropped_spans": 1}), "1 dropped_spans"),
        (
            replace(GOOD, calls=(replace(CALL, turns=(replace(TURN, e2e_ms=500.0),)),)),
            "differ by 110 ms",
        ),
    ],
)
def test_what_fails_the_run(report: Report, failure: str) -> None:
    """An interruption, orphans, drops and latencies that disagree each fail the whole run."""
    assert not report.passed
    assert any(failure in found for found in report.failures)


@pytest.mark.parametrize(
    "call",
    [
        replace(CALL, failures=("disconnected",)),
        replace(CALL, trace_failures=("no span of op x",)),
        replace(CALL, turns=(replace(TURN, failures=("no reply",)),)),
    ],
)
def test_one_failed_call_fails_the_run(call: CallResult) -> None:
    """A call, a turn or a trace that failed is enough."""
    assert not Report((CALL, call), STATS).passed


def test_word_error_rate_is_over_all_that_was_said() -> None:
    """Wrong words per word said aloud, whatever the spelling; unheard turns count whole."""
    turns = (
        replace(TURN, words="Twenty-five, please!", heard="twenty five please"),
        replace(TURN, words="On Friday", heard="on monday"),
        replace(TURN, words="At seven", heard=""),
        TYPED,
        NOISE,
    )
    assert Report((replace(CALL, turns=turns),), STATS).word_error_rate == pytest.approx(3 / 7)
    assert Report((replace(CALL, turns=(TYPED,)),), STATS).word_error_rate is None


def test_tables_show_what_happened() -> None:
    """Words, latencies, stages, the trace and every failure are on the terminal."""
    failed = replace(
        CALL,
        id="booking-2",
        turns=(TURN, CUTTING, NOISE),
        trace_failures=("no span of op [bold]tts",),
    )
    console = Console(file=io.StringIO(), width=160)
    console.print(render(replace(GOOD, calls=(CALL, failed))))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for part in (
        "booking-1  completed",
        "For which day?",
        "600 ms",
        "610 ms",
        "endpointing 400 · llm 200",
        "where the time went",
        f"trace {'a' * 32} is complete",
        f"trace {'a' * 32} is wrong",
        "trace: no span of op [bold]tts",
        "1 of 2 conversations passed",
        "word error rate 0.0%",
        "0 orphans, 0 drops",
        "agent stopped after 340 ms",
        "agent paused and went on",
        "agent stops when talked over",
        "To see it fail again: parley simulate booking --seed 7",
    ):
        assert part in shown
    _, _, after = shown.partition("1 of 2 conversations passed")
    assert "booking-2: trace: no span of op [bold]tts" in after, "what failed comes last, again"


def test_a_machine_too_busy_to_measure_on_is_named() -> None:
    """Callers that couldn't keep time themselves make the figures mean little: that is said."""
    late = replace(GOOD, calls=(replace(CALL, late_ms=400.0),))
    assert (GOOD.busy, late.busy) == (None, 400.0)
    console = Console(file=io.StringIO(), width=160)
    console.print(render(late))
    assert isinstance(console.file, io.StringIO)
    assert "too busy to tell: callers' own audio left them up to 400 ms" in console.file.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_shown(terminal: bool) -> None:
    """What happens is shown as lines, or as bars on a terminal; words are never markup."""
    console = Console(file=io.StringIO(), width=120, force_terminal=terminal)
    with watch(console) as on_progress:
        on_progress(Progress("booking-1", "booking", 0, 2, "calling"))
        on_progress(Progress("booking-1", "booking", 1, 2, "[/b] a table"))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "1/2" in shown
    assert "[/b] a table" in shown
