"""``parley traces delete``: conversations go from the local trace stores, with their recordings."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from agent.errors import InputError
from telemetry import TelemetryError
from telemetry.printable import printable
from telemetry.store import Stores, TraceStore

from . import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}
_AGE: Final = re.compile(r"(\d{1,6}) ?([mhd])")


def delete(paths: Sequence[Path], wanted: Sequence[str], older_than: str | None) -> bool:
    """Delete these conversations, or all that is older, and say what went; False if something
    stays, as it is running.

    Raises:
        InputError: it isn't said what is to go, or in two ways.
        TelemetryError: there is no such conversation; nothing was deleted then.
    """
    if bool(wanted) == (older_than is not None):
        raise InputError("say which conversations: `parley traces delete ID…` or `--older-than 7d`")
    stores = [TraceStore(path) for path in paths]
    if older_than is not None:
        before = time.time() - _seconds(older_than)
        for store in stores:
            _say(store.delete_before(before), f"older than {older_than}", store)
        return True
    where = ", ".join(map(str, paths))
    found = {one: Stores(stores).named(one) for one in wanted}
    for one, conversation in found.items():
        if conversation is None:
            raise TelemetryError(f"{where}: no conversation {one!r}; see `parley traces list`")
    is_all = True
    for conversation in found.values():
        assert conversation is not None
        for store in stores:
            deleted = store.delete(conversation.trace_id)
            if deleted:
                _say(deleted, f"of trace {conversation.trace_id} ({conversation.id})", store)
            if store.trace(conversation.trace_id):
                is_all = False
                terminal.say(printable(f"{store.path}: {conversation.id} is running: it stays"))
    return is_all


def _say(number: int, which: str, store: TraceStore) -> None:
    things = "transaction" if number == 1 else "transactions"
    terminal.say(printable(f"{store.path}: {number} {things} {which} deleted"))


def _seconds(age: str) -> int:
    found = _AGE.fullmatch(age.strip())
    if found is None:
        raise InputError(f"--older-than {age!r} should be an age, like 7d, 12h or 30m")
    return int(found[1]) * _SECONDS[found[2]]
