"""Standard output and error that take all that is written to them, whatever is behind them.

A character that the encoding doesn't have is written as the nearest that it has. A reader that
leaves early, a disk that is full, a stream that is closed: what is written after that is lost, and
the command goes on, for its report and its verdict are still wanted.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
import unicodedata
from typing import Any, Final, TextIO

from rich.console import Console

from telemetry.printable import printable

LEAST_COLUMNS: Final = 60
"""Columns that a table gets at least: on a narrower screen its lines are broken, not its words."""
_WIDTH: Final = "TERMINAL_WIDTH"
"""Variable by which typer takes the width of its help, even where that is none."""
_NEAREST: Final = "parley.nearest"
"""Name of our way with characters that an encoding doesn't have."""
_STAND_INS: Final = {
    "\N{MIDDLE DOT}": "*",
    "\N{BULLET}": "*",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{LEFTWARDS ARROW}": "<-",
    "\N{MINUS SIGN}": "-",
    "\N{MULTIPLICATION SIGN}": "x",
}
"""Characters that Unicode's own compatibility forms say nothing of."""


def adapt() -> None:
    """Put such streams in the place of ``sys.stdout`` and ``sys.stderr``."""
    codecs.register_error(_NEAREST, _nearest)
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: a file or socket opened next would be taken for the terminal
            os.open(os.devnull, os.O_RDWR)
    if not os.environ.get(_WIDTH, "").isdecimal() or int(os.environ[_WIDTH]) < LEAST_COLUMNS:
        os.environ.pop(_WIDTH, None)
    sys.stdout = _taking_all(sys.stdout)
    sys.stderr = _taking_all(sys.stderr)


def finish() -> str | None:
    """Write what is still buffered. Returns what kept the output from being written, in one line;
    None if nothing did, or it is a reader that had enough."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    failure = getattr(sys.stdout.buffer, "raw", None)
    failure = failure.failure if isinstance(failure, _Output) else None
    if failure is None or failure.errno == errno.EPIPE:
        return None
    reason = (failure.strerror or type(failure).__name__).lower()
    return f"the output can't be written: {reason}: see where it is sent to"


def console(*, stderr: bool = False) -> Console:
    """A console on one of the streams."""
    made = Console(highlight=False, stderr=stderr)
    made.width = max(made.width, LEAST_COLUMNS)
    return made


def say(text: str, *, end: str = "\n") -> None:
    """Write a line of text to stdout."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def warn(text: str) -> None:
    """Write a line of text to stderr; of several, those that follow stand back from the margin."""
    lines = [printable(line) for line in text.split("\n")]
    sys.stderr.write("\n  ".join(lines) + "\n")
    sys.stderr.flush()


class _Output(io.FileIO):
    """A raw stream whose writes don't raise; ``failure`` is the first error."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write all of it or, after a failure, nothing; it counts as written."""
        rest = memoryview(data).cast("B")
        try:
            while rest and self.failure is None:
                written = super().write(rest)
                if written is None:  # not now: whoever made the stream wants writers not to wait
                    select.select([], [self], [])
                else:
                    rest = rest[written:]
        except OSError as error:
            self.failure = error
        return memoryview(data).nbytes


def _taking_all(stream: TextIO | None) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        # closed when the process began; a stream of somebody else's stays
        return open(os.devnull, "w", encoding="utf-8") if stream is None else stream
    try:
        raw = _Output(stream.fileno(), "w", closefd=False)
    except OSError:
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=_NEAREST,
        newline="\n",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _nearest(error: UnicodeError) -> tuple[str, int]:
    """The nearest characters that the encoding has; ``?`` where none is near."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = (_near(each, error.encoding) for each in error.object[error.start : error.end])
    return "".join(found), error.end


def _near(character: str, encoding: str) -> str:
    whole = _STAND_INS.get(character) or _alike(character)
    near = "".join(each for each in whole if not unicodedata.combining(each))
    try:
        near.encode(encoding)
    except UnicodeEncodeError:
        return "?"
    return near


def _alike(character: str) -> str:
    """Something in ASCII for dashes, quotation marks and lines; else what Unicode takes it for."""
    name = unicodedata.name(character, "")
    match unicodedata.category(character), name.partition(" ")[0]:
        case "Pd", _:
            return "-"
        case "Pi" | "Pf", _:
            return "'" if "SINGLE" in name else '"'
        case _, "BOX":
            crosses = "HORIZONTAL" in name and "VERTICAL" in name
            straight = {"HORIZONTAL": "-", "VERTICAL": "|"}
            return "+" if crosses else straight.get(name.rpartition(" ")[2], "+")
    return unicodedata.normalize("NFKD", character)
