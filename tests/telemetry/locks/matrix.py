"""The cells of the matrix, and what each must come to."""

from __future__ import annotations

import enum
import errno
import itertools
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from tests.ingest import Ingest

from .wrapper import Moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONVERSATIONS: Final = 3
JOBS: Final = 3
"""Jobs of a conversation: a span and a logged error each."""
HANG: Final = 30.0
"""Seconds after which a cell is taken to hang: ten times what it needs."""
STARTS: Final = 3
"""Times that the machine is asked to start a cell's process."""


Lifecycle = Literal["transaction", "stream"]
LIFECYCLES: Final[tuple[Lifecycle, ...]] = ("transaction", "stream")


class Capture(enum.StrEnum):
    """What of the log goes to Sentry."""

    ERRORS = "errors"
    LOGS = "logs"
    """Errors, and structured logs besides."""


class Remedy(enum.StrEnum):
    """What stands between the locks and Sentry."""

    FULL = "full"
    """Telemetry as it is."""
    TRANSPORT = "transport"
    """Telemetry's transport, but Sentry's own logging integration: it captures in the call."""
    NONE = "none"
    """Sentry's own client, its transport and logging integration included."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination."""

    moment: Moment
    capture: Capture
    lifecycle: Lifecycle
    remedy: Remedy = Remedy.FULL

    def __str__(self) -> str:
        return "-".join(self.words)

    @property
    def words(self) -> tuple[str, str, str, str]:
        """The cell as arguments of a command line."""
        return self.moment, self.capture, self.lifecycle, self.remedy

    @classmethod
    def parse(cls, words: Sequence[str]) -> Self:
        """The cell of these arguments."""
        moment, capture, lifecycle, remedy = words
        [known] = [name for name in LIFECYCLES if name == lifecycle]
        return cls(Moment(moment), Capture(capture), known, Remedy(remedy))


CELLS: Final = tuple(
    Cell(moment, capture, lifecycle)
    for lifecycle, capture, moment in itertools.product(LIFECYCLES, Capture, Moment)
)


class Verdict(enum.Enum):
    """How a run ended."""

    GOOD = "good"
    HANG = "hang"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run's verdict and, unless it is good, why."""

    verdict: Verdict
    why: str = ""


def run(cell: Cell, *, hang: float = HANG) -> Outcome:
    """Run a cell in a process of its own; one that hangs is killed."""
    with Ingest() as ingest:
        try:
            # It ends by itself when it hangs, unless even its interpreter is stuck.
            process = start("cell", *cell.words, str(hang), ingest.dsn, hang=hang + 10)
        except subprocess.TimeoutExpired as error:
            return Outcome(Verdict.HANG, str(error))
        if process.returncode:
            hung = "Timeout (" in process.stderr
            return Outcome(Verdict.HANG if hung else Verdict.BAD, process.stderr)
        problems = [*_problems(json.loads(process.stdout), ingest, cell)]
    return Outcome(Verdict.BAD, "; ".join(problems)) if problems else Outcome(Verdict.GOOD)


def start(module: str, *arguments: str, hang: float) -> subprocess.CompletedProcess[str]:
    """Run a module of this package in a process of its own, for ``hang`` seconds at most.

    Raises:
        subprocess.TimeoutExpired: It ran longer.
        OSError: The machine couldn't start it, asked three times.
    """
    for attempt in itertools.count(1):
        try:
            return subprocess.run(
                [sys.executable, "-m", f"{__package__}.{module}", *arguments],
                cwd=Path(__file__).parents[3],
                capture_output=True,
                text=True,
                timeout=hang,
                check=False,
            )
        except OSError as error:
            # A virtual machine's kernel said "Bad address" to one start of some thousands, before
            # anything of the cell ran: nothing that a cell says.
            if error.errno != errno.EFAULT or attempt == STARTS:
                raise
    raise AssertionError


def span_name(conversation: int, what: object) -> str:
    """The name of a span of the cell's conversations."""
    return f"span {conversation} {what}"


def failure(conversation: int, what: object) -> str:
    """The message of an error of theirs."""
    return f"failure {conversation} {what}"


def _problems(report: dict[str, Any], ingest: Ingest, cell: Cell) -> Iterator[str]:
    if report != {"flushed": True, "closed": True, "dropped": {}}:
        yield f"not delivered: {report}"
    numbers = range(CONVERSATIONS)
    jobs = range(JOBS)
    names = [f"c-{n}" for n in numbers]
    names += [span_name(n, what) for n in numbers for what in ("outer", *jobs)]
    logged = [failure(n, job) for n in numbers for job in jobs]
    reported = [failure(n, what) for n in numbers for what in ("captured", "reported")]
    yield from _missing("spans", names, _spans(ingest))
    yield from _missing("errors", logged + reported, map(_message, ingest.errors))
    if cell.capture is Capture.LOGS:
        yield from _missing("logs", logged, _logs(ingest))
    for error in ingest.errors:
        message = _message(error)
        if message.startswith("failure") and error.get("user") != {"id": message.split()[1]}:
            yield f"{message!r} has user {error.get('user')}"


def _missing(what: str, expected: list[str], arrived: Iterator[str]) -> Iterator[str]:
    counts = Counter(arrived)
    wrong = {name: counts[name] for name in expected if counts[name] != 1}
    if wrong:
        yield f"{what} that should have arrived once: {wrong}"


def _message(error: dict[str, Any]) -> str:
    message = (error.get("logentry") or {}).get("formatted")
    values = (error.get("exception") or {}).get("values") or [{}]
    return str(message or values[-1].get("value"))


def _spans(ingest: Ingest) -> Iterator[str]:
    """Names of all spans, whichever lifecycle sent them."""
    for event in ingest.transactions:
        yield event["transaction"]
        yield from (span["description"] for span in event["spans"])
    yield from (span["name"] for span in _items(ingest, "span"))


def _logs(ingest: Ingest) -> Iterator[str]:
    return (log["body"] for log in _items(ingest, "log"))


def _items(ingest: Ingest, kind: str) -> Iterator[dict[str, Any]]:
    for envelope in ingest.envelopes:
        for item in envelope:
            if item.type == kind:
                yield from json.loads(item.get_bytes())["items"]
