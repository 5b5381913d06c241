"""Values as they are now: they can't change after they are handed over, nor keep anything alive."""

from __future__ import annotations

import datetime
import decimal
import numbers
import sys
import uuid
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .written import Tag, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Limits(NamedTuple):
    """The most that is copied of a value, while a call waits."""

    deep: int
    """Containers inside each other."""
    wide: int
    """Members of a container."""
    members: int
    """Members in all."""
    characters: int
    """Length of the text that stands for any other object."""


BESIDES: Final = Limits(deep=6, wide=100, members=1_000, characters=10_000)
"""Of what is said beside an error or a log."""
_ALL: Final = Limits(deep=100, wide=sys.maxsize, members=sys.maxsize, characters=sys.maxsize)
"""Of what is recorded on a span: nothing of that is lost."""

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
        Tag,
        Written,
    }
)
_LISTED: Final = (list, tuple, set, frozenset, deque)


def freeze(attributes: dict[str, Any]) -> None:
    """Exchange values that may change for what they are now, in place."""
    if _IMMUTABLE.issuperset(map(type, attributes.values())):
        return
    for name, value in list(attributes.items()):
        if type(value) not in _IMMUTABLE:
            attributes[name] = _Copy(str, _ALL).of(value, _ALL.deep)


def frozen(value: Any, *, text: Callable[[Any], str] = str) -> Any:
    """The value itself if it can't change, else a copy; of anything but containers, its text.

    ``text`` is called for that of an object which is neither a container, a number nor a text.
    """
    return value if type(value) in _IMMUTABLE else _Copy(text, BESIDES).of(value, BESIDES.deep)


class _Copy:
    """A copy being made, and the number of members that it has room for."""

    def __init__(self, text: Callable[[Any], str], limits: Limits) -> None:
        self._text = text
        self._limits = limits
        self._room = limits.members

    def of(self, value: Any, depth: int) -> Any:
        """The value as it is now, containers down to this depth."""
        if type(value) in _IMMUTABLE:
            return value
        try:
            if isinstance(value, dict):
                if depth == 0:
                    return "…"
                members = self._some(value.items())
                return {str(key): self.of(inner, depth - 1) for key, inner in members}
            if isinstance(value, _LISTED):
                if depth == 0:
                    return "…"
                return [self.of(inner, depth - 1) for inner in self._some(value)]
            return _plain(value, self._text, self._limits.characters)
        except Exception:  # noqa: BLE001 - another thread changes it, or a __str__ raises
            return f"<unprintable {type(value).__name__}>"

    def _some(self, members: Iterable[Any]) -> list[Any]:
        """As many of the members as there is room for, taken in one step."""
        taken = list(islice(members, min(self._limits.wide, self._room)))
        self._room -= len(taken)
        return taken


def _plain(value: Any, text: Callable[[Any], str], characters: int) -> Any:
    """A number or text of a class of its own as what it is; of any other object, its text."""
    match value:
        case str():
            return str.__str__(value)[:characters]  # an enumeration's says its name
        case bytes() | bytearray():
            return bytes(value[:characters])
        case numbers.Integral():
            return int(value)
        case numbers.Real():
            return float(value)
        case _:
            return text(value)[:characters]
