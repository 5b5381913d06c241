"""``parley serve --processes N``: the process that keeps the others, and takes no calls itself.

======================  ============================================================================
what                    does
======================  ============================================================================
port                    kept here, listened on by each of the others: the kernel deals connections
signals                 passed on, so that all drain at once (:mod:`.ending`, :mod:`.line`)
one that ends           replaced: at once, then after 1, 2, 4, 8 s; the sixth time all is over
``/metrics``            of all together (:mod:`agent.totals`)
its own end             noticed by the others, who drain: their line to it breaks
======================  ============================================================================
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge

from agent.errors import InputError
from agent.listening import WebServer, listening, reserved
from agent.siblings import ask, socket_of
from agent.totals import Totals

from . import process, terminal
from .ending import DELIVERY_SECONDS, Ending
from .line import DRAIN, NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from anyio.abc import Process

    from agent.stopping import Stopping
    from config import Settings

log = logging.getLogger(__name__)

STEADY_SECONDS: Final = 30.0
"""Time after which a process that takes calls has not failed at its start."""
MOST_FAILURES: Final = 6
"""Number of ends in a row, each sooner than that, after which nothing is replaced any more."""
_LONGEST_WAIT_SECONDS: Final = 8.0
_CAUTION_SECONDS: Final = 3.0
"""Time that the others have to end after their own deadline, until they are killed."""
_LONGEST_FOLDER: Final = 80
"""Length of the folder's path: that of a socket in it may be 107."""
_PARLEY: Final = (sys.executable, "-P", "-c", "from agent.cli import main; main()")
_BAD_INPUT: Final = 2
"""Exit code of a process that can't use its settings."""


def keep(settings: Settings, command: str, *, page: bool) -> int:
    """Keep as many processes as the settings say, until asked to stop; the exit code.

    ``command`` is the command of ``parley`` that each of them runs.

    Raises:
        InputError: the port can't be kept, or there is nowhere for what they share.
    """
    if sys.platform != "linux":
        raise InputError(
            "PARLEY_PROCESSES: more than 1 needs Linux, which deals connections to all of them"
        )
    host = settings.gateway_host
    with (
        reserved(host, settings.gateway_port, "PARLEY_GATEWAY_PORT") as port,
        _shared() as (folder, seats),
    ):
        options = "--host", host, "--port", str(port), "--processes", str(settings.processes)
        fleet = Fleet(
            (*_PARLEY, command, str(folder)),
            (*options, "--page" if page else "--no-page"),
            number=settings.processes,
            folder=folder,
            seats=seats,
        )
        # each of them has that long, and ends itself then
        deadline = settings.drain_timeout + process.CLOSING_SECONDS + DELIVERY_SECONDS
        with Ending(
            deadline + _CAUTION_SECONDS,
            deliver=lambda _: fleet.kill(),
            leave=fleet.leave,
            drains=(signal.SIGHUP,),
        ) as ending:
            at = None
            if settings.metrics_port is not None:
                at = settings.metrics_host, settings.metrics_port
            return process.run(fleet.keep, ending, at)


@contextmanager
def _shared() -> Iterator[tuple[Path, int]]:
    """A folder of theirs alone, and the descriptor of an empty file in it that has no name: nobody
    who tidies up can take it from those that start later."""
    try:
        made = tempfile.TemporaryDirectory(prefix="parley-", ignore_cleanup_errors=True)
    except OSError as error:
        raise InputError(f"no temporary folder: {error.strerror or error}; set TMPDIR") from None
    with made as name:
        if len(name) > _LONGEST_FOLDER:
            raise InputError(f"{name}: too long for sockets in it: set TMPDIR to a shorter one")
        with tempfile.TemporaryFile(dir=name) as seats:
            yield Path(name), seats.fileno()


