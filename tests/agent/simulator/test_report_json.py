"""The JSON report: the contract with whoever reads it."""

from __future__ import annotations

import json
from dataclasses import replace

from agent.simulator.report_json import as_json
from tests.agent.simulator.results import (
    CALL,
    CUT_OFF,
    CUTTING,
    GOOD,
    NOISE,
    PAUSED,
    STATS,
    TURN,
    TYPED,
)


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


def test_json_report_tells_who_was_cut_off() -> None:
    """Pauses, and turns that one of them was taken for the end of, are in the JSON."""
    call = replace(CALL, turns=(TURN, PAUSED, CUT_OFF))
    written = json.loads(json.dumps(as_json(replace(GOOD, calls=(call,)))))
    assert (written["sentences_cut_off"], written["sentences_with_pauses"]) == (1, 2)
    turns = written["conversations"][0]["turns"]
    assert [turn["pauses_ms"] for turn in turns] == [[], [612], [310, 588]]
    assert [turn["cut_off"] for turn in turns] == [False, False, True]
