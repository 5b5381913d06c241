"""``parley tune``: its grid, a small one from end to end, and those that end early or fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.tuning import Way, grid
from agent.errors import InputError
from config import load, scenario_files
from tests.agent.cli.fast_agent import SETTINGS

PARLEY = Path(sys.executable).with_name("parley")
AUDIO = scenario_files()[0].parent / "audio"
MONDAY = f"""
name: monday
turns:
  - say: {AUDIO / "opening_hours-1.wav"}
    words: Are you open on Monday?
    expect: {{reply: closed on Mondays}}
"""
TYPED = "name: typed\nturns: [text: hello, text: goodbye]\n"
AT_TIMES = """
import itertools

from tests.agent.cli.fast_agent import FastAgent

RUNS = itertools.count(1)


class AtTimes(type):
    @property
    def resources(cls):
        if next(RUNS) == 2:
            raise RuntimeError("not this time")
        raise AttributeError


class Agent(FastAgent, metaclass=AtTimes):
    pass
"""
"""An agent of whose second run nobody expects what it raises."""


def test_every_combination_is_a_way() -> None:
    """Lists with commas and repeated options are one; without any, words and vad are tried."""
    given = grid(["words, model"], ["0.3", "0.5"], ["2"])
    assert given == tuple(
        Way(detection, least, 2.0) for detection in ("words", "model") for least in (0.3, 0.5)
    )
    usual = grid([], [], [])
    assert {way.detection for way in usual} == {"words", "vad"}
    assert Way("words") in usual
    assert len(usual) == len(set(usual)) < 10
    assert grid(["vad", "vad"], ["0.5,0.5"], []) == (Way("vad", 0.5),)
    assert grid(["model"], [], [])[0] == Way("model")


def test_a_longest_delay_shorter_than_the_least_is_left_out() -> None:
    """Where no combination is left, that is said."""
    assert grid(["words"], ["0.5", "3"], ["2"]) == (Way("words", 0.5, 2.0),)
    with pytest.raises(InputError, match="each --max-delay is shorter than each --min-delay"):
        grid(["words"], ["3"], ["2"])


def test_a_longest_delay_is_not_tried_where_it_changes_nothing() -> None:
    """With vad nobody says that more is to come; it is the limit of a dynamic delay, though."""
    assert grid(["vad"], ["0.5"], ["1", "2"]) == (Way("vad", 0.5),)
    assert grid(["vad"], ["3"], ["2"]) == (Way("vad", 3.0),)
    both = (Way("words", 0.5, 1.0), Way("words", 0.5, 2.0), Way("vad", 0.5))
    assert grid(["words", "vad"], ["0.5"], ["1,2"]) == both
    limited = (Way("vad", 0.5, 1.0), Way("vad", 0.5, 2.0))
    assert grid(["vad"], ["0.5"], ["1", "2"], dynamic=True) == limited


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ((["word"], [], []), "--detection 'word' should be one of words, model, vad"),
        (([], ["0.3,"], []), "--min-delay '' should be seconds, more than 0 and at most 10"),
        (([], ["soon"], []), "--min-delay 'soon' should be seconds, more than 0 and at most 10"),
        (([], [], ["11"]), "--max-delay '11' should be seconds, more than 0 and at most 10"),
        (([], [], ["nan"]), "--max-delay 'nan' should be seconds, more than 0 and at most 10"),
    ],
)
def test_mistakes_are_one_line(options: tuple[list[str], ...], error: str) -> None:
    """The option, the value, what it should be."""
    with pytest.raises(InputError) as refused:
        grid(*options)
    assert str(refused.value) == error


@pytest.mark.parametrize("way", [Way("vad", 0.35), Way("words", None, 2.5), Way("model")])
@pytest.mark.parametrize("already", [{}, {"MIN": "0.8"}, {"MIN": "0.8", "MAX": "2.2"}])
def test_a_way_is_settings(
    way: Way, already: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables that are recommended make the settings that were tried, also beside those that
    the operator has."""
    for name, value in already.items():
        monkeypatch.setenv(f"PARLEY_ENDPOINTING_{name}_DELAY", value)
    settings = load()
    applied = way.applied(settings)
    for name, value in way.environ(settings).items():
        monkeypatch.setenv(name, value)
    assert load() == applied


def test_only_what_the_operator_has_set_is_to_be_unset() -> None:
    """Variables that aren't there aren't named."""
    detection = {"PARLEY_TURN_DETECTION": "vad"}
    assert Way("vad").environ(load()) == detection
    assert Way("vad").environ(load(endpointing_min_delay=0.8)) == {
        **detection,
        "PARLEY_ENDPOINTING_MIN_DELAY": "",
    }
    assert str(Way("vad", 0.35, 2.0)) == "vad, at least 0.35 s, at most 2 s"


