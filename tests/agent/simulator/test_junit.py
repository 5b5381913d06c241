"""What CI systems are told of a simulation."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from xml.etree import ElementTree as ET

from agent.session.line import Outcome
from agent.simulator.junit import junit
from agent.simulator.report import CallResult, Report, TurnResult

TURN: Final = TurnResult(
    caller="A table for four, please.",
    kind="spoken",
    words="A table for four, please.",
    heard="A table for for please",
    voiced_until=100.0,
    measured_ms=610.0,
)
CALL: Final = CallResult(
    "booking-1",
    "booking",
    "a" * 32,
    Outcome.COMPLETED,
    (TURN, replace(TURN, measured_ms=810.0)),
    seed=7,
    line="snr=20",
    started_at=1000.0,
    ended_at=1021.5,
)
OTHER: Final = replace(CALL, id="typed-2", scenario="typed", turns=())
GOOD: Final = Report(
    (CALL, OTHER, replace(CALL, id="booking-3")),
    {"orphan_spans": 0, "dropped_spans": 0, "faults": 0},
    seed=7,
    command="parley simulate --seed 7",
)

CHILDREN: Final = {
    "testsuites": ["testsuite"],
    "testsuite": ["properties", "testcase"],
    "properties": ["property"],
    "property": [],
    "testcase": ["failure", "system-out"],
    "failure": [],
    "system-out": [],
}
"""What each element of Jenkins' ``junit-10.xsd`` that we write may hold, in this order."""
ATTRIBUTES: Final = {
    "testsuites": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time"},
    "property": {"name", "value"},
    "testcase": {"classname", "name", "time"},
    "failure": {"message", "type"},
}
"""The attributes of each, all of them given."""


def written(report: Report) -> ET.Element:
    """The report read back, its shape checked."""
    root = ET.fromstring(junit(report))  # noqa: S314 - our own
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.attrib) == ATTRIBUTES.get(element.tag, set())
        order = [CHILDREN[element.tag].index(child.tag) for child in element]
        assert order == sorted(order)
    for suite in [root, *root.findall("testsuite")]:
        cases = list(suite.iter("testcase"))
        assert int(suite.attrib["tests"]) == len(cases)
        failed = sum(case.find("failure") is not None for case in cases)
        assert int(suite.attrib["failures"]) == failed
        assert float(suite.attrib["time"]) == sum(float(case.attrib["time"]) for case in cases)
    return root


def properties(suite: ET.Element) -> dict[str, str]:
    return {each.attrib["name"]: each.attrib["value"] for each in suite.iter("property")}


def test_a_suite_for_each_scenario_and_a_case_for_each_conversation() -> None:
    """Conversations are with their scenario, however they were dealt; the run has a suite too."""
    root = written(GOOD)
    cases = {
        suite.attrib["name"]: [case.attrib["name"] for case in suite.iter("testcase")]
        for suite in root
    }
    assert cases == {
        "booking": ["booking-1", "booking-3"],
        "typed": ["typed-2"],
        "run": ["as a whole"],
    }
    assert root.attrib["failures"] == "0"
    assert root.attrib["time"] == "64.500"
    (told,) = {out.text for out in root.iter("system-out")}
    assert told == f"trace {'a' * 32}, seed 7, line snr=20"


def test_what_was_measured_is_in_the_properties() -> None:
    """How to run it again, word error rate and latency, of each scenario's conversations only."""
    booking, typed, _ = written(GOOD)
    assert properties(booking) == {
        "command": "parley simulate --seed 7",
        "seed": "7",
        "line": "snr=20",
        "word_error_rate": "0.2",
        "response_p50_ms": "710.0",
        "response_p95_ms": "810.0",
    }
    assert properties(typed) == {
        "command": "parley simulate --seed 7",
        "seed": "7",
        "line": "snr=20",
    }


def test_who_was_cut_off_is_in_the_properties() -> None:
    """The sentences with pauses, and those cut off, where there are any with pauses."""
    paused = replace(TURN, pauses_ms=(600,))
    call = replace(CALL, turns=(TURN, paused, replace(paused, cut_off=True)))
    booking, run = written(replace(GOOD, calls=(call,)))
    for suite in (booking, run):
        found = properties(suite)
        assert (found["sentences_cut_off"], found["sentences_with_pauses"]) == ("1", "2")


def test_each_failure_says_where_it_is() -> None:
    """The call's, the turns' and the trace's failures are all in the text, the first in front."""
    bad = replace(
        CALL,
        failures=("the call did not end",),
        turns=(TURN, replace(TURN, failures=("the reply \"<&>\" does not match 'x'",))),
        trace_failures=("no span of op tts.synthesize",),
    )
    booking, run = written(replace(GOOD, calls=(CALL, bad)))
    (failure,) = booking.iter("failure")
    assert failure.attrib["message"] == "the call did not end (and 2 more)"
    assert failure.text == (
        "the call did not end\n"
        "turn 2: the reply \"<&>\" does not match 'x'\n"
        "trace: no span of op tts.synthesize"
    )
    assert run.find(".//failure") is None


def test_what_fails_the_run_fails_a_case() -> None:
    """A run that failed although each conversation passed is red."""
    root = written(replace(GOOD, stats={"orphan_spans": 2, "dropped_spans": 0, "faults": 0}))
    (failure,) = root.iter("failure")
    assert failure.text == "2 orphan_spans"


def test_no_words_make_it_unreadable() -> None:
    """What XML can't hold is replaced: a report is read whatever was said."""
    bad = replace(CALL, failures=("heard \x00\x1b[31m\ud800 and \N{GRINNING FACE}",))
    (failure,) = written(replace(GOOD, calls=(bad,))).iter("failure")
    assert failure.text == r"heard \x00\x1b[31m\ud800 and " + "\N{GRINNING FACE}"


def test_a_run_without_calls_is_a_document() -> None:
    """An interrupted run that made no call still has its suite, and failed."""
    (run,) = written(replace(GOOD, calls=(), interrupted=True))
    assert run.attrib["failures"] == "1"
