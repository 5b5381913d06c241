"""``parley traces``: conversations from the local trace stores, on the terminal.

One process, or several on a machine, write to a store. The part that a service has in a
conversation may be in another store: given all of them, a trace is shown whole.
"""

from __future__ import annotations

import datetime
import functools
import heapq
import time
from typing import TYPE_CHECKING

from rich.table import Column, Table
from rich.text import Text

from telemetry import TelemetryError
from telemetry.attributes import OP_CONVERSATION
from telemetry.printable import printable
from telemetry.store import AmbiguousId, TraceStore
from telemetry.tree import render

from . import process, terminal
from .stored_error import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from config import Settings
    from telemetry.store import StoredConversation


def list_conversations(paths: Sequence[Path], limit: int) -> None:
    """Print the newest conversations as a table."""
    named = Column("conversation", overflow="fold")  # whole: it is asked for by this
    table = Table("started", named, "name", "status", "seconds", "spans", box=None)
    for row in _newest([TraceStore(path) for path in paths], limit):
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
    stores = [TraceStore(path) for path in paths]
    where = ", ".join(map(str, paths))
    if wanted is None:
        named = _newest(stores, 1)
        if not named:
            raise TelemetryError(f"{where}: no conversation in it yet")
        [found] = named
    else:
        one = find(stores, wanted)
        if one is None and (errors := [e for each in stores for e in each.errors_by_event(wanted)]):
            terminal.console().print(Text("\n\n".join(map(text_of, errors))), soft_wrap=True)
            return
        if one is None:
            raise TelemetryError(f"{where}: no conversation {wanted!r}; see `parley traces list`")
        found = one
    trace = _once(each for store in stores for each in store.trace(found.trace_id))
    shown = _shown(trace, found)
    console = terminal.console()
    width = console.width if console.is_terminal else None
    others = [each for each in trace if each is not shown]
    tree = render(shown, others=others, words=words, width=width)
    console.print(Text(tree), soft_wrap=True)


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


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _shown(trace: Sequence[StoredConversation], found: StoredConversation) -> StoredConversation:
    """The conversation to draw: the one found or, for a request, its conversation in any store."""
    conversations = [each for each in trace if each.op == OP_CONVERSATION]
    if conversations and found.op != OP_CONVERSATION:
        return conversations[0]
    same = (each for each in trace if _identity(each) == _identity(found))
    return next(same, found)  # it may have been forgotten since


def _newest(stores: Sequence[TraceStore], limit: int) -> list[StoredConversation]:
    """The newest of all stores. A service's part is listed where its conversation isn't."""
    rows = heapq.merge(
        *(_rows(store) for store in stores), key=lambda row: row.started_at, reverse=True
    )

    @functools.cache
    def has_conversation(trace_id: str) -> bool:
        """True if the trace holds a conversation: looked up once for all requests in it."""
        return any(each.op == OP_CONVERSATION for store in stores for each in store.trace(trace_id))

    listed: dict[tuple[object, ...], StoredConversation] = {}
    for row in rows:  # read as far as needed: most of a service's are passed over
        if row.op == OP_CONVERSATION or not has_conversation(row.trace_id):
            listed[_identity(row)] = row
        if len(listed) == limit:
            break
    return list(listed.values())


def _rows(store: TraceStore) -> Iterator[StoredConversation]:
    """The contents of a store, the newest first, a few read at a time."""
    before = None
    while rows := store.conversations(before=before):
        yield from rows
        before = rows[-1].started_at


def find(stores: Sequence[TraceStore], wanted: str) -> StoredConversation | None:
    """The conversation of this id, or None.

    Raises:
        AmbiguousId: several have it.
    """
    matches: list[StoredConversation] = []
    more = False
    for store in stores:
        try:
            found = store.conversation(wanted)
        except AmbiguousId as several:
            matches += several.matches
            more |= several.more
        else:
            matches += [] if found is None else [found]
    matches = _once(matches)
    matches = [each for each in matches if each.op == OP_CONVERSATION] or matches
    if matches and all(each.trace_id == wanted for each in matches):
        return min(matches, key=lambda each: each.started_at)
    if len(matches) > 1:
        raise AmbiguousId(wanted, tuple(matches), more=more)
    return matches[0] if matches else None


def _once(conversations: Iterable[StoredConversation]) -> list[StoredConversation]:
    """Each conversation once, even if it is in two stores, as when one is given twice."""
    return list({_identity(each): each for each in conversations}.values())


def _identity(each: StoredConversation) -> tuple[object, ...]:
    return each.trace_id, each.root_span_id, each.id, each.started_at
