"""Attributes as JSON knows them: plain, without content and secrets, a few at a time."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, TypeVar

import sentry_sdk

from ..attributes import is_content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

T = TypeVar("T")

_TURN = 50
"""Spans worked on before other threads get their turn: under 1 ms."""


def paced(items: Iterable[T]) -> Iterator[T]:
    """The same items; now and then the interpreter is let go, so that no call's loop stalls."""
    for number, item in enumerate(items, 1):
        if number % _TURN == 0:
            time.sleep(0)
        yield item


def data(attributes: Mapping[str, Any], *, content: bool) -> dict[str, Any]:
    """Attributes as JSON knows them; content (what people said) only with ``content``."""
    return {
        str(name): known(value)
        for name, value in list(attributes.items())
        if value is not None and (content or not is_content(str(name)))
    }


def known(value: Any) -> Any:
    """:func:`plain`, and a note for what can't be made plain: one odd value costs itself only."""
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
            elif deep:
                _scrub(inner, denied, deep=True)
    elif isinstance(value, list):
        for inner in value:
            _scrub(inner, denied, deep=deep)
