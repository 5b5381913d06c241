"""Which way of finding the end of a turn is best, from the figures of each."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from agent.simulator.tuning import LATE_MS, Trial, as_json, best, recommended, trial
from tests.agent.simulator.results import CALL, CUT_OFF, NOISE, PAUSED, TURN, TYPED

USUAL = Trial(
    environ={"PARLEY_TURN_DETECTION": "words"},
    calls=10,
    turns=100,
    false_ends=0,
    missed_ends=0,
    talk_over_seconds=0.0,
    p50_ms=500.0,
    p95_ms=900.0,
    word_error_rate=0.05,
)


def test_what_a_trial_counts() -> None:
    """Cut off or spoken into is a false end, unanswered or late a missed one; of what was said."""
    late = replace(TURN, measured_ms=LATE_MS + 1)
    missed = replace(TURN, measured_ms=None, missed=True)
    unsaid = replace(TURN, voiced_until=None, measured_ms=None, missed=True)
    noise = replace(NOISE, voiced_until=1.0)
    turns = (TURN, PAUSED, replace(CUT_OFF, spurious=1), noise, late, missed, unsaid, TYPED)
    found = trial({"A": "b"}, [replace(CALL, turns=turns, talk_over_ms=250.0), CALL])
    assert (found.calls, found.turns) == (2, 7)
    assert (found.false_ends, found.missed_ends) == (2, 2)
    assert found.talk_over_seconds == 0.25
    assert (found.p50_ms, found.word_error_rate) == (610, 0)
    assert found.p95_ms is not None
    assert 610 < found.p95_ms < LATE_MS + 1
    nothing = trial({}, [])
    assert (nothing.turns, nothing.p50_ms, nothing.word_error_rate) == (0, None, None)


def test_the_best_are_those_that_none_beats() -> None:
    """Who is quicker and cuts off more is among them, who is slower and no safer isn't."""
    quick = replace(USUAL, p50_ms=300.0, p95_ms=600.0, false_ends=9)
    slow = replace(USUAL, p50_ms=900.0)
    deaf = replace(USUAL, p50_ms=None, p95_ms=None)
    safe_in_half = replace(USUAL, turns=50, p50_ms=700.0, false_ends=0)
    assert best([slow, quick, USUAL, deaf, safe_in_half]) == [quick, USUAL]
    assert best([]) == best([deaf]) == []


def test_a_frame_more_or_less_is_no_difference() -> None:
    """Two that differ by what the audio can't tell are as good as each other."""
    assert best([USUAL, replace(USUAL, p50_ms=505.0)]) == [USUAL, replace(USUAL, p50_ms=505.0)]


@pytest.mark.parametrize(
    ("other", "wins"),
    [
        ({"p50_ms": 300.0, "p95_ms": 500.0}, True),
        ({"p50_ms": 300.0, "p95_ms": 500.0, "false_ends": 1}, False),
        ({"p50_ms": 300.0, "p95_ms": 500.0, "missed_ends": 1}, False),
        ({"p50_ms": 480.0, "p95_ms": 2000.0}, False),
        ({"word_error_rate": 0.01, "talk_over_seconds": 3.0}, False),
    ],
)
def test_nobody_cut_off_goes_before_a_short_wait(other: dict[str, float], wins: bool) -> None:
    """The fewest false and missed ends first, then latency, in the worst cases too; else order."""
    changed = replace(USUAL, **other)  # type: ignore[arg-type]
    assert recommended([USUAL, changed]) == (changed if wins else USUAL)
    assert recommended([]) is None


def test_json_has_all_figures() -> None:
    """What the table shows, and the recommendation as variables; null where there is none."""
    slow = replace(USUAL, environ={"PARLEY_TURN_DETECTION": "vad"}, p50_ms=900.04)
    written = json.loads(json.dumps(as_json([slow, USUAL])))
    assert written["recommended"] == {"PARLEY_TURN_DETECTION": "words"}
    assert written["trials"][0] == {
        "settings": {"PARLEY_TURN_DETECTION": "vad"},
        "best": False,
        "calls": 10,
        "turns": 100,
        "false_ends": 0,
        "missed_ends": 0,
        "talk_over_seconds": 0.0,
        "response_ms": {"p50": 900.0, "p95": 900.0},
        "word_error_rate": 0.05,
    }
    assert written["trials"][1]["best"]
    assert as_json([]) == {"recommended": None, "trials": []}
    assert USUAL.settings == "PARLEY_TURN_DETECTION=words"


def test_what_is_to_be_unset_is_named() -> None:
    """An empty setting isn't one to set: the sentence says to unset it, JSON has it empty."""
    environ = {"PARLEY_TURN_DETECTION": "words", "PARLEY_A": "", "PARLEY_B": ""}
    changed = replace(USUAL, environ=environ)
    assert changed.settings == "PARLEY_TURN_DETECTION=words, with PARLEY_A and PARLEY_B unset"
    assert as_json([changed])["recommended"] == environ
