"""``parley viewer``, as a process: its addresses, its end, and where it can't begin."""

from __future__ import annotations

import functools
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import httpx

from telemetry.store import TraceStore
from tests.telemetry.viewer.stored import conversation, store, until

if TYPE_CHECKING:
    from collections.abc import Iterator

REPORT = Path(__file__).parents[1] / "simulator" / "report.json"
PARLEY = [sys.executable, "-c", "from agent.cli import main; main()", "viewer"]


@contextmanager
def viewer(*arguments: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A viewer in a process of its own, and the address of its page."""
    process = subprocess.Popen(
        [*PARLEY, "--port", "0", "--store", str(folder / "a.db"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = cast("IO[str]", process.stdout).readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line + cast("IO[str]", process.stderr).read()
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


def test_it_says_where_it_is_shows_what_is_stored_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    """A store that isn't there yet is none to complain of; Ctrl-C is no failure."""
    with viewer("--store", str(tmp_path / "later.db"), folder=tmp_path) as (process, page):
        store(tmp_path / "a.db", conversation(1))
        until(functools.partial(_shows, page, "c-1"))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def test_off_loopback_it_makes_up_a_token(tmp_path: Path) -> None:
    """It stands in the address that is printed, once."""
    with viewer("--host", "0.0.0.0", folder=tmp_path) as (_, page):
        here = re.sub(r"//[^/:]+:", "//127.0.0.1:", page)
        assert len(here.partition("?token=")[2]) > 20
        assert httpx.get(here.partition("?")[0], trust_env=False).status_code == 401
        with httpx.Client(trust_env=False, follow_redirects=True) as client:
            assert client.get(here).status_code == 200


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    """Of what, where, and how to mend it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [*PARLEY, "--port", port, "--store", str(tmp_path / "a.db")],
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert port in line
    assert "--port" in line


def test_a_file_that_is_no_store_is_one_line(tmp_path: Path) -> None:
    """And stays as it is."""
    other = tmp_path / "notes.txt"
    other.write_text("not a database, but long enough to be taken for one" * 100)
    ended = subprocess.run(
        [*PARLEY, "--port", "0", "--store", str(other)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert "notes.txt" in line
    assert TraceStore(tmp_path / "new.db").conversations() == []


def test_two_reports_are_seen_side_by_side(tmp_path: Path) -> None:
    """Under a page of their own, by the names of their files."""
    with viewer("--compare", str(REPORT), str(REPORT), folder=tmp_path) as (_, page):
        text = httpx.get(f"{page}compare", trust_env=False).text
    assert "No difference" in text
    assert REPORT.name in text


DELIVERS = """
import sys, sentry_sdk
sentry_sdk.init(dsn=sys.argv[1], traces_sample_rate=1.0)
with sentry_sdk.start_transaction(op="task", name="nightly"):
    pass
"""


def _shows(page: str, text: str) -> bool:
    return text in httpx.get(page, trust_env=False).text


def test_another_process_delivers_by_the_dsn_that_is_printed(tmp_path: Path) -> None:
    """Into a store beside the first, which the next viewer shows again."""
    for tries in range(2):
        with viewer(folder=tmp_path) as (process, page):
            line = cast("IO[str]", process.stdout).readline()
            dsn = line.partition("SENTRY_DSN=")[2].strip()
            if tries == 0:
                subprocess.run([sys.executable, "-c", DELIVERS, dsn], check=True, timeout=50)
            until(functools.partial(_shows, page, "nightly"))
    assert (tmp_path / "received.db").exists()
