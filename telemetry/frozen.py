"""Values as they are now: they can't change after they are handed over, nor keep anything alive."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_DEEP: Final = 6
"""Containers inside each other that are copied."""
MOST_WIDE: Final = 100
"""Members of a container that are copied."""
MOST_CHARACTERS: Final = 10_000
"""Length of the text that stands for any other object."""

_IMMUTABLE: Final = frozenset(
    {
        bool,
        bytes,
        datetime.date,
        datetime.datetime,
        decimal.Decimal,
        float,
        int,
        str,
        type(None),
        uuid.UUID,
    }
)


def freeze(attributes: dict[str, Any]) -> None:
    """Exchange values that may change for what they are now, in place."""
    if _IMMUTABLE.issuperset(map(type, attributes.values())):
        return
    for name, value in list(attributes.items()):
        attributes[name] = frozen(value)


def frozen(value: Any, depth: int = MOST_DEEP, *, text: Callable[[Any], str] = str) -> Any:
    """The value itself if it can't change, else a copy; of anything but containers, its text."""
    kind = type(value)
    if kind in _IMMUTABLE:
        return value
    try:
        if isinstance(value, (dict, list, tuple, set, frozenset)) and not depth:
            return "…"
        if isinstance(value, dict):
            items = list(value.items())[:MOST_WIDE]
            return {str(key): frozen(inner, depth - 1, text=text) for key, inner in items}
        if isinstance(value, (list, tuple, set, frozenset)):
            members = list(value)[:MOST_WIDE]
            return [frozen(inner, depth - 1, text=text) for inner in members]
        return text(value)[:MOST_CHARACTERS]
    except Exception:  # noqa: BLE001 - another thread changes it, or a __str__ raises
        return f"<unprintable {kind.__name__}>"
