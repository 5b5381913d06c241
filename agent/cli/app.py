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
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from agent import certificates
from agent.errors import InputError
from agent.proxies import spare_loopback
from config import SettingsError, export_dotenv, load
from telemetry import TelemetryError
from telemetry.printable import printable

from . import rooms, serve, simulate, terminal, trace_commands, tune, viewer

if TYPE_CHECKING:
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


serve.register(app, panel=ANSWER)


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
app.command("tune", help=tune.HELP, rich_help_panel=LOOK)(tune.command)


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
