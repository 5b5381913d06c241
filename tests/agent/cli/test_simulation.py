"""A run's reports are written whatever becomes of its output; a place that can't be is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from agent.cli.simulation import Files
from agent.simulator import ScenarioError
from tests.agent.simulator.results import CALL, GOOD

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("no/report.json", "there is no folder"),
        ("folder", "it is a folder: name a file in it"),
        ("/proc/report.json", "it can't be written"),
        ("/proc/1/report.json", "it can't be written"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_the_run(
    tmp_path: Path, path: str, said: str
) -> None:
    """One line: the option, the path, the way to mend it."""
    (tmp_path / "folder").mkdir()
    for option in ("report", "junit"):
        with pytest.raises(ScenarioError, match=said) as refused:
            Files(**{option: tmp_path / path}).check()
        assert str(refused.value).startswith(f"--{option} ")
        assert "\n" not in str(refused.value)
    Files(report=tmp_path / "report.json").check()
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_one_that_fails_leaves_the_other(tmp_path: Path) -> None:
    """On a full disk: the report that can be written is, and the other is told of."""
    files = Files(report=Path("/dev/full"), junit=tmp_path / "junit.xml")
    files.check()
    [problem] = files.write(GOOD)
    assert problem.startswith("--report /dev/full: it can't be written: no space left on device")
    assert ET.parse(tmp_path / "junit.xml").getroot().tag == "testsuites"  # noqa: S314 - our own


def test_words_that_no_encoding_has_are_written(tmp_path: Path) -> None:
    """Half of a surrogate pair, which JSON can carry, is no reason to lose the report."""
    files = Files(report=tmp_path / "report.json", junit=tmp_path / "junit.xml")
    failed = replace(CALL, failures=("it said \ud83d",))
    assert files.write(replace(GOOD, calls=(failed,), command="\ud83d")) == []
    assert "it said" in (tmp_path / "report.json").read_text()
    assert "it said" in (tmp_path / "junit.xml").read_text()


SURROUNDINGS = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "ftp://127.0.0.1:9",
    "NO_PROXY": "example.com",
    "PYTHONIOENCODING": "ascii",
    "TERM": "dumb",
    "COLUMNS": "1",
    "TZ": "Nowhere/At_All",
    "LC_ALL": "C",
    "PYTHONHASHSEED": "7",
    "OTHER": "x" * 100_000,
}


def _start(folder: Path, output: int) -> subprocess.Popen[str]:
    environ = {name: value for name, value in os.environ.items() if name != "HOME"}
    folder.mkdir()
    return subprocess.Popen(
        [
            *(sys.executable, "-c", "from agent.cli import main; main()", "simulate", "typed"),
            *("--report", "report.json", "--junit", "junit.xml"),
        ],
        cwd=folder,
        env={**environ, "PYTHONPATH": str(ROOT), **SURROUNDINGS},
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_in_bad_surroundings(tmp_path: Path) -> None:
    """Proxies that aren't there, a terminal that can't show it, no home, nobody who reads or a full
    disk: the verdict holds, and the reports are there. An output that is lost alone fails it."""
    ours, unread = os.pipe()
    os.close(ours)
    with open("/dev/full", "wb") as full:
        runs = [_start(tmp_path / "unread", unread), _start(tmp_path / "full", full.fileno())]
    os.close(unread)
    said = [running.communicate(timeout=55)[1] for running in runs]
    for folder, error in zip(("unread", "full"), said, strict=True):
        report = json.loads((tmp_path / folder / "report.json").read_text())
        assert report["passed"], (report, error)
        junit = ET.parse(tmp_path / folder / "junit.xml").getroot()  # noqa: S314 - our own
        assert junit.get("failures") == "0"
    assert [running.returncode for running in runs] == [0, 1]
    assert (said[0], said[1].count("\n")) == ("", 1)
    assert "no space left on device" in said[1]


HISTORY = """
name: history
description: Says hello.
turns:
  - text: hello
"""


@pytest.mark.parametrize(
    ("agent", "failures"),
    [
        ("tests.agent.quoting:QuotingAgent", []),
        (
            "tests.agent.unsaid:Unsaid",
            [
                "it differs from the session's history: "
                "no turn has what the assistant said: 'Anything else?'"
            ],
        ),
    ],
)
def test_a_trace_that_differs_from_the_history(
    tmp_path: Path, agent: str, failures: list[str]
) -> None:
    """The call fails, and one line says what differs."""
    (tmp_path / "history.yaml").write_text(HISTORY)
    arguments = ["simulate", "history.yaml", "--callers", "1", "--report", "report.json"]
    done = subprocess.run(
        [Path(sys.executable).with_name("parley"), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PARLEY_AGENT": agent},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    [call] = json.loads((tmp_path / "report.json").read_text())["conversations"]
    assert call["trace_failures"] == failures, done.stdout + done.stderr
    assert done.returncode == bool(failures)
