"""``parley traces``: conversations from the local trace store, on the terminal."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from telemetry import TelemetryError
from telemetry.store import TraceStore
from telemetry.tree import render

if TYPE_CHECKING:
    from pathlib import Path


def list_conversations(path: Path, limit: int) -> None:
    """Print the newest conversations as a table."""
    table = Table("started", "conversation", "name", "status", "seconds", "spans", box=None)
    for row in TraceStore(path).conversations(limit=limit):
        started = datetime.datetime.fromtimestamp(row.started_at).astimezone()
        seconds = "" if row.ended_at is None else f"{row.ended_at - row.started_at:.1f}"
        table.add_row(
            f"{started:%Y-%m-%d %H:%M:%S}",
            Text(row.id),
            Text(row.name),
            row.status,
            seconds,
            str(row.span_count),
        )
    Console(highlight=False).print(table)


def show_conversation(path: Path, wanted: str | None, *, words: bool) -> None:
    """Print a conversation as a timed tree; the newest if none is named."""
    store = TraceStore(path)
    if wanted is None:
        newest = store.conversations(limit=1)
        if not newest:
            raise TelemetryError(f"{path}: no conversation in it yet")
        wanted = newest[0].trace_id
    found = store.conversation(wanted)
    if found is None:
        raise TelemetryError(f"{path}: no conversation {wanted!r}; see `parley traces list`")
    console = Console(highlight=False)
    width = console.width if console.is_terminal else None
    root = found.root_span_id
    others = [each for each in store.trace(found.trace_id) if each.root_span_id != root]
    tree = render(found, others=others, words=words, width=width)
    console.print(Text(tree), soft_wrap=True)
