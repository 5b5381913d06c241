"""The world that faults happen in: the process, its store, Sentry, the clock, the event loop."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.system.program import START_TIMEOUT

from .child import CLOCK
from .gateway import Gateway, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ingest import Ingest

    from .plan import Fault

SLOW_SECONDS: Final = 0.7
"""What a slow Sentry takes for an answer."""
_SMALLEST: Final = 4096
"""A file that may grow no further than this can't be written to any more."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a process."""

    began_at: float
    """Monotonic seconds, as ``at``."""
    at: float
    code: int | None = None
    """Its exit code; None if it was killed."""
    seconds: float = 0.0
    """From SIGTERM."""
    said: str = ""
    """Its log."""

    @property
    def is_left(self) -> bool:
        """True if its deadline ended it: its calls had no time to close, as the loop stood still or
        the machine was busy. What was recorded is delivered all the same."""
        return self.code == 1 and "parley: left, " in self.said


@dataclass(slots=True)
class World:
    """The things that a fault is done to. ``folder`` is for the store and whatever becomes of it;
    ``settings`` are the gateway's."""

    folder: Path
    ingest: Ingest
    settings: dict[str, str]
    port: int = field(default_factory=free_port)
    ended: list[Ended] = field(default_factory=list)
    """The ends of processes, in order."""
    _gateway: Gateway | None = None
    _clock_seconds: float = 0.0
    _lock: sqlite3.Connection | None = None
    _aside: list[Path] = field(default_factory=list)

    @property
    def gateway(self) -> Gateway:
        """The process that runs."""
        assert self._gateway is not None
        return self._gateway

    @property
    def store(self) -> Path:
        """The store's file."""
        return self.folder / "store" / "traces.db"

    @property
    def stores(self) -> list[Path]:
        """It, and those that were moved away."""
        return [path for path in (self.store, *self._aside) if path.exists()]

    @property
    def aside(self) -> list[Path]:
        """Those that were moved away."""
        return [path for path in self._aside if path.exists()]

    async def start(self) -> None:
        """Start a process, and wait until it takes calls."""
        settings = {
            **self.settings,
            "SENTRY_DSN": self.ingest.dsn,
            "PARLEY_TRACE_STORE": str(self.store),
            CLOCK: str(self._clock_seconds),
        }
        self._gateway = Gateway(self.folder, self.port, settings)
        await asyncio.to_thread(self._gateway.wait_until_it_listens)

    async def kill(self) -> None:
        """Kill the process, as a machine that goes down does."""
        began_at, at = self.gateway.began_at, time.monotonic()
        await asyncio.to_thread(self.gateway.kill)
        self.ended.append(Ended(began_at, at))

    async def stop(self) -> None:
        """Ask the process to end, and wait for that."""
        began_at = self.gateway.began_at
        code, took = await asyncio.to_thread(self.gateway.stop)
        self.ended.append(Ended(began_at, time.monotonic(), code, took, self.gateway.said))

    async def begin(self, fault: Fault) -> None:
        """Have a fault begin."""
        match fault.kind, fault.how:
            case "process", "killed":
                await self.kill()
                await self.start()
            case "process", _:
                await self.stop()
                await self.start()
            case "sentry", mood:
                self._sentry(mood)
            case "store", "locked":
                await self._stored()
                self._lock = await asyncio.to_thread(_locked, self.store)
            case "store", "moved away":
                await self._stored()
                aside = self.folder / f"aside-{len(self._aside)}"
                self.store.parent.rename(aside)
                self._aside.append(aside / self.store.name)
            case "store", _:
                self._limit_files(_SMALLEST)
            case "clock", _:
                self._clock_seconds = fault.seconds
                self.gateway.order("clock", fault.seconds)
            case _:
                self.gateway.order("stall", fault.seconds)

    async def _stored(self) -> None:
        """Wait until there is a store: the first call makes one."""
        async with asyncio.timeout(START_TIMEOUT):
            while not self.store.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.05)

    def heal(self, fault: Fault) -> None:
        """Have it end, if it doesn't by itself."""
        match fault.kind, fault.how:
            case "sentry", _:
                self.ingest.heal()
            case "store", "locked" if self._lock is not None:
                self._lock.close()
                self._lock = None
            case "store", "full":
                self._limit_files(resource.RLIM_INFINITY)
            case _:
                pass

    def _sentry(self, mood: str) -> None:
        match mood:
            case "hangs":
                self.ingest.hang()
            case "refuses":
                self.ingest.refuse()
            case "429":
                self.ingest.answer(429, {"Retry-After": "2"})
            case "500":
                self.ingest.answer(500)
            case _:
                self.ingest.slow(SLOW_SECONDS)

    def _limit_files(self, most: int) -> None:
        pid = self.gateway.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, hard))

    async def recover_aside(self) -> list[str]:
        """Have ``parley traces recover`` see to the stores that were moved away; what it says
        where something still waits."""
        complaints = []
        for path in self.aside:
            recovering = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", "from agent.cli import main; main()"),
                *("traces", "recover", "--store", str(path)),
                cwd=self.folder,
                env=self.gateway.environ,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            said, _ = await recovering.communicate()
            if recovering.returncode:
                complaints.append(f"{path}: {recovering.returncode}: {said.decode()}")
        return complaints


def _locked(store: Path) -> sqlite3.Connection:
    """A connection that keeps everybody else from writing."""
    connection = sqlite3.connect(store, timeout=5.0, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    return connection
