"""Whatever is behind stdout and stderr: what can be shown is, and nothing ends in a traceback."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

import telemetry
from telemetry.attributes import AGENT_WORDS, OP_TURN
from tests.agent.cli import on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
WORDS = "“Müller\u2019s” — naïve · 9 → 10 … 🍕"
SHOW = ("traces", "show")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a trace store."""
    folder = tmp_path_factory.mktemp("work")
    with (
        telemetry.init(store=folder / "traces.db"),
        telemetry.conversation("call", id="c-1"),
        telemetry.span(OP_TURN, "turn 0", attributes={AGENT_WORDS: WORDS}),
        telemetry.span("inner", "within"),
    ):
        pass
    return folder


def _parley(
    folder: Path,
    *arguments: str,
    stdout: IO[Any] | int = subprocess.PIPE,
    stderr: IO[Any] | int = subprocess.PIPE,
    closed: str = "",
    environ: dict[str, str] | None = None,
) -> tuple[int, bytes, bytes]:
    """Run a command; ``closed`` are streams that the shell closes, as in ``>&-``."""
    command = f'exec "$0" -c "from agent.cli import main; main()" "$@" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **(environ or {})},
        stdout=stdout,
        stderr=stderr,
        check=False,
        timeout=50,
    )
    return done.returncode, done.stdout or b"", done.stderr or b""


# -- encodings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", '"Muller\'s" - naive * 9 -> 10 ... ?'),
        ("ascii:strict", '"Muller\'s" - naive * 9 -> 10 ... ?'),
        ("latin-1", '"Müller\'s" - naïve · 9 -> 10 ... ?'),
        ("cp1252", "“Müller\u2019s” — naïve · 9 -> 10 … ?"),
        ("cp437", '"Müller\'s" - naïve · 9 -> 10 ... ?'),
        ("utf-8:strict", WORDS),
    ],
)
def test_an_encoding_shows_what_it_has(folder: Path, encoding: str, shown: str) -> None:
    """Characters that it doesn't have are written as their nearest."""
    code, output, error = _parley(folder, *SHOW, environ={"PYTHONIOENCODING": encoding})
    assert (code, error) == (0, b"")
    text = output.decode(encoding.partition(":")[0])
    assert f'agent "{shown}"' in text
    tree = {"utf-8:strict": "└─ inner", "cp437": "└─ inner"}.get(encoding, "+- inner")
    assert tree in text


def test_a_locale_without_utf_8(folder: Path) -> None:
    """LC_ALL=C, as cron and old containers have it."""
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    code, output, error = _parley(folder, *SHOW, environ=plain)
    assert (code, error) == (0, b"")
    assert b'"Muller\'s"' in output
    code, _, error = _parley(folder, "simulate", "künstlich", environ=plain)
    assert (code, error.count(b"\n"), b"unknown scenario" in error) == (2, 1, True)


@pytest.mark.parametrize("arguments", [("--help",), ("simulate", "--help"), ("nonsense",)])
def test_typers_own_words_can_be_shown(folder: Path, arguments: tuple[str, ...]) -> None:
    """Help and usage errors, with their boxes."""
    code, output, error = _parley(folder, *arguments, environ={"PYTHONIOENCODING": "ascii"})
    assert code == (2 if arguments == ("nonsense",) else 0)
    assert b"Traceback" not in error
    (output or error).decode("ascii")


# -- streams that can't be written -----------------------------------------------------------------


@contextlib.contextmanager
def _reader_gone() -> Iterator[int]:
    """A pipe that nobody reads."""
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        yield theirs
    finally:
        os.close(theirs)


EVERYTHING = [
    SHOW,
    ("traces", "list"),
    ("simulate", "--schema"),
    ("simulate", "--help"),
    ("--help",),
]


@pytest.mark.parametrize("arguments", EVERYTHING, ids=" ".join)
def test_a_reader_may_leave(folder: Path, arguments: tuple[str, ...]) -> None:
    """`parley traces show | head -1`: it has read what it wanted; all is well."""
    with _reader_gone() as pipe:
        assert _parley(folder, *arguments, stdout=pipe) == (0, b"", b"")


@pytest.mark.parametrize("arguments", EVERYTHING, ids=" ".join)
def test_a_full_disk_is_one_line(folder: Path, arguments: tuple[str, ...]) -> None:
    """What was asked for isn't there: that is said, and not taken for success."""
    with open("/dev/full", "wb") as full:
        code, _, error = _parley(folder, *arguments, stdout=full)
    assert code == 1
    assert error.startswith(b"parley: the output can't be written: no space left on device")
    assert error.count(b"\n") == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_may_be_closed(folder: Path, closed: str) -> None:
    """As a daemon has them: the exit codes are what they are otherwise."""
    assert _parley(folder, *SHOW, closed=closed)[0] == 0
    code, _, error = _parley(folder, "traces", "show", "nobody", closed=closed)
    assert (code, b"Traceback" in error) == (2, False)


def test_an_error_that_cannot_be_told_has_its_exit_code(folder: Path) -> None:
    """The line of text is lost on a full disk, or with a reader that left; 2 stays 2."""
    with open("/dev/full", "wb") as full:
        assert _parley(folder, "simulate", "nobody", stderr=full)[0] == 2
    with _reader_gone() as pipe:
        assert _parley(folder, "simulate", "nobody", stderr=pipe)[0] == 2


def test_a_pipe_that_makes_nobody_wait(folder: Path) -> None:
    """Written to without waiting, as node has its pipes: nothing is lost if the reader is slow."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    program = "from agent.cli import terminal; terminal.adapt(); print('x' * 1_000_000)"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=theirs, stderr=subprocess.PIPE
    ) as running:
        os.close(theirs)
        with os.fdopen(ours, "rb") as reader:
            read = reader.read()
        _, error = running.communicate(timeout=30)
    assert (len(read), error) == (1_000_001, b"")


# -- terminals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("environ", [{"COLUMNS": "1"}, {"TERM": "dumb"}, {"TERM": "nonsense"}])
def test_a_narrow_or_dumb_terminal(folder: Path, environ: dict[str, str]) -> None:
    """No column is left out, however narrow; nothing that a terminal doesn't understand."""
    told = {**os.environ, "TERM": "xterm", **environ}
    shown = on_terminal.shown(folder, "traces", "list", environ=told, errors=True)
    assert b"c-1" in shown
    assert b"Traceback" not in shown
