"""``parley traces``: conversations from the local trace stores, on the terminal.

One process, or several on a machine, write to a store. The part that a service has in a
conversation may be in another store: given all of them, a trace is shown whole.
"""

from __future__ import annotations

import datetime
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.table import Column, Table
from rich.text import Text

from agent.errors import InputError
from telemetry import TelemetryError
from telemetry.printable import printable
from telemetry.store import Stores, TraceStore
from telemetry.tree import render

from . import process, terminal
from .stored_error import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config import Settings
    from telemetry.store import StoredConversation

_STANDARD_OUTPUT: Final = Path("-")
_OURS: Final = 0o600
"""What people said is read by its owner only."""


def list_conversations(paths: Sequence[Path], limit: int) -> None:
    """Print the newest conversations as a table."""
    named = Column("conversation", overflow="fold")  # whole: it is asked for by this
    table = Table("started", named, "name", "status", "seconds", "spans", box=None)
    for row in _stores(paths).newest(limit):
        started = datetime.datetime.fromtimestamp(row.started_at).astimezone()
        seconds = "" if row.ended_at is None else f"{row.ended_at - row.started_at:.1f}"
        table.add_row(
            f"{started:%Y-%m-%d %H:%M:%S}",
            Text(printable(row.id)),
            Text(printable(row.name)),
            Text(printable(row.status)),
            seconds,
            str(row.span_count),
        )
    terminal.console().print(table)


def show_conversation(paths: Sequence[Path], wanted: str | None, *, words: bool) -> None:
    """Print a conversation and all else of its trace as a timed tree; the newest if none is
    named. An error goes by Sentry's id of its event."""
    stores = _stores(paths)
    if (
        wanted is not None
        and stores.named(wanted) is None
        and (errors := stores.errors_by_event(wanted))
    ):
        terminal.console().print(Text("\n\n".join(map(text_of, errors))), soft_wrap=True)
        return
    shown, others = stores.whole(_named(stores, paths, wanted))
    console = terminal.console()
    width = console.width if console.is_terminal else None
    tree = render(shown, others=others, words=words, width=width)
    console.print(Text(tree), soft_wrap=True)


def export_conversation(
    paths: Sequence[Path], wanted: str | None, *, kind: str, output: Path | None
) -> None:
    """Write a conversation, the newest if none is named, to a file: ``html`` or ``json``."""
    from telemetry.viewer import exported, file_name

    stores = _stores(paths)
    shown, _ = stores.whole(_named(stores, paths, wanted))
    text = exported(stores, shown, kind)
    if output == _STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    path = output or Path(file_name(shown, kind))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OURS)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise InputError(
            f"{printable(path)}: can't be written ({error.strerror}): give another with -o"
        ) from error
    terminal.say(printable(path))


def recover(settings: Settings, path: Path, timeout: float) -> bool:
    """Take over what killed processes left in a store, and say what came of it; True if something
    still waits there for Sentry."""
    deadline = time.monotonic() + timeout
    with process.traced(settings, store=str(path)) as runtime:
        runtime.recover(timeout)
        while (stats := runtime.stats()).waiting and time.monotonic() < deadline:
            time.sleep(0.05)
    closed = _counted(stats.recovered, "conversation")
    lines = [f"{path}: {closed} closed that a killed process had left open"]
    if stats.waiting:
        since = datetime.datetime.fromtimestamp(stats.waiting_since or time.time()).astimezone()
        waiting = _counted(stats.waiting, "envelope")
        lines.append(f"{waiting} still {'wait' if stats.waiting > 1 else 'waits'} for Sentry")
        lines.append(f"the first since {since:%Y-%m-%d %H:%M:%S}")
    elif settings.sentry_dsn is None:
        lines.append("nothing is sent without SENTRY_DSN")
    else:
        lines.append("nothing waits for Sentry")
    terminal.say(printable("; ".join(lines)))
    return stats.waiting > 0


def _named(stores: Stores, paths: Sequence[Path], wanted: str | None) -> StoredConversation:
    """The conversation that goes by this; the newest if nothing is asked for."""
    where = ", ".join(map(str, paths))
    if wanted is None:
        for newest in stores.newest(1):
            return newest
        raise TelemetryError(f"{where}: no conversation in it yet")
    found = stores.named(wanted)
    if found is None:
        raise TelemetryError(f"{where}: no conversation {wanted!r}; see `parley traces list`")
    return found


def _stores(paths: Sequence[Path]) -> Stores:
    return Stores([TraceStore(path) for path in paths])


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
