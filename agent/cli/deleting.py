"""``parley traces delete``: conversations go from the local trace stores, with their recordings."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from agent.errors import InputError
from telemetry import TelemetryError
from telemetry.attributes import OP_CONVERSATION
from telemetry.printable import printable
from telemetry.store import Stores, TraceStore

from . import terminal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from telemetry.store import StoredConversation

_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}
_NAMED: Final = 5
"""Conversations that a line names, of those that nobody has named."""
_AGE: Final = re.compile(r"(\d{1,6}) ?([mhd])")


def delete(paths: Sequence[Path], wanted: Sequence[str], older_than: str | None) -> bool:
    """Delete these conversations, or all that is older, and say what went; False if something
    stays: it is running, or the disk keeps its recording.

    Raises:
        InputError: it isn't said what is to go, or in two ways; or another conversation, which
            nobody named, is of the same trace. Nothing was deleted then.
        TelemetryError: there is no such conversation; nothing was deleted then, either.
    """
    if bool(wanted) == (older_than is not None):
        raise InputError("say which conversations: `parley traces delete ID…` or `--older-than 7d`")
    stores = [TraceStore(path) for path in paths]
    if older_than is not None:
        before = time.time() - _seconds(older_than)
        stays = [not _delete_before(store, before, older_than) for store in stores]
        return not any([*stays, *map(_keeps_files, stores)])
    where = ", ".join(map(str, paths))
    found = {}
    for one in wanted:
        conversation = Stores(stores).named(one)
        if conversation is None:
            raise TelemetryError(f"{where}: no conversation {one!r}; see `parley traces list`")
        found[one] = conversation
    _refuse_what_nobody_named(Stores(stores), found)
    traces: dict[str, StoredConversation] = {}
    for each in found.values():
        traces.setdefault(each.trace_id, each)
    stays = [not _delete_trace(store, each) for each in traces.values() for store in stores]
    return not any([*stays, *map(_keeps_files, stores)])


def _refuse_what_nobody_named(stores: Stores, found: Mapping[str, StoredConversation]) -> None:
    """A trace goes whole: with it would go conversations of others, in the same caller's trace."""
    named = {(each.trace_id, each.id, each.started_at) for each in found.values()}
    whole = {each.trace_id for one, each in found.items() if one == each.trace_id}
    for one, conversation in found.items():
        if conversation.trace_id in whole:
            continue
        others = [
            each.id
            for each in stores.trace(conversation.trace_id)
            if each.op == OP_CONVERSATION and (each.trace_id, each.id, each.started_at) not in named
        ]
        if others:
            more = len(others) - _NAMED
            listed = ", ".join(others[:_NAMED]) + (f" and {more} more" if more > 0 else "")
            raise InputError(
                f"{one}: {listed} {'is' if len(others) == 1 else 'are'} of the same trace, which "
                f"goes whole: name all of them, or the trace, {conversation.trace_id}; nothing "
                "was deleted"
            )


def _delete_trace(store: TraceStore, named: StoredConversation) -> bool:
    deleted = store.delete(named.trace_id)
    if deleted:
        _say(store, f"{_counted(deleted)} of trace {named.trace_id} ({named.id}) deleted")
    left = store.trace(named.trace_id)
    for each in left:
        _say(store, f"{each.id} is running: it stays")
    return not left


def _delete_before(store: TraceStore, before: float, older_than: str) -> bool:
    deleted = store.delete_before(before)
    _say(store, f"{_counted(deleted)} older than {older_than} deleted")
    left = store.count_before(before)
    if left:
        stays = "is running: it stays" if left == 1 else "are running: they stay"
        _say(store, f"{_counted(left)} older than {older_than} {stays}")
    return not left


def _keeps_files(store: TraceStore) -> bool:
    """True if recordings can't be deleted: the disk is in trouble, or somebody has them open."""
    kept = store.unwanted_recordings()
    if kept:
        files, stay = _counted(kept, "file"), "it stays" if kept == 1 else "they stay"
        until = "until a process that uses the store can"
        _say(store, f"{files} can't be deleted from {store.audio_folder}: {stay} {until}")
    return kept > 0


def _counted(number: int, thing: str = "transaction") -> str:
    return f"1 {thing}" if number == 1 else f"{number} {thing}s"


def _say(store: TraceStore, what: str) -> None:
    terminal.say(printable(f"{store.path}: {what}"))


def _seconds(age: str) -> int:
    found = _AGE.fullmatch(age.strip())
    if found is None:
        raise InputError(f"--older-than {age!r} should be an age, like 7d, 12h or 30m")
    return int(found[1]) * _SECONDS[found[2]]
