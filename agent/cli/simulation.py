"""A simulation: the whole worker, its callers and the service they book at, in one run."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from agent import desk, simulator
from agent.desk.reservations import Faults
from telemetry.printable import printable
from telemetry.store import TraceStore

from . import process, scenarios, terminal, transports
from .simulate_options import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    import telemetry
    from agent.stopping import Stopping
    from config import Settings
    from telemetry.records import ConversationRecord

    from .ending import Ending
    from .simulate_options import Options


@dataclass(frozen=True, slots=True)
class Files:
    """The files to write; None writes nothing."""

    report: Path | None = None
    junit: Path | None = None

    def check(self) -> None:
        """Check that each can be written, before the run, not after it. Raises ScenarioError."""
        for option, path in self._given():
            check_writable(option, path)

    def write(self, report: simulator.Report) -> list[str]:
        """Write them; what went wrong, a line of text for each that couldn't be."""
        texts = {
            "--report": lambda: json.dumps(simulator.as_json(report), indent=2) + "\n",
            "--junit": lambda: simulator.junit(report),
        }
        problems = []
        for option, path in self._given():
            try:
                path.write_bytes(texts[option]().encode("utf-8", "replace"))
            except OSError as error:
                problems.append(unwritable(option, path, error))
        return problems

    def _given(self) -> list[tuple[str, Path]]:
        named = {"--report": self.report, "--junit": self.junit}
        return [(option, path) for option, path in named.items() if path is not None]


def check_writable(option: str, path: Path) -> None:
    """Check that a file that an option names can be written. Raises ScenarioError."""
    folder = path.parent
    if not folder.is_dir():
        raise simulator.ScenarioError(f"{option} {path}: there is no folder {folder}")
    if path.is_dir():
        raise simulator.ScenarioError(f"{option} {path}: it is a folder: name a file in it")
    new = not path.exists()
    try:
        if new or path.is_file():  # a pipe would be at its end, once closed
            path.open("ab").close()
        if new:
            path.unlink()
    except OSError as error:
        raise simulator.ScenarioError(unwritable(option, path, error)) from error


def unwritable(option: str, path: Path, error: OSError) -> str:
    """The line of text that tells of a file that can't be written."""
    reason = (error.strerror or type(error).__name__).lower()
    return f"{option} {path}: it can't be written: {reason}: choose another place"


def simulate(settings: Settings, options: Options) -> bool:
    """Run it, show it, write the reports; True when everything held."""
    console = terminal.console()
    chosen = scenarios.chosen(settings, options.scenarios)
    line = None if options.line is None else simulator.Conditions.parse(options.line)
    files = Files(report=options.report, junit=options.junit)
    files.check()
    console.print(f"seed {options.seed}", markup=False)
    with tempfile.TemporaryDirectory(prefix="parley-") as scratch:
        # The verdict needs the traces, so they are kept for the run even when the store is off.
        store = settings.trace_store or Path(scratch) / "traces.db"
        with (
            process.ending(settings) as ending,
            process.traced(settings, store=str(store)) as runtime,
        ):
            found = process.run(
                functools.partial(
                    hold,
                    settings,
                    chosen,
                    load=_load(options, len(chosen)),
                    line=line,
                    transport=options.transport,
                    watched=simulator.watch(console),
                    runtime=runtime,
                    ending=ending,
                    store=store,
                    bookings=Path(scratch) / "reservations.db",
                )
            )
        if found is None:
            console.print("Stopped at once, without a report.", style="red")
            return False
        # What was not delivered is known, and counted, only now.
        stats = dataclasses.asdict(runtime.stats())
        found = dataclasses.replace(found, stats=stats, command=options.command_line)
    unwritten = files.write(found)  # first: who reads them need not have a terminal
    console.print(simulator.render(found))
    if settings.trace_store is not None and found.calls:
        worst = min(found.calls, key=lambda call: call.passed)
        shown = printable(worst.id)
        console.print(f"See a conversation: parley traces show {shown}", markup=False)
        console.print("See all of them, in a browser: parley viewer")
    if unwritten:
        raise simulator.ScenarioError("\n".join(unwritten))
    return found.passed


def _load(options: Options, scenarios: int) -> simulator.Load:
    """The callers that the options ask for: one for each scenario unless they say otherwise."""
    callers = options.callers or scenarios
    return simulator.Load(
        callers=callers,
        at_once=options.at_once,
        ramp=(callers - 1) / 2 if options.ramp is None else options.ramp,
        hold=options.hold,
        repeat=options.repeat,
        seed=options.seed,
    )


async def hold(
    settings: Settings,
    scenarios: Sequence[simulator.Scenario],
    *,
    load: simulator.Load,
    line: simulator.Conditions | None,
    transport: Transport,
    watched: AbstractContextManager[Callable[[simulator.Progress], None]],
    runtime: telemetry.Runtime,
    ending: Ending,
    store: Path,
    bookings: Path,
) -> simulator.Report | None:
    """Make one run of service, agent and callers; None instead of a report when it was stopped
    twice, and so not waited for. ``watched`` shows its progress."""
    found: simulator.Report | None = None
    traces = TraceStore(store)

    async def read_trace(conversation: str) -> ConversationRecord | None:
        return await anyio.to_thread.run_sync(traces.conversation, conversation)

    async with ending.heard() as stopping, anyio.create_task_group() as services:
        services.start_soon(_end_at_once, stopping, services.cancel_scope)
        service = await services.start(
            functools.partial(desk.serve, bookings, port=0, faults=Faults())
        )
        environ = process.environ(settings, PARLEY_RESERVATIONS_URL=service)
        # twice as many as call: with --hold the next calls while the last still closes
        sessions = 2 * load.callers
        agreement, histories = simulator.AGREEMENT_MS, transports.Histories()
        match transport:
            case Transport.GATEWAY:
                reached = transports.gateway(
                    settings, environ, sessions=sessions, histories=histories
                )
            case Transport.LIVEKIT:
                reached = transports.livekit(
                    settings, environ, sessions=sessions, histories=histories, runtime=runtime
                )
                agreement = transports.ROOMS_AGREE_MS
        async with reached as connect:
            with watched as on_progress:
                simulation = simulator.Simulation(
                    scenarios=scenarios,
                    connect=connect,
                    read_trace=read_trace,
                    read_history=histories.take,
                    read_reservations=functools.partial(
                        anyio.to_thread.run_sync, _reservations, bookings
                    ),
                    stats=lambda: dataclasses.asdict(runtime.stats()),
                    line=line,
                    agreement_ms=agreement,
                    stop=stopping.drain,
                    on_progress=on_progress,
                )
                found = await simulation.run(load)
        services.cancel_scope.cancel()
    return found


async def _end_at_once(stopping: Stopping, run: anyio.CancelScope) -> None:
    await stopping.now.wait()
    run.cancel()


def _reservations(bookings: Path) -> list[dict[str, Any]]:
    """The reservations at the service that was started, each with its day of the week."""
    with closing(sqlite3.connect(f"file:{bookings}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        rows = [dict(row) for row in db.execute("SELECT * FROM reservations ORDER BY id")]
    for row in rows:
        row["day"] = f"{dt.date.fromisoformat(row['date']):%A}"
    return rows
