"""``parley serve``: the WebSocket gateway, in this process or in several that this one keeps."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import TYPE_CHECKING, Annotated

import typer

from agent.stopping import until_started
from config import load

from . import terminal
from .line import Told, hear

if TYPE_CHECKING:
    from agent.siblings import Place
    from config import Settings
    from telemetry import Runtime

    from .ending import Ending

PROCESS = "serve-process"
"""Name of the command that each of several processes runs."""


def register(app: typer.Typer, *, panel: str) -> None:
    """Add the commands to ``parley``, in this panel of its help."""
    app.command(rich_help_panel=panel)(serve)
    app.command(PROCESS, hidden=True)(serve_process)


def serve(
    host: Annotated[
        str | None,
        typer.Option(
            help="Address to listen on.", show_default="PARLEY_GATEWAY_HOST, or 127.0.0.1"
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port to listen on; 0 takes a free one.",
            show_default="PARLEY_GATEWAY_PORT, or 8765",
        ),
    ] = None,
    page: Annotated[bool, typer.Option(help="Serve the page to talk from a browser.")] = True,
    processes: Annotated[
        int | None,
        typer.Option(
            help="Processes that take calls on the port, one for each core (Linux only).",
            show_default="PARLEY_PROCESSES, or 1",
        ),
    ] = None,
) -> None:
    """Run the WebSocket gateway: many conversations in one process, or in several.

    Ctrl-C lets conversations end by themselves for a while, a second one ends them at once, a third
    one leaves.

    Example: `PARLEY_GATEWAY_TOKEN=… parley serve --host 0.0.0.0 --processes 4`
    """
    settings = load(gateway_host=host, gateway_port=port, processes=processes)
    from . import process

    process.begin(settings.log_level)
    if (warning := process.open_to_all(settings)) is not None:
        terminal.warn(f"parley: warning: {warning}")
    if settings.processes > 1:
        from . import processes as several

        raise typer.Exit(several.keep(settings, PROCESS, page=page))
    with process.ending(settings) as ending, process.traced(settings) as runtime:
        process.run(_serve, settings, page, ending, runtime, None, None)


def serve_process(
    folder: Path,
    number: int,
    line: int,
    seats: int,
    host: Annotated[str, typer.Option()],
    port: Annotated[int, typer.Option()],
    processes: Annotated[int, typer.Option()],
    page: Annotated[bool, typer.Option()] = True,
) -> None:
    """Be one of several processes of `parley serve`, which starts them.

    ``line`` is the descriptor of a socket to the process that has started this one
    (:mod:`agent.cli.line`), ``seats`` that of the file by which all share seats.
    """
    settings = load(gateway_host=host, gateway_port=port, processes=processes)
    from agent.siblings import Place

    from . import process

    process.begin(settings.log_level, warns=False, number=number)
    place = Place(folder, number, processes, seats)
    with process.ending(settings, kept=True) as ending:
        keeper = socket.socket(fileno=line)
        hear(keeper, ending, folder)
        with process.traced(settings) as runtime:
            process.run(_serve, settings, page, ending, runtime, place, keeper)


async def _serve(
    settings: Settings,
    page: bool,
    ending: Ending,
    runtime: Runtime,
    place: Place | None,
    keeper: socket.socket | None,
) -> None:
    from agent import gateway
    from agent.worker import worker

    from . import process

    token, port = settings.gateway_token, settings.metrics_port
    async with AsyncExitStack() as stack:
        stopping = await stack.enter_async_context(ending.heard())
        started = await stack.enter_async_context(until_started(stopping))
        with process.busy("loading the models") if place is None else nullcontext():
            open_session = await stack.enter_async_context(
                worker(
                    process.choice(settings),
                    agent=settings.agent,
                    environ=process.environ(settings),
                    silence=settings.silence_timeout,
                    record=process.record(settings),
                    turns=process.turns(settings),
                )
            )
        started()
        await gateway.serve(
            open_session,
            host=settings.gateway_host,
            port=settings.gateway_port,
            token=None if token is None else token.get_secret_value(),
            page=page,
            max_sessions=settings.max_sessions,
            idle_timeout=settings.idle_timeout,
            max_duration=settings.max_duration,
            stopping=stopping,
            drain_timeout=settings.drain_timeout,
            runtime=runtime,
            metrics_at=None if port is None or place else (settings.metrics_host, port),
            place=place,
            task_status=Told(keeper),
        )
