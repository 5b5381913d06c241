"""``parley start``: the agent worker. Registers with a LiveKit server, takes calls up to a hard
cap, and leaves without cutting anybody off unsaid.

The server offers each call to one worker after another, those with less load first. What a worker
may take is decided here, where the calls are counted: one that is accepted counts from that moment.
"""

from __future__ import annotations

import functools
import logging
import math
import multiprocessing
import os
import sys
import threading
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio
from livekit import api
from livekit.agents import AgentServer, JobExecutorType

from agent import metrics, providers
from agent.errors import InputError
from agent.health import report
from agent.session import Record, TurnTaking, load_agent
from agent.session.silence import ASK_AGAIN_AFTER_SECONDS
from agent.session.turn_taking import USUAL
from agent.stopping import DRAIN_SECONDS, FAREWELL_SECONDS, Stops, end_calls, until_started
from agent.worker import load

from . import health, jobs
from .call import Limits, Stop
from .ffi_events import start_client
from .loops import watch_if_safe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from anyio.abc import TaskStatus
    from livekit.agents import JobProcess, JobRequest

    from agent.session import VoiceSession
    from agent.stopping import Stopping
    from agent.worker import Loaded
    from telemetry import Runtime

log = logging.getLogger(__name__)

REACH_TIMEOUT_SECONDS: Final = 60.0
"""Time to reach the server when the worker starts; compose starts both at once."""
_ASK_TIMEOUT_SECONDS: Final = 5.0
_IDLE_THREADS: Final = 4
_IDLE_PROCESSES: Final = 1
"""Number of threads and of processes ready for the next call; a process has its own models."""
_SWITCH_INTERVAL_SECONDS: Final = 0.0005
"""Time that a thread may keep the interpreter from another. Each frame hops between threads, and
by default waits up to 5 ms for every call that is busy."""
_FULL_LOAD: Final = 0.69
"""The load that a worker without room reports.

Where all workers report 0.7 (the server's ``target_load``) or more, it offers a call to none of
them, by figures that are seconds old, and never again: a third of the sessions would stay empty,
and who calls just after another has left would get no agent. So it is always asked, and decided
here."""


class RoomsError(InputError):
    """A LiveKit server that can't be worked with. One line of text: what, where, how to fix it."""


@dataclass(frozen=True, slots=True)
class LiveKit:
    """A LiveKit server, and the key to it."""

    url: str
    key: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Options:
    """The worker's options. Times are seconds; a port of None is off, 0 is any free one."""

    agent_name: str = ""
    """Name of the agent whose calls are taken; every new room's when empty."""
    max_sessions: int = 20
    executor: Literal["thread", "process"] = "thread"
    drain_timeout: float = DRAIN_SECONDS
    """Time from the first signal to the end of the last call."""
    farewell: float = FAREWELL_SECONDS
    """The last part of that, for goodbyes."""
    host: str = ""
    """Address where health and metrics are served; all interfaces when empty."""
    health_port: int = 8081
    metrics_port: int | None = None
    silence: float = ASK_AGAIN_AFTER_SECONDS
    """Time of mutual silence before a caller is asked again; 0 for never."""
    record: Record = Record.OFF
    """Which calls are recorded."""
    turns: TurnTaking = USUAL
    """The way in which the end of a caller's turn is found."""
    limits: Limits = field(default_factory=Limits)


