"""Attributes as JSON knows them: plain, without content and secrets, a few at a time."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sentry_sdk

from ..attributes import CUT, is_content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

T = TypeVar("T")

MOST_CHARACTERS: Final = 150_000
"""Of the attributes of a span together: with all spans of an event Sentry takes about 1 MB."""
_PLAIN: Final = frozenset({str, int, bool})
"""Types of most values, which JSON knows as they are."""
_SHORTEST_CUT: Final = 1_000
"""Characters that are left of a value that is cut."""
_TURN = 50
"""Spans worked on before other threads get their turn: under 1 ms."""


def paced(items: Iterable[T]) -> Iterator[T]:
    """The same items; now and then the interpreter is let go, so that no call's loop stalls."""
    for number, item in enumerate(items, 1):
        if number % _TURN == 0:
            time.sleep(0)
        yield item


def data(attributes: Mapping[str, Any], *, content: bool) -> dict[str, Any]:
    """Attributes as JSON knows them; content (what people said) only with ``content``.

    Together they are at most what Sentry takes; what had to be cut for that, they say.
    """
    found = {
        str(name): known(value)
        for name, value in list(attributes.items())
        if value is not None and (content or not is_content(str(name)))
    }
    _fit(found)
    return found


def _fit(found: dict[str, Any]) -> None:
    """Cut the longest values, until all of them have room; :data:`CUT` names those."""
    excess = sum(map(_characters, found.values())) - MOST_CHARACTERS
    if excess <= 0:
        return
    sizes = {name: _characters(value) for name, value in found.items()}
    cut: list[str] = []
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        kept = max(_SHORTEST_CUT, sizes[name] - excess)
        value = found[name]
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        found[name] = f"{text[:kept]}…"
        cut.append(name)
        excess -= sizes[name] - kept
        if excess <= 0:
            break
    found[CUT] = cut


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    return len(json.dumps(value, default=str)) if isinstance(value, (list, dict)) else 0


def known(value: Any) -> Any:
    """:func:`plain`, and a note for what can't be made plain: one odd value costs itself only."""
    if type(value) in _PLAIN:
        return value
    try:
        return plain(value)
    except Exception:  # noqa: BLE001 - a cycle, a __str__ that raises, a dict that changes
        return f"<unprintable {type(value).__name__}>"


def plain(value: Any) -> Any:
    """A value that JSON knows; anything else becomes text."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple() | set() | frozenset():
            return [plain(element) for element in value]
        case dict():
            return {str(key): plain(element) for key, element in value.items()}
        case _:
            return str(value)


def scrubber() -> Callable[[dict[str, Any]], None]:
    """The SDK's scrubber, for a span's data: it leaves out the values under names it denies.

    Texts are cut to ``max_value_length``, too.
    """
    options = sentry_sdk.get_client().options
    sentrys, longest = options.get("event_scrubber"), options.get("max_value_length")
    denied = frozenset() if sentrys is None else frozenset(sentrys.denylist)
    deep = sentrys is not None and sentrys.recursive

    def scrub(data: dict[str, Any]) -> None:
        if denied:
            _scrub(data, denied, deep=deep)
        if longest is not None:
            for name, value in data.items():
                if isinstance(value, str) and len(value) > longest:
                    data[name] = f"{value[: longest - 3]}..."

    return scrub


def _scrub(value: Any, denied: frozenset[str], *, deep: bool) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name.lower() in denied:
                value[name] = "[Filtered]"
            elif deep and type(inner) not in _PLAIN:
                _scrub(inner, denied, deep=True)
    elif isinstance(value, list):
        for inner in value:
            _scrub(inner, denied, deep=deep)


_ENCODER: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=str)


def to_json(value: object) -> bytes:
    """A value as compact JSON; what JSON doesn't know becomes text.

    Raises:
        ValueError, TypeError, RecursionError: it has no JSON form.
    """
    return _ENCODER.encode(value).encode()


def size_of(value: object) -> int:
    """Bytes that a value takes in an envelope."""
    return len(to_json(value))
