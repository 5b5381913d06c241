"""A gateway in a process of its own, on a port and a store that outlive it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.system.program import Program

from .child import SPEECH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DRAIN_SECONDS: Final = 4.0
DEADLINE_SECONDS: Final = DRAIN_SECONDS + 1.0 + 5.0 + 1.0
"""From SIGTERM: calls, their closing, delivery of the rest, the process's own end."""
CAUTION_SECONDS: Final = 10.0
"""More, as other programs run on the machine as well."""
_LISTENING: Final = "gateway listening on"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Vitals:
    """A process as the kernel sees it, and as it sees itself, while it holds no call."""

    at: float
    """Monotonic seconds."""
    rss_mb: float
    """Without what the C library keeps of freed memory."""
    blocks: int
    """Pieces of memory that Python has in use."""
    threads: dict[str, int]
    """By name, without its number."""
    tasks: dict[str, int]
    """By the name of their coroutine."""
    files: dict[str, int]
    """File descriptors, by kind."""
    stats: dict[str, Any]


class Gateway(Program):
    """``parley serve`` with fast speech (:mod:`.child`), from its start to its end.

    ``settings`` are environment variables; none of the surroundings' own reach it. ``python`` is
    the command that runs it.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        settings: Mapping[str, str],
        *,
        python: Sequence[str] = (sys.executable,),
    ) -> None:
        self.port = port
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PARLEY_", "SENTRY_", "LIVEKIT_"))
        }
        own = {**SPEECH, "PARLEY_DRAIN_TIMEOUT": f"{DRAIN_SECONDS:g}"}
        self.environ = {**clean, **own, **settings}
        super().__init__(
            [*python, "-m", "tests.soak.child", "serve", "--port", str(port), "--no-page"],
            cwd=folder,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.began_at = time.monotonic()

    @property
    def url(self) -> str:
        """Where it takes calls."""
        return f"ws://127.0.0.1:{self.port}"

    def wait_until_it_listens(self) -> None:
        """Wait until it takes calls."""
        self.wait_for(_LISTENING)

    def order(self, *words: object) -> None:
        """Give it an order of :mod:`.child`'s; one that is gone gets none."""
        assert self.process.stdin is not None
        if self.process.poll() is None:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()

    def look(self) -> Vitals:
        """Its vitals."""
        self.order("look")
        assert self.process.stdout is not None
        seen = json.loads(self.process.stdout.readline())
        return Vitals(at=time.monotonic(), rss_mb=self.rss_mb(), files=self._files(), **seen)

    def watch(self, seconds: float) -> dict[str, float]:
        """The lag of its event loop, and more, in the time that comes (:mod:`tests.bench.load`)."""
        self.order("watch", seconds)
        assert self.process.stdout is not None
        found: dict[str, float] = json.loads(self.process.stdout.readline())
        return found

    def held(self) -> int:
        """Calls that it holds."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=10) as answer:
            return int(json.loads(answer.read())["sessions"])

    def rss_mb(self) -> float:
        """Memory of its process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _files(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for each in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                kind = os.readlink(each).partition(":")[0].rpartition("/")[2]
            except FileNotFoundError:
                continue  # closed meanwhile
            found[kind] = found.get(kind, 0) + 1
        return found

    def kill(self) -> None:
        """Kill it, if it still runs."""
        self.process.kill()
        self.exit_code(timeout=10)
        self._close_pipes()

    def stop(self) -> tuple[int, float]:
        """Ask it to end; its exit code, and the seconds that it took."""
        began = time.monotonic()
        self.process.terminate()
        code = self.exit_code(timeout=DEADLINE_SECONDS + CAUTION_SECONDS)
        self._close_pipes()
        return code, time.monotonic() - began

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