async def serve(
    livekit: LiveKit,
    choice: providers.Choice,
    *,
    agent: str,
    environ: Mapping[str, str],
    traced: Callable[[], AbstractContextManager[Runtime]],
    stopping: Stopping,
    options: Options,
    opened: Callable[[VoiceSession], object] = lambda _: None,
    task_status: TaskStatus[AgentServer] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Take calls until asked to stop; then drain.

    ``traced`` configures telemetry: here with threads, in each process otherwise (it is pickled
    then). ``opened`` is told of each session in a thread. ``task_status`` starts once the worker
    is registered. Raises :class:`RoomsError` and what :func:`agent.worker.load` raises.
    """
    worker = None
    with ExitStack() as resources:
        async with until_started(stopping) as started:
            await check(livekit)
            loading = functools.partial(
                load,
                choice,
                agent=agent,
                silence=options.silence,
                record=options.record,
                turns=options.turns,
                opened=opened,
            )
            worker = await _worker(
                livekit, choice, agent, environ, traced, options, loading, resources
            )
            started()
        if worker is not None:
            await worker.run(stopping, task_status)


async def _worker(
    livekit: LiveKit,
    choice: providers.Choice,
    agent: str,
    environ: Mapping[str, str],
    traced: Callable[[], AbstractContextManager[Runtime]],
    options: Options,
    loading: Callable[[], Loaded],
    resources: ExitStack,
) -> Worker:
    """Make a worker; load the things that its threads share, which ``resources`` closes."""
    load_agent(agent)  # what is wrong with it is said before anything takes time
    providers.require(choice)
    threads = options.executor == "thread"
    watch_if_safe(os.environ)  # LiveKit reads it as each job starts, in whichever process
    # forkserver, and not fork: other threads run here, and hold locks
    event = threading.Event if threads else multiprocessing.get_context("forkserver").Event
    stops = Stops[Stop](goodbye=event(), now=event())
    work = jobs.Jobs(
        choice,
        agent,
        environ,
        options.silence,
        options.record,
        options.turns,
        options.limits,
        stops,
        traced,
    )
    if threads:
        sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
        runtime = resources.enter_context(traced())
        start_client()
        loaded = await anyio.to_thread.run_sync(loading)
        resources.callback(loaded.models.close)
        prepare = functools.partial(jobs.prepare_thread, loaded, runtime)
    else:
        runtime = None
        prepare = functools.partial(jobs.prepare_process, work)
    server = _agent_server(livekit, options, prepare)
    worker = Worker(server, stops, options, runtime)
    server.load_fnc = worker.load
    server.rtc_session(
        functools.partial(jobs.run, work),
        agent_name=options.agent_name,
        on_request=worker.admit,
    )
    return worker


def _agent_server(
    livekit: LiveKit, options: Options, prepare: Callable[[JobProcess], object]
) -> AgentServer:
    """LiveKit's agent server, as the options say; ``prepare`` is called for each job."""
    threads = options.executor == "thread"
    return AgentServer(
        job_executor_type=JobExecutorType.THREAD if threads else JobExecutorType.PROCESS,
        setup_fnc=prepare,
        num_idle_processes=min(options.max_sessions, _IDLE_THREADS if threads else _IDLE_PROCESSES),
        initialize_process_timeout=60.0,  # a process imports and loads everything
        shutdown_process_timeout=options.limits.grace + jobs.DELIVERY_TIMEOUT_SECONDS,
        load_threshold=math.inf,  # what may be taken is decided in admit, from the same count
        ws_url=livekit.url,
        api_key=livekit.key,
        api_secret=livekit.secret,
        host=health.LIVEKITS_HOST,
        port=0,  # what it answers is passed on, beside what it doesn't know
        http_proxy=None,
    )


class Worker:
    """LiveKit's agent server, with a hard cap in front and a drain behind.

    ``stops`` are watched by every call, in whatever thread or process it is. ``runtime`` is None
    where telemetry is in those processes.
    """

    def __init__(
        self, server: AgentServer, stops: Stops[Stop], options: Options, runtime: Runtime | None
    ) -> None:
        self._server = server
        self._stops = stops
        self._options = options
        self._runtime = runtime
        self._accepted: set[str] = set()
        """Jobs accepted that don't run yet."""
        self._draining = False

    @property
    def sessions(self) -> int:
        """Calls that are held, or accepted."""
        running = {job.job.id for job in self._server.active_jobs}
        return len(running | self._accepted)

    def load(self) -> float:
        """Share of the sessions that are taken, as it is reported: up to :data:`_FULL_LOAD`."""
        return _FULL_LOAD * self.sessions / self._options.max_sessions

    async def admit(self, request: JobRequest) -> None:
        """Accept a job, or leave it to another worker."""
        room, cap = request.room.name, self._options.max_sessions
        taken = {job.job.room.name for job in self._server.active_jobs}
        if self._draining or self.sessions >= cap:
            why = "draining" if self._draining else f"all {cap} sessions are taken"
            if not self._draining:
                metrics.reached(metrics.Limit.SESSIONS)
            log.warning("rooms: room %s is left to another worker: %s", room, why)
            await request.reject(terminate=False)
            return
        if room in taken:
            # a server that was restarted makes the room anew and calls again, while the first
            # agent is reconnecting to it
            log.warning("rooms: room %s has its agent: a second one is refused", room)
            await request.reject(terminate=True)
            return
        self._accepted.add(request.id)
        try:
            await request.accept()
        finally:
            self._accepted.discard(request.id)

    async def run(self, stopping: Stopping, task_status: TaskStatus[AgentServer]) -> None:
        """Register and take jobs until asked to stop, then drain."""
        server, registered = self._server, anyio.Event()

        def note(worker: str, _: object) -> None:
            log.info("rooms: worker registered as %s", worker)
            registered.set()

        server.on("worker_registered", note)
        async with AsyncExitStack() as told:
            await self._tell(told)  # a port that can't be listened on: nothing has begun
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._serve)
                    tasks.start_soon(self._announce, registered, task_status)
                    await stopping.drain.wait()
                    self._draining = True
                    await self._drain(stopping)
                    await server.aclose()
                    tasks.cancel_scope.cancel()
            finally:
                self._stops.now.set()
                with anyio.CancelScope(shield=True):  # each call's ending is bounded by its limits
                    await server.aclose()

    async def _tell(self, told: AsyncExitStack) -> None:
        """Answer those who ask for health and metrics, until ``told`` is closed.

        Raises :class:`~agent.errors.InputError`.
        """
        options, runtime = self._options, self._runtime
        figures = metrics.Worker(
            sessions=lambda: self.sessions,
            max_sessions=options.max_sessions,
            stats=None if runtime is None else runtime.stats,
        )
        told.enter_context(figures)
        answers = health.served(
            self._server, self._health, host=options.host, port=options.health_port
        )
        log.info("rooms: health at %s", await told.enter_async_context(answers))
        if options.metrics_port is not None:
            url = await told.enter_async_context(metrics.served(options.host, options.metrics_port))
            log.info("rooms: metrics at %s", url)

    def _health(self) -> dict[str, Any]:
        troubles = () if self._runtime is None else self._runtime.troubles()
        return report(troubles, sessions=self.sessions, max_sessions=self._options.max_sessions)

    async def _serve(self) -> None:
        try:
            await self._server.run()
        except RuntimeError as error:  # it has tried for minutes
            raise RoomsError(f"the LiveKit server is gone: {error}") from error

    async def _announce(
        self, registered: anyio.Event, task_status: TaskStatus[AgentServer]
    ) -> None:
        await registered.wait()
        options = self._options
        log.info(
            "rooms: takes %s, at most %d at once, each in a %s",
            f"calls for {options.agent_name!r}" if options.agent_name else "every new room",
            options.max_sessions,
            options.executor,
        )
        task_status.started(self._server)

    async def _drain(self, stopping: Stopping) -> None:
        """Have LiveKit offer no more jobs, and end the calls."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(functools.partial(self._server.drain, timeout=None))
            await end_calls(
                stopping,
                held=lambda: self.sessions,
                goodbye=self._stops.goodbye.set,
                cut=self._stops.now.set,
                timeout=self._options.drain_timeout,
                farewell=self._options.farewell,
            )
            tasks.cancel_scope.cancel()


async def check(livekit: LiveKit) -> None:
    """Reach the server with the key; wait up to :data:`REACH_TIMEOUT_SECONDS` for it to be there.

    Raises :class:`RoomsError`.
    """
    deadline = anyio.current_time() + REACH_TIMEOUT_SECONDS
    delay = 0.5
    while True:
        try:
            with anyio.fail_after(_ASK_TIMEOUT_SECONDS):
                async with api.LiveKitAPI(livekit.url, livekit.key, livekit.secret) as server:
                    await server.room.list_rooms(api.ListRoomsRequest(names=["-"]))
            return
        except api.TwirpError as error:
            if error.status in {401, 403}:
                raise RoomsError(
                    f"{livekit.url} doesn't accept LIVEKIT_API_KEY={livekit.key!r} with "
                    f"LIVEKIT_API_SECRET: check both against the server's"
                ) from error
            why = error.message
        except Exception as error:  # noqa: BLE001 - whatever keeps the server away
            why = str(error) or f"no answer within {_ASK_TIMEOUT_SECONDS:g} s"
        if anyio.current_time() + delay > deadline:
            raise RoomsError(f"no LiveKit server at LIVEKIT_URL={livekit.url}: {why}")
        log.warning("rooms: no LiveKit server at %s yet: %s; trying again", livekit.url, why)
        await anyio.sleep(delay)
        delay = min(2 * delay, 5.0)