@pytest.mark.realtime
@pytest.mark.timeout(180)  # a process that loads the models for each way
def test_a_small_grid(tmp_path: Path) -> None:
    """Each way is tried on the line; the table, one sentence and the file say what came of it."""
    (tmp_path / "monday.yaml").write_text(MONDAY)
    options = ["--detection", "words,vad", "--min-delay", "0.4", "--line", "snr=30"]
    done = subprocess.run(
        [PARLEY, "tune", "monday.yaml", *options, "--repeat", "2", "--json", "tuned.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tuned = json.loads((tmp_path / "tuned.json").read_text())
    assert [each["settings"] for each in tuned["trials"]] == [
        {"PARLEY_TURN_DETECTION": detection, "PARLEY_ENDPOINTING_MIN_DELAY": "0.4"}
        for detection in ("words", "vad")
    ]
    assert [(each["calls"], each["turns"]) for each in tuned["trials"]] == [(2, 2), (2, 2)]
    assert any(each["best"] for each in tuned["trials"])
    wanted = " ".join(f"{name}={value}" for name, value in tuned["recommended"].items())
    assert f"Recommended: {wanted} (" in done.stdout
    assert "1 of 2: words, at least 0.4 s, line snr=30: 2 calls" in done.stderr


@pytest.mark.parametrize(
    ("measured", "interrupted", "why"),
    [
        (1, "Interrupted: 1 of 2 were measured.", "no turn was answered"),
        (0, "Interrupted: 0 of 2 were measured.", "nothing was measured"),
    ],
)
def test_what_is_measured_is_shown_when_it_is_broken_off(
    tmp_path: Path, measured: int, interrupted: str, why: str
) -> None:
    """Ctrl-C hangs up; the ways tried by then are in the table and in the file."""
    (tmp_path / "typed.yaml").write_text(TYPED)
    running = subprocess.Popen(
        [PARLEY, "tune", "typed.yaml", "--min-delay", "0.4", "--json", "tuned.json"],
        cwd=tmp_path,
        env={**os.environ, **SETTINGS},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    told = ""
    while f"{measured + 1} of 2" not in told:
        told += running.stderr.readline()
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=40)
    assert running.returncode == 1
    assert interrupted in said
    assert f"Nothing can be recommended: {why}." in said
    tuned = json.loads((tmp_path / "tuned.json").read_text())
    assert [each["calls"] for each in tuned["trials"]] == [1] * measured
    assert tuned["recommended"] is None
    assert tuned["failed"] == {}


def test_a_way_that_fails_takes_nothing_from_the_others(tmp_path: Path) -> None:
    """One line says why; what came before it and after it is in the table and in the file."""
    (tmp_path / "typed.yaml").write_text(TYPED)
    (tmp_path / "at_times.py").write_text(AT_TIMES)
    done = _tuned(tmp_path, "--min-delay", "0.3,0.4,0.5", PARLEY_AGENT="at_times:Agent")
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if ": 1 calls" not in line]
    (line,) = lines
    assert line.startswith("vad, at least 0.4 s: RuntimeError: not this time ("), line
    assert line.endswith("at_times.py:13)"), line
    assert "Failed: 1 of 3." in done.stdout
    assert "Interrupted" not in done.stdout
    assert "Nothing can be recommended: no turn was answered." in done.stdout
    tuned = json.loads((tmp_path / "tuned.json").read_text())
    least = [each["settings"]["PARLEY_ENDPOINTING_MIN_DELAY"] for each in tuned["trials"]]
    assert least == ["0.3", "0.5"]
    assert list(tuned["failed"]) == ["vad, at least 0.4 s"]
    assert "not this time" in tuned["failed"]["vad, at least 0.4 s"]


def test_input_that_no_way_can_use_is_an_error(tmp_path: Path) -> None:
    """Each way is told of, and the exit code is 2."""
    (tmp_path / "typed.yaml").write_text(TYPED)
    done = _tuned(tmp_path, "--min-delay", "0.3,0.5", PARLEY_STT="plugin:nobody")
    assert done.returncode == 2, done.stdout + done.stderr
    *told, last = done.stderr.splitlines()
    assert [line.partition(": ")[0] for line in told] == [
        f"vad, at least {least} s" for least in ("0.3", "0.5")
    ]
    assert last == "parley: none of it could be tried: see above"
    assert "Nothing can be recommended: nothing was measured." in done.stdout


def _tuned(folder: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PARLEY, "tune", "typed.yaml", "--detection", "vad", "--json", "tuned.json", *options],
        cwd=folder,
        env={**os.environ, **SETTINGS, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def test_a_file_that_cannot_be_written_is_told_before_the_runs(tmp_path: Path) -> None:
    """One line, and exit code 2."""
    done = subprocess.run(
        [PARLEY, "tune", "typed", "--json", "no/tuned.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("parley: --json no/tuned.json: there is no folder no")
