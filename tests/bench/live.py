"""How soon the viewer has what happens: a call that another process begins, a span that ends in it.

From the clock of the process that records to the first answer that has it, asked for every 20 ms.
A browser's page asks every half a second, so it shows it so much later at most.
"""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

from telemetry.store import TraceStore
from telemetry.viewer import app

from .figures import Figure
from .viewer import served

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS: Final = 20
PAGE_SECONDS: Final = 0.5
"""What a page's own waiting adds at most: ``EVERY_MS`` of ``static/live.js``."""
TARGET_MS: Final = 1_000 * (1.0 - PAGE_SECONDS)
_PATIENCE_SECONDS: Final = 10.0
_RECORDS: Final = """
import sys, time, telemetry

with telemetry.init(store=sys.argv[1]):
    for number in sys.stdin:
        with telemetry.conversation("call", id=f"live-{number.strip()}") as conversation:
            print(time.time(), flush=True)
            next(sys.stdin)
            conversation.start_span("work", f"done-{number.strip()}").finish()
            print(time.time(), flush=True)
            next(sys.stdin)
"""


def measure(calls: int = CALLS) -> Iterator[Figure]:
    """The slowest of some calls and spans, in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="bench-live-") as folder:
        store = Path(folder, "traces.db")
        process = subprocess.Popen(
            [sys.executable, "-c", _RECORDS, str(store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process, served(app([TraceStore(store)])) as port:
            found = [_call(process, port, number) for number in range(calls)]
            cast("IO[str]", process.stdin).close()
    for index, name in enumerate(("a call's start", "a span's end")):
        slowest = 1000 * max(each[index] for each in found)
        yield Figure(f"{name} to the viewer, of {calls}", slowest, "ms", target=TARGET_MS)


def _call(process: subprocess.Popen[str], port: int, number: int) -> tuple[float, float]:
    """The seconds until a call is listed, and until a span of it is in its document."""
    began = _tell(process, str(number))
    listed = re.compile(rf'href="(/conversations/[^"]+)">live-{number}<')
    at, found = _seen(port, "/rows", listed)
    ended = _tell(process, "go on")
    seen, _ = _seen(port, f"{found[1]}/document.json", re.compile(f"done-{number}"))
    cast("IO[str]", process.stdin).write("end\n")
    return at - began, seen - ended


def _tell(process: subprocess.Popen[str], line: str) -> float:
    """Have the process do the next thing; the time at which it has."""
    given = cast("IO[str]", process.stdin)
    given.write(f"{line}\n")
    given.flush()
    return float(cast("IO[str]", process.stdout).readline())


def _seen(port: int, path: str, wanted: re.Pattern[str]) -> tuple[float, re.Match[str]]:
    """The time at which an answer has it."""
    until = time.time() + _PATIENCE_SECONDS
    while time.time() < until:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
        connection.request("GET", path)
        text = connection.getresponse().read().decode()
        connection.close()
        if (found := wanted.search(text)) is not None:
            return time.time(), found
        time.sleep(0.02)
    raise TimeoutError(f"{wanted.pattern} is not in {path} after {_PATIENCE_SECONDS} s")
