"""Two runs side by side.

``report.json`` is what ``parley simulate --at-once 2`` reported of a real run, on a machine that
had more to do. Runs are drawn from it: each stage varies by a tenth or more, the machine stalls now
and then, and a stage is a little slower in one run than in another.
"""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from agent.errors import InputError
from agent.simulator.two_runs import compare_runs, read, run_of
from telemetry.comparison import RESPONSE

if TYPE_CHECKING:
    from telemetry.comparison import Comparison

REPORT: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "report.json").read_text("utf-8")
)
TRIES: Final = 60


def drawn(draw: random.Random, *, spread: float = 0.1, **more: float) -> dict[str, Any]:
    """A run like the real one; ``more`` milliseconds of a stage in each response.

    ``spread`` is the share by which a stage varies, as the standard deviation of its logarithm.
    """
    report = copy.deepcopy(REPORT)
    slower = {stage: draw.gauss(0, 5) for turn in _turns(report) for stage in turn["stages_ms"]}
    for turn in _turns(report):
        if turn["e2e_ms"] is None:
            continue
        stages = {
            stage: max(0.0, ms * draw.lognormvariate(0, spread) + slower[stage])
            for stage, ms in turn["stages_ms"].items()
        }
        if draw.random() < 0.1:
            stages[draw.choice([*stages])] += draw.uniform(50, 500)
        for stage, ms in more.items():
            stages[stage] = stages.get(stage, 0.0) + ms
        turn["stages_ms"] = stages
        turn["e2e_ms"] = turn["measured_ms"] = sum(stages.values())
    return report


def _turns(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [turn for call in report["conversations"] for turn in call["turns"]]


def _compared(before: dict[str, Any], after: dict[str, Any]) -> Comparison:
    return compare_runs(run_of(before), run_of(after))


@pytest.mark.parametrize("spread", [0.1, 0.3])
def test_two_runs_of_one_program_differ_in_nothing(spread: float) -> None:
    """In 19 of 20 tries, on a quiet machine and on a busy one."""
    draw = random.Random(11)
    quiet = sum(
        not _compared(drawn(draw, spread=spread), drawn(draw, spread=spread)).news
        for _ in range(TRIES)
    )
    assert quiet >= 0.95 * TRIES


def test_a_slower_stage_is_named() -> None:
    """With 150 ms more in synthesis: that stage and the response, and no other stage."""
    draw = random.Random(13)
    named = 0
    for _ in range(TRIES):
        found = _compared(drawn(draw), drawn(draw, synthesis=150.0))
        news = {one.measure for one in found.news if one.group is None}
        assert "synthesis" in news
        named += news <= {"synthesis", RESPONSE}
    assert named >= 0.95 * TRIES


def test_a_limit() -> None:
    """Passed by what is slower by more, and surely; in milliseconds or as a share of responses."""
    draw = random.Random(17)
    found = _compared(drawn(draw), drawn(draw, synthesis=400.0))
    passed = [one.measure for one in found.slower_by(200, None) if one.group is None]
    assert passed == [RESPONSE, "synthesis"]
    assert found.slower_by(None, 0.1)
    assert not found.slower_by(900, None)
    assert not found.slower_by(None, 3.0)
    assert not _compared(drawn(draw), drawn(draw)).slower_by(0, None)


def _call(*replies: str, scenario: str = "booking", **more: object) -> dict[str, Any]:
    """A call with these replies; what is in brackets is cut short by the next turn."""
    turns = []
    cut = False
    for reply in replies:
        turns.append(
            {
                "reply": reply.strip("()"),
                "e2e_ms": 100.0,
                "measured_ms": None,
                "stages_ms": {"llm": 100.0},
                "interruption": "stops" if cut else None,
            }
        )
        cut = reply.startswith("(")
    return {"scenario": scenario, "line": "clean", "turns": turns, **more}


def _report(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"conversations": [*calls]}


def test_words_that_nobody_heard_before() -> None:
    """Case and stops don't count, nor what was cut short, nor what another call heard."""
    before = _report(_call("For which day?", "(We are op)", "Yes."), _call("On which day?"))
    after = _report(
        _call("For which day", "(We are open on)", "No."), _call("on which DAY?"), _call("Eh?")
    )
    found = _compared(before, after)
    assert [(one.turn, one.before, one.after) for one in found.changed] == [
        (3, "Yes.", "No."),
        (1, "For which day?", "Eh?"),
    ]
    assert (found.pairs, found.unpaired) == (4, 1)


def test_a_reply_that_is_missing() -> None:
    """In the second run it is news, in the first there is nothing to hold the second against."""
    spoken, silent = _report(_call("Yes.")), _report(_call(""))
    assert [one.after for one in _compared(spoken, silent).changed] == [""]
    assert _compared(silent, spoken).changed == ()


def test_traces_that_have_another_shape() -> None:
    """By scenario; a report without shapes says nothing of them."""
    same = _call("Yes.", shape=["conversation", "conversation > turn"])
    other = _call("Yes.", scenario="manager", shape=["conversation", "conversation > old"])
    new = _call("Yes.", scenario="manager", shape=["conversation", "conversation > new"])
    [found] = _compared(_report(same, other), _report(same, new)).reshaped
    assert (found.scenario, found.gone, found.new) == (
        "manager",
        ("conversation > old",),
        ("conversation > new",),
    )
    assert _compared(_report(_call("Yes.")), _report(same)).reshaped == ()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"conversations": [{"turns": []}]}', "null", "[" * 100_000, "\0"]
)
def test_files_that_are_no_reports(tmp_path: Path, content: str) -> None:
    """One line says which, and what."""
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"report\.json: not a report of `parley simulate"):
        read(path)
    with pytest.raises(InputError, match=r"gone\.json: no such file"):
        read(tmp_path / "gone.json")
