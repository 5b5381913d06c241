"""The commands of ``parley traces``, and their words in ``--help``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from config import SettingsError, load
from telemetry.store import TraceStore

traces = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List, show, export and delete conversations in the local trace store; recover what was "
    "left in it.",
)
StoreOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--store",
        help="A trace store, instead of PARLEY_TRACE_STORE. Several, if services have their own.",
    ),
]


def register(app: typer.Typer, *, panel: str) -> None:
    """Add the commands to ``parley``, in this panel of its help."""
    app.add_typer(traces, name="traces", rich_help_panel=panel)


@traces.command("list")
def list_traces(
    store: StoreOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
) -> None:
    """List conversations, newest first."""
    from . import traces as trace_store

    trace_store.list_conversations(_stores(store), limit)


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
    """Show a conversation as a timed tree, with its words, and all that was done for it.

    The tree is that of the whole trace: who called, what services did. Where the clock of another
    machine is wrong, that is said; no time is corrected.

    Example: `parley traces show booking-1 --no-words --store traces.db --store service/traces.db`
    """
    from . import traces as trace_store

    trace_store.show_conversation(_stores(store), conversation, words=words)


@traces.command("export")
def export_trace(
    conversation: Annotated[
        str | None,
        typer.Argument(
            help="Id of a conversation or trace, or the start of one. The newest if not given."
        ),
    ] = None,
    store: StoreOption = None,
    html: Annotated[
        bool,
        typer.Option("--html/--json", help="A page to open in a browser, or data."),
    ] = True,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The file to write; - for standard output.",
            show_default="the conversation's id, here",
        ),
    ] = None,
) -> None:
    """Write a conversation to one file that needs nothing else: to keep, or to hand on.

    The page has its audio in it, if the call was recorded, and loads nothing from anywhere. It
    holds what people said.

    Example: `parley traces export booking-1 -o booking.html`
    """
    from . import traces as trace_store

    trace_store.export_conversation(
        _stores(store), conversation, kind="html" if html else "json", output=output
    )


@traces.command("recover")
def recover_traces(
    store: StoreOption = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that sending to Sentry may take.")
    ] = 60.0,
) -> None:
    """Close what killed processes left open, and send to Sentry what it hasn't got.

    The next start of any command that uses the store does the same. What a process that lives has
    is left to it.

    Exit code 1 if something still waits.
    """
    settings = load()
    from . import process
    from . import traces as trace_store

    process.begin(settings.log_level)
    waits = [trace_store.recover(settings, path, timeout) for path in _stores(store)]
    raise typer.Exit(1 if any(waits) else 0)


@traces.command("delete")
def delete_traces(
    conversations: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID…", help="Ids of conversations or traces, or starts of one."),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="All that began so long ago: 7d, 12h, 30m."),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Delete conversations: words, spans, errors, recordings, and what services did for them.

    A trace goes whole: if other conversations are in it, name them too, or the trace. What Sentry
    has got stays there. What is still running stays, too.

    Exit code 1 if something that was meant is running, or its recording can't be deleted.

    Example: `parley traces delete booking-1-9bbfc0e5`, `parley traces delete --older-than 7d`
    """
    from . import deleting

    is_all = deleting.delete(_stores(store), conversations or (), older_than)
    raise typer.Exit(0 if is_all else 1)


def _stores(paths: list[Path] | None) -> list[Path]:
    found = paths or [path for path in (load().trace_store,) if path is not None]
    if not found:
        raise SettingsError("PARLEY_TRACE_STORE is off: give the store with --store")
    for path in found:
        if not TraceStore(path).path.exists():
            raise SettingsError(f"{path}: no trace store there yet; hold a conversation first")
    return found
