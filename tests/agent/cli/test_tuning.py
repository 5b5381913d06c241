"""``parley tune``: its grid, a small one from end to end, and one that is broken off."""

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


def test_every_combination_is_a_way() -> None:
    """Lists with commas and repeated options are one; without any, words and vad are tried."""
    given = grid(["words, vad"], ["0.3", "0.5"], ["2"])
    assert given == tuple(
        Way(detection, least, 2.0) for detection in ("words", "vad") for least in (0.3, 0.5)
    )
    usual = grid([], [], [])
    assert {way.detection for way in usual} == {"words", "vad"}
    assert Way("words") in usual
    assert len(usual) == len(set(usual)) < 10
    assert grid(["vad", "vad"], ["0.5,0.5"], []) == (Way("vad", 0.5),)
    assert grid(["model"], [], [])[0] == Way("model")


def test_a_longest_delay_shorter_than_the_least_is_left_out() -> None:
    """Where no combination is left, that is said."""
    assert grid(["vad"], ["0.5", "3"], ["2"]) == (Way("vad", 0.5, 2.0),)
    with pytest.raises(InputError, match="each --max-delay is shorter than each --min-delay"):
        grid(["vad"], ["3"], ["2"])


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


def test_a_way_is_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that are recommended make the settings that were tried."""
    for way in (Way("vad", 0.35), Way("words", None, 2.5), Way("model")):
        applied = way.applied(load(turn_detection="words", endpointing_min_delay=0.9))
        with monkeypatch.context() as patched:
            for name, value in way.environ.items():
                patched.setenv(name, value)
            assert load() == applied
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


def test_what_is_measured_is_shown_when_it_is_broken_off(tmp_path: Path) -> None:
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
    while "2 of 2" not in told:
        told += running.stderr.readline()
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=40)
    assert running.returncode == 1
    assert "Interrupted: 1 of 2 were measured." in said
    assert "Nothing can be recommended: no turn was answered." in said
    tuned = json.loads((tmp_path / "tuned.json").read_text())
    assert [each["calls"] for each in tuned["trials"]] == [1]
    assert tuned["recommended"] is None


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
