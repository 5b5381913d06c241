"""``parley simulate``: the whole worker, its callers and the service they book at, in one run."""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from rich.console import Console

from agent import desk, gateway, simulator
from agent.worker import worker
from config import scenario_files
from telemetry.store import TraceStore

from . import process

if TYPE_CHECKING:
    from collections.abc import Sequence

    import telemetry
    from config import Settings
    from telemetry.records import ConversationRecord


def simulate(
    settings: Settings,
    names: Sequence[str],
    *,
    callers: int | None,
    report: Path | None,
    stagger: float,
) -> bool:
    """Run it, show it, write the report; whether everything held."""
    console = Console(highlight=False)
    scenarios = simulator.find_scenarios(names, {path.stem: path for path in scenario_files()})
    if report is not None and not report.parent.is_dir():
        raise simulator.ScenarioError(f"--report {report}: there is no folder {report.parent}")
    with tempfile.TemporaryDirectory(prefix="parley-") as scratch:
        # The verdict needs the traces, so they are kept for the run even when the store is off.
        store = settings.trace_store or Path(scratch) / "traces.db"
        with process.traced(settings, store=str(store)) as runtime:
            found = anyio.run(
                functools.partial(
                    _simulate,
                    settings,
                    scenarios,
                    callers=callers or len(scenarios),
                    stagger=stagger,
                    console=console,
                    runtime=runtime,
                    store=store,
                    bookings=Path(scratch) / "reservations.db",
                )
            )
        # What was not delivered is known, and counted, only now.
        found = dataclasses.replace(found, stats=dataclasses.asdict(runtime.stats()))
    console.print(simulator.render(found))
    if report is not None:
        report.write_text(json.dumps(found.as_json(), indent=2) + "\n", encoding="utf-8")
    if settings.trace_store is not None and found.calls:
        console.print(f"See a conversation: parley traces show {found.calls[0].id}")
    return found.passed


async def _simulate(
    settings: Settings,
    scenarios: Sequence[simulator.Scenario],
    *,
    callers: int,
    stagger: float,
    console: Console,
    runtime: telemetry.Runtime,
    store: Path,
    bookings: Path,
) -> simulator.Report:
    traces = TraceStore(store)

    async def read_trace(conversation: str) -> ConversationRecord | None:
        return await anyio.to_thread.run_sync(traces.conversation, conversation)

    def stats() -> dict[str, Any]:
        return dataclasses.asdict(runtime.stats())

    async with process.stopping() as stop, anyio.create_task_group() as services:
        service = await services.start(functools.partial(desk.serve, bookings, port=0))
        environ = process.environ(settings, PARLEY_RESERVATIONS_URL=service)
        async with (
            worker(process.choice(settings), agent=settings.agent, environ=environ) as open_session,
            anyio.create_task_group() as tasks,
        ):
            url = await tasks.start(
                functools.partial(gateway.serve, open_session, port=0, max_sessions=callers)
            )
            with simulator.watch(console) as on_progress:
                found = await simulator.simulate(
                    scenarios,
                    callers=callers,
                    url=url,
                    read_trace=read_trace,
                    stats=stats,
                    stagger=stagger,
                    stop=stop,
                    on_progress=on_progress,
                )
            tasks.cancel_scope.cancel()
        services.cancel_scope.cancel()
    return found