@dataclass(frozen=True, slots=True)
class _Child:
    """A process that takes calls."""

    process: Process
    line: socket.socket
    """A socket of which it has the other end: it says on it that it listens, and both ends learn by
    it that the other one is gone."""

    async def listens(self) -> bool:
        """Wait until it does; False when it has ended before."""
        await anyio.wait_readable(self.line)
        with suppress(ConnectionError):
            return bool(self.line.recv(1))
        return False

    def tell(self, wish: bytes) -> None:
        """Tell it what is asked for."""
        with suppress(OSError):  # it has just ended
            self.line.send(wish)


@dataclass(frozen=True, slots=True)
class _Life:
    """A process that is over, or has never been."""

    code: int | None
    """Its exit code, below 0 that of a signal; None for one that can't be started."""
    reason: str = ""
    """The system's, for that."""
    listened: bool = False
    steady: bool = False
    """True when it did so for a while."""

    @property
    def signal(self) -> str | None:
        """The signal that has ended it."""
        return None if self.code is None or self.code >= 0 else signal.Signals(-self.code).name


class Fleet:
    """The processes, each replaced when it ends.

    Args:
        command: what runs one of them, up to its number and the descriptor of its line.
        options: what follows these.
        number: how many.
        folder: what they share.
        seats: the descriptor of a file that they share as well.
    """

    def __init__(
        self,
        command: Sequence[str],
        options: Sequence[str],
        *,
        number: int,
        folder: Path,
        seats: int,
    ) -> None:
        self._command = command
        self._options = options
        self._number = number
        self._folder = folder
        self._seats = seats
        self._wish: bytes | None = None
        """What is asked of all."""
        self._children: list[_Child] = []
        self._answering: set[int] = set()
        """Those of them that listen, by the number that the system gave them."""
        self._ahead = anyio.Event()
        """Set once the first one listens, or all is over."""
        self._over = anyio.Event()
        self._code = 0
        self._totals = Totals()
        self._running = Gauge("parley_processes", "Processes that take calls", registry=None)
        self._running.set_function(lambda: self.answering)
        self._replaced = Counter(
            "parley_processes_replaced", "Processes that ended by themselves", registry=None
        )

    @property
    def answering(self) -> int:
        """How many take calls."""
        return len(self._answering)

    async def keep(self, ending: Ending, metrics_at: tuple[str, int] | None) -> int:
        """Run all of them, until asked to stop; the exit code. Raises
        :class:`~agent.listening.PortError` for the port of the metrics."""
        async with AsyncExitStack() as stack:
            stopping = await stack.enter_async_context(ending.heard())
            if metrics_at is not None:
                url = await stack.enter_async_context(self._told(*metrics_at))
                log.info("gateway: metrics of all processes at %s", url)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(self._pass_on, stopping)
            async with anyio.create_task_group() as kept:
                kept.start_soon(self._keep_one, 0)
                await self._ahead.wait()  # what is wrong with the settings is said once
                for number in range(1, self._number):
                    kept.start_soon(self._keep_one, number)
            tasks.cancel_scope.cancel()
        return self._code

    def kill(self) -> None:
        """End all of them at once, from whatever thread."""
        for child in tuple(self._children):
            with suppress(ProcessLookupError):
                os.kill(child.process.pid, signal.SIGKILL)

    def leave(self, code: int) -> None:
        """End all of them and this process at once."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(code)

    # -- their course ------------------------------------------------------------------------------

    async def _pass_on(self, stopping: Stopping) -> None:
        """Pass on what the operator asks for."""
        await stopping.drain.wait()
        self._end()
        await stopping.now.wait()
        self._ask(NOW)

    def _end(self) -> None:
        self._over.set()
        self._ahead.set()
        self._ask(DRAIN)

    def _ask(self, wish: bytes) -> None:
        self._wish = wish
        for child in self._children:
            child.tell(wish)

    async def _keep_one(self, number: int) -> None:
        failures = 0
        while not self._over.is_set():
            life = await self._live(number)
            if self._over.is_set():
                early = life.signal == "SIGTERM" and not life.listened
                self._code = 1 if life.code and not early else self._code
            elif not self._ahead.is_set():
                self._not_begun(number, life)
            else:
                failures = 1 if life.steady else failures + 1
                await self._replace(number, life, failures)

    async def _live(self, number: int) -> _Life:
        """Start one, and wait for its end."""
        try:
            child = await self._start(number)
        except OSError as error:
            return _Life(None, error.strerror or str(error))
        listened = await child.listens()
        began = time.monotonic()
        if listened:
            self._listens(child)
        code = await child.process.wait()
        self._ended(child)
        steady = listened and time.monotonic() - began >= STEADY_SECONDS
        return _Life(code, listened=listened, steady=steady)

    def _not_begun(self, number: int, life: _Life) -> None:
        """End all before the others are started: they would fare no better."""
        if life.code is None:
            terminal.warn(f"parley: process {number} can't be started: {life.reason}")
        elif life.code <= 0:  # otherwise it has said why
            by = "" if life.signal is None else f" by {life.signal}"
            terminal.warn(f"parley: process {number} was ended{by} while it started")
        self._code = life.code if life.code == _BAD_INPUT else 1
        self._end()

    async def _replace(self, number: int, life: _Life, failures: int) -> None:
        """Wait until a process that ended may be started again; end all if it has failed often."""
        how = f"exit code {life.code}" if life.signal is None else f"signal {life.signal}"
        if failures >= MOST_FAILURES:
            terminal.warn(
                f"parley: process {number} can't be started: {life.reason}; all are stopped"
                if life.code is None
                else f"parley: process {number} has ended {failures} times soon after its start, "
                f"with {how} now: the log says why; all are stopped"
            )
            self._code = 1
            self._end()
            return
        if life.code is None:
            log.warning("gateway: process %d can't be started: %s", number, life.reason)
        else:
            self._replaced.inc()
            log.warning("gateway: process %d has ended with %s: another takes over", number, how)
        wait = min(2.0 ** (failures - 2), _LONGEST_WAIT_SECONDS) if failures > 1 else 0.0
        with anyio.move_on_after(wait):
            await self._over.wait()

    async def _start(self, number: int) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as undone:
            undone.enter_context(ours)
            line = theirs.fileno()
            process = await anyio.open_process(
                (*self._command, str(number), str(line), str(self._seats), *self._options),
                stdin=subprocess.DEVNULL,
                stdout=None,
                stderr=None,
                pass_fds=[line, self._seats],
                start_new_session=True,  # a terminal's Ctrl-C comes here only, and is passed on
            )
            undone.pop_all()
        ours.setblocking(False)
        child = _Child(process, ours)
        self._children.append(child)
        if self._wish is not None:
            child.tell(self._wish)
        return child

    def _listens(self, child: _Child) -> None:
        self._answering.add(child.process.pid)
        self._ahead.set()
        if self.answering == self._number:
            log.info("gateway: %d processes take calls", self._number)

    def _ended(self, child: _Child) -> None:
        self._children.remove(child)
        self._answering.discard(child.process.pid)
        self._totals.over(child.process.pid)
        child.line.close()
        socket_of(self._folder, child.process.pid).unlink(missing_ok=True)

    # -- their metrics -----------------------------------------------------------------------------

    @asynccontextmanager
    async def _told(self, host: str, port: int) -> AsyncIterator[str]:
        """Answer Prometheus inside the block, for all of them; yields the URL."""

        async def metrics(_: web.Request) -> web.Response:
            async with anyio.create_task_group() as asking:
                for pid in self._answering:
                    asking.start_soon(self._hear, pid)
            text = self._totals.text(self._running, self._replaced)
            return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

        front = WebServer(host, port)
        front.app.add_routes([web.get("/metrics", metrics)])
        async with listening(front, "PARLEY_METRICS_PORT") as url:
            yield f"{url}/metrics"

    async def _hear(self, pid: int) -> None:
        with suppress(OSError):  # it has just ended
            said = await ask(socket_of(self._folder, pid), "metrics")
            if said is not None and pid in self._answering:
                self._totals.heard(pid, said)
