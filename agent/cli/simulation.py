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
from rich.console import Console

from agent import desk, simulator
from agent.desk.reservations import Faults
from config import scenario_files
from telemetry.store import TraceStore

from . import process, transports
from .simulate_options import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import telemetry
    from config import Settings
    from telemetry.records import ConversationRecord

    from .simulate_options import Options


@dataclass(frozen=True, slots=True)
class Files:
    """The files to write; None writes nothing."""

    report: Path | None = None
    junit: Path | None = None

    def check(self) -> None:
        """Check that each can be written, before the run, not after it. Raises ScenarioError."""
        for option in dataclasses.fields(self):
            path = getattr(self, option.name)
            if path is not None and not path.parent.is_dir():
                raise simulator.ScenarioError(
                    f"--{option.name} {path}: there is no folder {path.parent}"
                )

    def write(self, report: simulator.Report) -> None:
        """Write them."""
        if self.report is not None:
            text = json.dumps(simulator.as_json(report), indent=2) + "\n"
            self.report.write_text(text, encoding="utf-8")
        if self.junit is not None:
            self.junit.write_text(simulator.junit(report), encoding="utf-8")


def simulate(settings: Settings, options: Options) -> bool:
    """Run it, show it, write the reports; True when everything held."""
    console = Console(highlight=False)
    shipped = {path.stem: path for path in scenario_files()}
    scenarios = simulator.find_scenarios(options.scenarios, shipped)
    line = None if options.line is None else simulator.Conditions.parse(options.line)
    files = Files(report=options.report, junit=options.junit)
    files.check()
    console.print(f"seed {options.seed}", markup=False)
    with tempfile.TemporaryDirectory(prefix="parley-") as scratch:
        # The verdict needs the traces, so they are kept for the run even when the store is off.
        store = settings.trace_store or Path(scratch) / "traces.db"
        with process.traced(settings, store=str(store)) as runtime:
            found = anyio.run(
                functools.partial(
                    _simulate,
                    settings,
                    scenarios,
                    load=_load(options, len(scenarios)),
                    line=line,
                    transport=options.transport,
                    console=console,
                    runtime=runtime,
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
    console.print(simulator.render(found))
    files.write(found)
    if settings.trace_store is not None and found.calls:
        worst = min(found.calls, key=lambda call: call.passed)
        console.print(f"See a conversation: parley traces show {worst.id}")
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


async def _simulate(
    settings: Settings,
    scenarios: Sequence[simulator.Scenario],
    *,
    load: simulator.Load,
    line: simulator.Conditions | None,
    transport: Transport,
    console: Console,
    runtime: telemetry.Runtime,
    store: Path,
    bookings: Path,
) -> simulator.Report | None:
    """Make the run; None instead of a report when it was stopped twice, and so not waited for."""
    found: simulator.Report | None = None
    traces = TraceStore(store)

    async def read_trace(conversation: str) -> ConversationRecord | None:
        return await anyio.to_thread.run_sync(traces.conversation, conversation)

    async def read_reservations() -> Sequence[Mapping[str, Any]]:
        return await anyio.to_thread.run_sync(_reservations, bookings)

    def stats() -> dict[str, Any]:
        return dataclasses.asdict(runtime.stats())

    async with process.stopping() as stop, anyio.create_task_group() as services:
        service = await services.start(
            functools.partial(desk.serve, bookings, port=0, faults=Faults())
        )
        environ = process.environ(settings, PARLEY_RESERVATIONS_URL=service)
        # twice as many as call: with --hold the next calls while the last still closes
        sessions = 2 * load.callers
        agreement = simulator.AGREEMENT_MS
        match transport:
            case Transport.GATEWAY:
                reached = transports.gateway(settings, environ, sessions=sessions)
            case Transport.LIVEKIT:
                reached = transports.livekit(settings, environ, sessions=sessions, runtime=runtime)
                agreement = transports.ROOMS_AGREE_MS
        async with reached as connect:
            with simulator.watch(console) as on_progress:
                simulation = simulator.Simulation(
                    scenarios=scenarios,
                    connect=connect,
                    read_trace=read_trace,
                    read_reservations=read_reservations,
                    stats=stats,
                    line=line,
                    agreement_ms=agreement,
                    stop=stop,
                    on_progress=on_progress,
                )
                found = await simulation.run(load)
        services.cancel_scope.cancel()
    return found


def _reservations(bookings: Path) -> list[dict[str, Any]]:
    """The reservations at the service that was started, each with its day of the week."""
    with closing(sqlite3.connect(f"file:{bookings}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        rows = [dict(row) for row in db.execute("SELECT * FROM reservations ORDER BY id")]
    for row in rows:
        row["day"] = f"{dt.date.fromisoformat(row['date']):%A}"
    return rows
