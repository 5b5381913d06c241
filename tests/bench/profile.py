"""``python -m tests.bench.profile [--sessions N] [--seconds N]``: whose code the time goes to.

Samples the sessions' thread each time the process has used some CPU (``ITIMER_PROF``: a tick of
the kernel's clock, 1 to 10 ms), telemetry and its store on, recognition and synthesis faked. A
sample belongs to the owner of the innermost function that has one: what Python's library and native
code do is done for whoever called them. The second table has the functions of each owner that took
most.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table

import telemetry
from agent.worker import settle_memory

from .sessions import hold, hold_all

if TYPE_CHECKING:
    from types import FrameType

_EVERY_SECONDS: Final = 0.001
_ROOT: Final = Path(__file__).parents[2]
_LIBRARIES: Final = Path(sysconfig.get_path("purelib"))
_STANDARD: Final = Path(sysconfig.get_path("stdlib"))
_OWNERS: Final = {
    "voice detection": (
        _ROOT / "agent/providers/voice_activity.py",
        _ROOT / "agent/providers/speech_events.py",
        _LIBRARIES / "livekit/agents/inference/vad.py",
        _LIBRARIES / "livekit/agents/vad.py",
    ),
    "telemetry": (_ROOT / "telemetry", _LIBRARIES / "sentry_sdk", _LIBRARIES / "opentelemetry"),
    "the line": (_ROOT / "agent",),
    "LiveKit's pipeline": (_LIBRARIES / "livekit",),
    "the benchmark's callers": (_ROOT / "tests",),
    "asyncio": (_STANDARD / "asyncio", _STANDARD / "selectors.py", _LIBRARIES / "anyio"),
}
"""The first that a file lies in has it."""
_FUNCTIONS: Final = 6
"""Number of functions shown of each owner."""


class Samples:
    """Where the main thread was, and how often.

    Attributes:
        owners: samples by owner.
        functions: samples by owner and function.
        cpu_seconds: CPU that the process used meanwhile.
    """

    def __init__(self) -> None:
        self.owners: Counter[str] = Counter()
        self.functions: Counter[tuple[str, str]] = Counter()
        self.cpu_seconds = 0.0
        self._known: dict[str, str | None] = {}

    def take(self, _: int, frame: FrameType | None) -> None:
        """Take one: a handler of signals."""
        while frame is not None:
            code = frame.f_code
            owner = self._owner(code.co_filename)
            if owner is not None:
                self.owners[owner] += 1
                name = f"{Path(code.co_filename).name} {code.co_qualname}"
                self.functions[owner, name] += 1
                return
            frame = frame.f_back
        self.owners["other"] += 1

    def _owner(self, file: str) -> str | None:
        if file not in self._known:
            self._known[file] = next(
                (
                    owner
                    for owner, places in _OWNERS.items()
                    if any(Path(file).is_relative_to(place) for place in places)
                ),
                None,
            )
        return self._known[file]


async def _sampled(sessions: int, seconds: float) -> Samples:
    await hold(0, 1.0, traced=True)  # what only a process's first one costs
    settle_memory()
    samples = Samples()
    signal.signal(signal.SIGPROF, samples.take)
    signal.setitimer(signal.ITIMER_PROF, _EVERY_SECONDS, _EVERY_SECONDS)
    before = time.process_time()
    await hold_all(sessions, seconds, traced=True)
    samples.cpu_seconds = time.process_time() - before
    signal.setitimer(signal.ITIMER_PROF, 0)
    return samples


def _show(samples: Samples, sessions: int, seconds: float) -> None:
    console = Console(width=120)
    total = samples.owners.total()
    whole = Table(title=f"{sessions} sessions for {seconds:g} s, {total} samples")
    for title in ("owner", "share", "% core a session"):
        whole.add_column(title, justify="left" if title == "owner" else "right")
    each = samples.cpu_seconds / seconds / sessions
    for owner, count in samples.owners.most_common():
        share = count / total
        whole.add_row(owner, f"{share:.1%}", f"{share * each * 100:.3f}")
    console.print(whole)
    top = Table(title="the functions that took most")
    for title in ("owner", "function", "share"):
        top.add_column(title, justify="right" if title == "share" else "left")
    for owner, _ in samples.owners.most_common():
        its = [(name, n) for (who, name), n in samples.functions.most_common() if who == owner]
        for name, count in its[:_FUNCTIONS]:
            top.add_row(owner, name, f"{count / total:.1%}")
            owner = ""
    console.print(top)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile", description=__doc__)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, telemetry.init(store=Path(folder, "traces.db")):
        samples = asyncio.run(_sampled(given.sessions, given.seconds))
    _show(samples, given.sessions, given.seconds)


if __name__ == "__main__":
    main()
