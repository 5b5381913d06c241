"""The commands. Each reads the settings, hands over plain values, and turns anything wrong with
them into one line of text on stderr and exit code 2.

A command's own imports are made when it runs: LiveKit and the models take seconds to import, and
``parley --help`` needs neither.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from agent import certificates
from agent.errors import InputError
from agent.proxies import spare_loopback
from agent.stopping import until_started
from config import SettingsError, export_dotenv, load
from telemetry import TelemetryError
from telemetry.printable import printable

from . import rooms, simulate, terminal, trace_commands, viewer

if TYPE_CHECKING:
    from config import Settings
    from telemetry import Runtime

    from .ending import Ending

INPUT_ERRORS = (InputError, SettingsError, TelemetryError)
"""Errors that are somebody's input: told in one line of text, without a traceback."""

_NAMESPACES = ("google", "livekit", "opentelemetry")
"""Packages in several parts, which a module of this name would go before, wherever it is."""

START = "Start"
ANSWER = "Answer callers"
LOOK = "Look"
"""Groups of commands in ``--help``."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Realtime voice conversations, each one complete trace.\n\nSettings come from the "
    "environment and from `.env` in the working directory; the README lists them. Without any, "
    "everything runs on this machine: no account, no key.",
    epilog="Begin with `parley simulate`, which talks to the example, or `parley new my-agent`. "
    "`parley COMMAND --help` has examples. Exit codes: 0 all is well, 1 something isn't, 2 the "
    "input can't be used.",
)


@app.command(rich_help_panel=START)
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that isn't there yet.")],
) -> None:
    """Write the beginning of an agent of your own: one file, a caller, a test, settings.

    Example: `parley new my-agent && cd my-agent && parley simulate`
    """
    from .new import make

    for path in make(folder):
        terminal.say(printable(path))
    terminal.say(f"Next: cd {printable(folder)} && parley simulate")


@app.command(rich_help_panel=START)
def check(
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that each answer may take.")
    ] = 20.0,
) -> None:
    """See whether all that the settings name is there and works.

    Reaches the agent, each provider (a sentence is said, one is recognised, a word is asked of the
    model), the reservations service, the trace store, Sentry, the LiveKit server and the gateway's
    port, all at once; one line of text each. Shows no secrets, and leaves nothing behind.

    Exit code 1 if something is wrong, 2 if the settings can't be read.
    """
    settings = load()
    from . import check as checking
    from . import process

    process.begin("CRITICAL", warns=False)
    raise typer.Exit(0 if checking.check(settings, limit=timeout) else 1)


@app.command(rich_help_panel=ANSWER)
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
) -> None:
    """Run the WebSocket gateway: many conversations in one process.

    Ctrl-C lets conversations end by themselves for a while, a second one ends them at once, a third
    one leaves.

    Example: `PARLEY_GATEWAY_TOKEN=… parley serve --host 0.0.0.0`
    """
    settings = load(gateway_host=host, gateway_port=port)
    from . import process

    process.begin(settings.log_level)
    if (warning := process.open_to_all(settings)) is not None:
        terminal.warn(f"parley: warning: {warning}")
    with process.ending(settings) as ending, process.traced(settings) as runtime:
        process.run(_serve, settings, page, ending, runtime)


async def _serve(settings: Settings, page: bool, ending: Ending, runtime: Runtime) -> None:
    from agent import gateway
    from agent.worker import worker

    from . import process

    token, port = settings.gateway_token, settings.metrics_port
    async with AsyncExitStack() as stack:
        stopping = await stack.enter_async_context(ending.heard())
        started = await stack.enter_async_context(until_started(stopping))
        with process.busy("loading the models"):
            open_session = await stack.enter_async_context(
                worker(
                    process.choice(settings),
                    agent=settings.agent,
                    environ=process.environ(settings),
                    silence=settings.silence_timeout,
                    record=process.record(settings),
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
            metrics_at=None if port is None else (settings.metrics_host, port),
        )


@app.command(rich_help_panel=LOOK)
def compare(
    before: Annotated[Path, typer.Argument(metavar="A.json", help="Report of the first run.")],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="Report of the second.")],
    fail_over: Annotated[
        str | None,
        typer.Option(
            metavar="10%|50ms",
            help="Exit with 1 if responses, or a stage, got slower by more.",
        ),
    ] = None,
) -> None:
    """Compare two runs of the simulator: what got slower, and what says or does something else.

    Turns are paired by scenario. A latency is shown if it differs by more than noise: two runs of
    the same program differ in nothing, 19 times of 20. More callers find smaller differences.

    Example: `parley simulate --report b.json && parley compare a.json b.json --fail-over 10%`
    """
    from . import compare as comparing

    raise typer.Exit(0 if comparing.compare(before, after, fail_over) else 1)


app.command("simulate", help=simulate.HELP, rich_help_panel=START)(simulate.command)


trace_commands.register(app, panel=LOOK)
viewer.register(app, panel=LOOK)
rooms.register(app, panel=ANSWER)


@app.command(rich_help_panel=ANSWER)
def reservations(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8780,
) -> None:
    """Run the example's reservations service, which the front desk books at.

    Its requests are part of the conversations they are made in: `parley traces show`.
    """
    settings = load()
    from . import process

    process.begin(settings.log_level)
    with process.ending(settings) as ending, process.traced(settings):
        process.run(_reservations, settings.reservations_db, host, port, ending)


async def _reservations(db: Path, host: str, port: int, ending: Ending) -> None:
    from agent import desk

    async with ending.heard() as stopping, anyio.create_task_group() as tasks:
        tasks.start_soon(functools.partial(desk.serve, db, host, port))
        await stopping.drain.wait()
        tasks.cancel_scope.cancel()


def main() -> None:
    """Run the command line."""
    terminal.adapt()
    code = _run()
    if (lost := terminal.finish()) is not None:
        terminal.warn(f"parley: {lost}")
        code = code or 1
    sys.exit(code)


def _run() -> int | str | None:
    """Run it; its exit code."""
    try:
        _find_modules_here()
        export_dotenv()
        spare_loopback(os.environ)
        certificates.set_aside(os.environ)
        app()
    except SystemExit as end:
        return end.code
    except BaseExceptionGroup as group:
        wrong, others = group.split(INPUT_ERRORS)
        if wrong is None or others is not None:
            raise
        return _refused(_first(wrong))
    except INPUT_ERRORS as error:
        return _refused(error)
    return 0


def _find_modules_here() -> None:
    """Have an agent's modules found in the operator's own folder, after everything else: no file
    there hides a module of Python's, of a package's or of ours."""
    for name in _NAMESPACES:
        importlib.import_module(name)
    try:
        sys.path.append(str(Path.cwd()))
    except OSError as error:
        raise InputError(
            "the working directory isn't there any more: change to one that is"
        ) from error


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _refused(error: BaseException) -> int:
    terminal.warn(f"parley: {error}")
    return 2
