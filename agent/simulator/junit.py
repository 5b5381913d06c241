"""A simulation's report as JUnit XML, for CI systems to read and show.

A test suite for each scenario, a test case for each conversation, and one more for the run as a
whole. The shape is the one that Jenkins (``junit-10.xsd``), GitLab and GitHub's reporters share.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from agent.simulator.report import percentile
from telemetry.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.simulator.report import CallResult, Report

RUN: Final = "run"
"""The suite for failures of no conversation in particular."""


def junit(report: Report) -> str:
    """The report as a JUnit XML document."""
    root = ET.Element("testsuites", name="parley simulate")
    for scenario in dict.fromkeys(call.scenario for call in report.calls):
        calls = tuple(call for call in report.calls if call.scenario == scenario)
        suite = ET.SubElement(root, "testsuite", name=printable(scenario))
        _properties(suite, dataclasses.replace(report, calls=calls))
        for call in calls:
            case = _case(suite, scenario, call.id, call.all_failures, _seconds(call))
            trace = call.trace_id or "none"
            said = printable(f"trace {trace}, seed {call.seed}, line {call.line}")
            ET.SubElement(case, "system-out").text = said
        _count(suite, len(calls), sum(map(_seconds, calls)))
    suite = ET.SubElement(root, "testsuite", name=RUN)
    _properties(suite, report)
    _case(suite, RUN, "as a whole", report.failures)
    _count(suite, 1, 0.0)
    _count(root, len(report.calls) + 1, sum(map(_seconds, report.calls)))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _properties(suite: ET.Element, report: Report) -> None:
    """Add the settings of these conversations, and the figures measured in them."""
    values = {
        "command": report.command or None,
        "seed": report.seed,
        "line": "; ".join(dict.fromkeys(call.line for call in report.calls)) or None,
        "word_error_rate": _rounded(report.word_error_rate, 4),
        "response_p50_ms": _rounded(percentile(report.measured, 50)),
        "response_p95_ms": _rounded(percentile(report.measured, 95)),
        "sentences_with_pauses": report.with_pauses or None,
        "sentences_cut_off": report.cut_off if report.with_pauses else None,
    }
    properties = ET.SubElement(suite, "properties")
    for name, value in values.items():
        if value is not None:
            ET.SubElement(properties, "property", name=name, value=printable(value))


def _case(
    suite: ET.Element, scenario: str, name: str, failures: Sequence[str], seconds: float = 0.0
) -> ET.Element:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=printable(scenario),
        name=printable(name),
        time=f"{seconds:.3f}",
    )
    if failures:
        texts = [printable(text) for text in failures]
        more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
        failure = ET.SubElement(case, "failure", message=texts[0] + more, type="failed")
        failure.text = "\n".join(texts)
    return case


def _seconds(call: CallResult) -> float:
    return call.ended_at - call.started_at


def _count(suite: ET.Element, tests: int, seconds: float) -> None:
    failed = sum(1 for _ in suite.iter("failure"))
    suite.attrib |= {
        "tests": str(tests),
        "failures": str(failed),
        "errors": "0",
        "skipped": "0",
        "time": f"{seconds:.3f}",
    }


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)
