"""The commands. Each reads the settings, hands over plain values, and turns what is wrong with
them into one line on stderr and exit code 2.

What a command needs is imported when it runs: LiveKit and the models take seconds to import, and
``parley --help`` needs neither.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from agent.errors import InputError
from config import SettingsError, load
from telemetry import TelemetryError

from . import rooms

if TYPE_CHECKING:
    from config import Settings

WRONG = (InputError, SettingsError, TelemetryError)
"""Errors that are somebody's input: said in one line, without a traceback."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Realtime voice conversations, each one complete trace. Settings come from the "
    "environment and .env; the README lists them.",
)
traces = typer.Typer(no_args_is_help=True, help="Conversations from the local trace store.")
app.add_typer(traces, name="traces")

rooms.register(app)

StoreOption = Annotated[
    Path | None, typer.Option("--store", help="The trace store, instead of PARLEY_TRACE_STORE.")
]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
) -> None:
    """Run the WebSocket gateway: many conversations in one process. Ctrl-C ends them cleanly."""
    settings = load(gateway_host=host, gateway_port=port)
    from . import process

    process.log_to_stderr(settings.log_level)
    with process.traced(settings):
        anyio.run(_serve, settings)


async def _serve(settings: Settings) -> None:
    from agent import gateway
    from agent.worker import worker

    from . import process

    token = settings.gateway_token
    async with (
        process.stopping() as stop,
        worker(
            process.choice(settings), agent=settings.agent, environ=process.environ(settings)
        ) as open_session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(
            functools.partial(
                gateway.serve,
                open_session,
                host=settings.gateway_host,
                port=settings.gateway_port,
                token=None if token is None else token.get_secret_value(),
                max_sessions=settings.max_sessions,
                idle_timeout=settings.idle_timeout,
                max_duration=settings.max_duration,
            )
        )
        await process.run_until(stop, tasks)


@app.command()
def simulate(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(help="Scenarios by name, or paths of YAML files. All shipped ones if none."),
    ] = None,
    callers: Annotated[
        int | None, typer.Option(min=1, help="Conversations in all. One per scenario if not given.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the JSON report here.")] = None,
    stagger: Annotated[
        float, typer.Option(min=0, help="Seconds between one call and the next.")
    ] = 0.5,
) -> None:
    """Let scripted callers hold conversations with the agent, and check all of it.

    Starts the gateway and the reservations service itself. Exit code 0 only if every reply,
    every expectation and every trace was right; 1 if one wasn't; 2 if the input wasn't.
    """
    settings = load()
    from . import process
    from . import simulate as simulation

    process.log_to_stderr("WARNING")
    passed = simulation.simulate(
        settings, scenarios or [], callers=callers, report=report, stagger=stagger
    )
    raise typer.Exit(0 if passed else 1)


@traces.command("list")
def list_traces(
    store: StoreOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
) -> None:
    """List conversations, newest first."""
    from . import traces as trace_store

    trace_store.list_conversations(_store(store), limit)


@traces.command("show")
def show_trace(
    conversation: Annotated[
        str | None,
        typer.Argument(
            help="Id of a conversation or trace, or the start of one. The newest if not given."
        ),
    ] = None,
    store: StoreOption = None,
    words: Annotated[bool, typer.Option(help="What was said, too.")] = True,
) -> None:
    """Show a conversation as a timed tree, with its words."""
    from . import traces as trace_store

    trace_store.show_conversation(_store(store), conversation, words=words)


@app.command()
def reservations(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8780,
) -> None:
    """Run the example's reservations service."""
    settings = load()
    from . import process

    process.log_to_stderr(settings.log_level)
    anyio.run(_reservations, settings.reservations_db, host, port)


async def _reservations(db: Path, host: str, port: int) -> None:
    from agent import desk

    from . import process

    async with process.stopping() as stop, anyio.create_task_group() as tasks:
        tasks.start_soon(functools.partial(desk.serve, db, host, port))
        await process.run_until(stop, tasks)


def main() -> None:
    """Run the command line."""
    # PARLEY_AGENT=module:Class names a file in the operator's own folder
    sys.path.insert(0, str(Path.cwd()))
    try:
        app()
    except BaseExceptionGroup as group:
        wrong, others = group.split(WRONG)
        if wrong is None or others is not None:
            raise
        _give_up(_first(wrong))
    except WRONG as error:
        _give_up(error)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _give_up(error: BaseException) -> None:
    typer.echo(f"parley: {error}", err=True)
    sys.exit(2)


def _store(path: Path | None) -> Path:
    found = path or load().trace_store
    if found is None:
        raise SettingsError("PARLEY_TRACE_STORE is off: give the store with --store")
    if not found.exists():
        raise SettingsError(f"{found}: no trace store there yet; hold a conversation first")
    return found
