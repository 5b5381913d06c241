"""What a report computes, and what fails it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.simulator.report import CallResult, Report
from tests.agent.simulator.results import CALL, GOOD, NOISE, STATS, TURN, TYPED


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
