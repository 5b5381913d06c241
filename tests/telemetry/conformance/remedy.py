"""A remedy: something the core does, and the test that fails when it doesn't."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(frozen=True, slots=True)
class Remedy:
    """Something the core does, and the test that fails when it doesn't."""

    name: str
    does: str
    where: str
    test: str
    """Its node id below this folder."""
    remove: Callable[[], object]


def put(thing: object, name: str, value: object) -> Callable[[], object]:
    """A removal that puts something else under a name, under which there is something now.

    Raises:
        AttributeError: there is nothing: it has moved, and the test would pass as it is. A property
            may hide what only instances have.
    """
    if not isinstance(value, property):
        getattr(thing, name)
    return lambda: setattr(thing, name, value)


def put_in(things: Iterable[object], name: str, value: object) -> Callable[[], object]:
    """The same where each of these modules has imported it."""
    removals = [put(thing, name, value) for thing in things]
    return lambda: [remove() for remove in removals]
