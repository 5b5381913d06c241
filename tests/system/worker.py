"""``parley start`` as its operator has it: a process, its log, its trace store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

from telemetry.store import TraceStore
from tests.system.livekit import Ports
from tests.system.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.rooms import LiveKit
    from telemetry.store import StoredConversation

REGISTERED: Final = "worker registered"
COMMAND: Final = (str(Path(sys.executable).with_name("parley")), "start")


class Worker(Program):
    """A worker process in a folder of its own."""

    def __init__(
        self,
        livekit: LiveKit,
        home: Path,
        *,
        name: str,
        settings: dict[str, str],
        command: Sequence[str] = COMMAND,
    ) -> None:
        ports = Ports.free()
        self.health = f"http://127.0.0.1:{ports.http}"
        self.metrics = f"http://127.0.0.1:{ports.tcp}/metrics"
        self.store = TraceStore(home / f"{name}.db")
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PARLEY_", "SENTRY_", "LIVEKIT_"))
        }
        environ = {
            **clean,
            "LIVEKIT_URL": livekit.url,
            "LIVEKIT_API_KEY": livekit.key,
            "LIVEKIT_API_SECRET": livekit.secret,
            "PARLEY_TRACE_STORE": str(self.store.path),
            "PARLEY_WORKER_HOST": "127.0.0.1",
            "PARLEY_HEALTH_PORT": str(ports.http),
            "PARLEY_METRICS_PORT": str(ports.tcp),
            **settings,
        }
        super().__init__(command, cwd=home, env=environ)

    def conversation(self, id: str, *, timeout: float = 20.0) -> StoredConversation:
        """A conversation's record, once it has ended."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            record = self.store.conversation(id) if self.store.path.exists() else None
            if record is not None and record.ended_at is not None:
                return record
            time.sleep(0.05)
        raise AssertionError(f"conversation {id} did not arrive:\n{self.said}")


@contextlib.contextmanager
def working(
    livekit: LiveKit,
    home: Path,
    *,
    name: str = "worker",
    command: Sequence[str] = COMMAND,
    **settings: str,
) -> Iterator[Worker]:
    """A registered worker for the time of the block; settings are environment variables.

    Its log is shown if the block fails.
    """
    worker = Worker(livekit, home, name=name, settings=settings, command=command)
    try:
        worker.wait_for(REGISTERED)
        yield worker
    except BaseException:
        sys.stderr.write(f"{worker.said}\n")
        raise
    finally:
        if worker.process.poll() is None:
            worker.process.terminate()
            try:
                worker.process.wait(40)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait(5)


async def said(url: str, *, method: str = "GET") -> str:
    """What an endpoint answers."""

    def ask() -> str:
        request = urllib.request.Request(url, method=method)  # noqa: S310 - our own, HTTP
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            found: bytes = answer.read()
        return found.decode()

    return await asyncio.to_thread(ask)
