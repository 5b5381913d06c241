"""Bad surroundings, by the dozen: nothing ends in a traceback, and what can be done is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import telemetry

ROOT: Final = Path(__file__).parents[3]
NOWHERE: Final = "/dev/null/nowhere"
SCENARIO: Final = """\
name: short
outcome: completed
turns:
  - text: No, that's all. Thanks!
    expect: {reply: goodbye, tool: end_call}
"""
CERTIFICATES: Final = {
    "SSL_CERT_FILE": f"{NOWHERE}.pem",
    "SSL_CERT_DIR": NOWHERE,
    "REQUESTS_CA_BUNDLE": f"{NOWHERE}.pem",
    "CURL_CA_BUNDLE": f"{NOWHERE}.pem",
    "SSLKEYLOGFILE": NOWHERE,
}
HARMLESS: Final = {
    # folders
    "HOME": "/dev/null",
    "TMPDIR": NOWHERE,
    "XDG_CACHE_HOME": "/dev/null",
    "XDG_CONFIG_HOME": NOWHERE,
    "XDG_DATA_HOME": "",
    "XDG_RUNTIME_DIR": "::",
    # languages, times and people
    "LC_ALL": "xx_YY.nonsense",
    "LANGUAGE": "zz",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "TZ": ":/dev/null",
    "USER": "",
    "LOGNAME": "",
    # terminals
    "COLUMNS": "wide",
    "LINES": "-3",
    "TERM": "nonsense",
    "TERMINAL_WIDTH": "0",
    "FORCE_COLOR": "1",
    "NO_COLOR": "1",
    # Python
    "PYTHONWARNINGS": "error",
    # others'
    "OPENSSL_CONF": NOWHERE,
}
"""Variables that may have any value, all of them wrong at once."""
START: Final = "from agent.cli import main; main()"
IN_1970: Final = f"import time; now = time.time; time.time = lambda: now() % 86_400; {START}"


def _start(
    folder: Path,
    *arguments: str,
    environ: dict[str, str],
    before: str = "",
    after: str = "",
    start: str = START,
) -> subprocess.Popen[str]:
    """A command, by a shell that does something ``before``, and redirects its streams ``after``."""
    folder.mkdir(exist_ok=True)
    (folder / "short.yaml").write_text(SCENARIO)
    clean = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return subprocess.Popen(
        ["sh", "-c", f'{before} exec "$0" -c "$START" "$@" {after}', sys.executable, *arguments],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(ROOT), "START": start, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def test_a_call_is_held_in_all_of_them(tmp_path: Path) -> None:
    """Two runs beside each other, each in many; one line tells of the certificates."""
    simulate = ("simulate", "short.yaml", "--report", "report.json")
    runs = {
        "variables": _start(
            tmp_path / "variables", *simulate, environ=HARMLESS | CERTIFICATES, after="<&-"
        ),
        "process": _start(
            tmp_path / "process",
            *simulate,
            environ={"PARLEY_TRACE_STORE": "new/folder/traces.db"},
            before="ulimit -n 100; ulimit -S -n 20; trap '' PIPE;",
            after="2>/dev/full",
            start=IN_1970,
        ),
    }
    said = {name: running.communicate(timeout=55) for name, running in runs.items()}
    for name, running in runs.items():
        assert running.returncode == 0, said[name]
        assert "Traceback" not in "".join(said[name])
        assert json.loads((tmp_path / name / "report.json").read_text())["passed"]
    warned = [line for line in said["variables"][1].splitlines() if line.startswith("parley:")]
    assert [line.split()[2] for line in warned] == ["SSL_CERT_FILE", "SSLKEYLOGFILE"]
    assert (tmp_path / "process" / "new" / "folder" / "traces.db").is_file()


def test_what_there_is_to_know_is_told_in_all_of_them(tmp_path: Path) -> None:
    """Help without docstrings, and what is in the store."""
    with telemetry.init(store=tmp_path / "traces.db"), telemetry.conversation("call", id="c-1"):
        pass
    environ = HARMLESS | CERTIFICATES | {"PYTHONOPTIMIZE": "2"}
    commands = {
        ("--help",): "parley simulate",
        ("simulate", "--help"): "report",
        ("traces", "list"): "c-1",
        ("traces", "show"): "c-1",
    }
    widths = ("0", "wide", "-1", "1")
    runs = [
        _start(tmp_path, *arguments, environ={**environ, "TERMINAL_WIDTH": width}, after="<&-")
        for arguments, width in zip(commands, widths, strict=True)
    ]
    said = [running.communicate(timeout=55) for running in runs]
    assert [
        (running.returncode, error) for running, (_, error) in zip(runs, said, strict=True)
    ] == [(0, "") for _ in runs]
    for told, (output, _) in zip(commands.values(), said, strict=True):
        assert told in output


def test_what_is_wrong_is_among_what_is_checked(tmp_path: Path) -> None:
    """A line for each of the certificates, and of the servers that can't be trusted without."""
    environ = {"SENTRY_DSN": "https://k@sentry.invalid/1", **HARMLESS, **CERTIFICATES}
    running = _start(tmp_path / "work", "check", "--timeout", "0.1", environ=environ)
    output, error = running.communicate(timeout=55)
    assert (running.returncode, "Traceback" in output + error) == (1, False)
    assert "SSL_CERT_FILE names /dev/null/nowhere.pem, which can't be read (" in output
    assert "SSLKEYLOGFILE names /dev/null/nowhere, which can't be written" in output
    assert "sentry.invalid is asked over TLS, and SSL_CERT_FILE names" in output


LIST: Final = ("traces", "list")
SERVE: Final = ("reservations", "--port", "0")


@pytest.mark.parametrize(
    ("arguments", "environ", "before", "says"),
    [
        (LIST, {"PARLEY_TRACE_STORE": "."}, "", "it is a folder"),
        (LIST, {"PARLEY_TRACE_STORE": "/proc/s.db"}, "", "not a folder that can be written to"),
        (LIST, {"PARLEY_TRACE_STORE": f"{NOWHERE}/s.db"}, "", "not a folder that can be written"),
        (LIST, {"PARLEY_TRACE_STORE": "/dev/full"}, "", "it is a device"),
        (LIST, {"PARLEY_TRACE_STORE": "n" * 300}, "", "file name too long"),
        (LIST, {"PARLEY_TRACE_STORE": "loop"}, "ln -s loop loop;", "symbolic links"),
        (LIST, {"PARLEY_TRACE_STORE": "short.yaml"}, "", "is not a trace store"),
        (LIST, {}, "rmdir ../gone 2>&-; mkdir ../gone; cd ../gone; rmdir ../gone;", "directory"),
        (SERVE, {}, "ulimit -n 20;", "only 20 files may be open at once"),
        (
            SERVE,
            {"SENTRY_DSN": "https://k@sentry.invalid/1", **CERTIFICATES},
            "",
            "Sentry is asked over TLS, and SSL_CERT_FILE names",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], environ: dict[str, str], before: str, says: str
) -> None:
    """What, where and what to do, before anything runs."""
    running = _start(tmp_path / "work", *arguments, environ=environ, before=before)
    _, error = running.communicate(timeout=55)
    lines = [line for line in error.splitlines() if not line.startswith("parley: warning: ")]
    assert running.returncode == 2, error
    assert len(lines) == 1
    assert says in lines[0]
