"""Items that are larger than Sentry takes: their longest values are cut, and say so.

A context, an extra or a message of megabytes would have the whole event refused, and with it, in
the transaction lifecycle, the conversation. Sentry takes 1 MB
(https://docs.sentry.io/concepts/data-management/size-limits/). An event says in ``_meta`` what was
cut, as the SDK does it (https://develop.sentry.dev/sdk/data-model/event-payloads/meta/).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..attributes import CUT
from .values import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_Path: TypeAlias = tuple[str | int, ...]

SHORTEST_BYTES: Final = 1_000
"""Values of so many bytes are left as they are."""
_PASSES: Final = 3
"""Where the members of a list are cut to their shortest and there are still too many, it is cut."""
_KEPT: Final = frozenset({"_meta", "spans"})
"""Members of an event that have limits of their own."""


@dataclass(frozen=True, slots=True)
class _Value:
    """A value that may be cut."""

    holder: Any
    """The dict or the list that it is in."""
    path: _Path
    """The keys that lead to it from the event."""
    size_bytes: int


def fit_event(event: dict[str, Any], most_bytes: int) -> None:
    """Cut the longest values of an event in place, until its JSON has at most so many bytes.

    Spans don't count: they have limits of their own.
    """
    for path, note in _cut_longest(event, most_bytes).items():
        meta = event.setdefault("_meta", {})
        for key in path:
            meta = meta.setdefault(str(key), {})
        meta[""] = note


def fit_log(log: dict[str, Any], most_bytes: int) -> None:
    """The same for a structured log, which names what was cut in an attribute, :data:`CUT`."""
    cut = [str(path[1] if len(path) > 1 else path[0]) for path in _cut_longest(log, most_bytes)]
    if cut:
        log["attributes"][CUT] = {"value": cut, "type": "array"}


def _cut_longest(content: dict[str, Any], most_bytes: int) -> dict[_Path, dict[str, Any]]:
    """Cut values in place; returns notes in the form of ``_meta``, by the keys that lead there."""
    notes: dict[_Path, dict[str, Any]] = {}
    for _ in range(_PASSES):
        excess = size_of({key: content[key] for key in content if key not in _KEPT}) - most_bytes
        if excess <= 0:
            break
        for value in sorted(_long(content, ()), key=lambda one: -one.size_bytes):
            kept = max(SHORTEST_BYTES // 2, value.size_bytes - excess)
            notes[value.path] = _cut(value, kept)
            excess -= value.size_bytes - kept
            if excess <= 0:
                break
    return notes


def _long(holder: Any, path: _Path) -> Iterator[_Value]:
    """The innermost long values in a dict or a list."""
    members = list(holder.items() if isinstance(holder, dict) else enumerate(holder))
    for key, value in members:
        if not path and key in _KEPT:
            continue
        if not isinstance(value, (str, dict, list)) or (size := size_of(value)) <= SHORTEST_BYTES:
            continue
        inner = [] if isinstance(value, str) else list(_long(value, (*path, key)))
        yield from inner or [_Value(holder, (*path, key), size)]


def _cut(value: _Value, most_bytes: int) -> dict[str, Any]:
    key = value.path[-1]
    whole = value.holder[key]
    kept = value.holder[key] = _beginning(whole, most_bytes)
    if isinstance(whole, str):
        return {"len": len(whole), "rem": [["!limit", "s", len(kept) - 1, len(kept)]]}
    return {"len": len(whole)}


def _beginning(whole: Any, most_bytes: int) -> Any:
    """As much of a text, a list or a dict as there is room for."""
    if isinstance(whole, str):
        length = len(whole) * most_bytes // size_of(whole)
        while size_of(whole[:length]) > most_bytes:
            length = length * 9 // 10
        return f"{whole[:length]}…"
    left = most_bytes
    members = []
    for member in whole.items() if isinstance(whole, dict) else whole:
        left -= size_of(member) + 1
        if left < 0:
            break
        members.append(member)
    return dict(members) if isinstance(whole, dict) else members
