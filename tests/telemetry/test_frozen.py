"""Values as they are now."""

from __future__ import annotations

import enum
import numbers
from collections import OrderedDict, deque
from decimal import Decimal
from typing import Any

import pytest

from telemetry.frozen import BESIDES, freeze, frozen


class _Code(enum.IntEnum):
    OK = 200


class _Colour(str, enum.Enum):  # noqa: UP042 - its text is its name
    RED = "red"


class _Name(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another"


class _Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


class _Double(float):
    """A number as numpy's are, whose text may be anything."""

    __slots__ = ()

    def __str__(self) -> str:
        return "np.float64(1.5)"


class _Short:
    """A number that is no subclass of Python's, but said to be one."""

    def __int__(self) -> int:
        return 3


numbers.Integral.register(_Short)


@pytest.mark.parametrize(
    ("value", "now"),
    [
        (1.5, 1.5),
        (Decimal("1.5"), Decimal("1.5")),
        (_Code.OK, 200),
        (_Colour.RED, "red"),
        (_Name("name"), "name"),
        (_Double(1.5), 1.5),
        (_Short(), 3),
        (bytearray(b"audio"), b"audio"),
        ((1, [2]), [1, [2]]),
        (deque([1]), [1]),
        (OrderedDict(a={1: {2}}), {"a": {"1": [2]}}),
        (object, "<class 'object'>"),
        (_Unprintable(), "<unprintable _Unprintable>"),
    ],
)
def test_a_value(value: Any, now: Any) -> None:
    """Numbers and texts stay what they are, containers become copies, all else its text."""
    found = frozen(value)
    assert found == now
    assert type(found) is type(now)


def test_it_cannot_change() -> None:
    """At any depth, down to where it is cut."""
    value = {"a": [{"b": [1]}]}
    now = frozen(value)
    value["a"][0]["b"].append(2)
    value["a"].append({})
    assert now == {"a": [{"b": [1]}]}


def test_it_may_hold_itself() -> None:
    """A cycle ends where the depth does."""
    value: list[Any] = []
    value.append(value)
    assert "…" in str(frozen(value))


@pytest.mark.parametrize(
    "value",
    [list(range(10_000)), dict.fromkeys(range(10_000)), set(range(10_000)), deque(range(10_000))],
)
def test_wide_ones_are_cut(value: Any) -> None:
    """Before they are copied."""
    assert len(frozen(value)) == BESIDES.wide


def test_so_is_what_is_wide_at_each_depth() -> None:
    """A call waits for a thousand members, and not for a million."""
    value: list[Any] = [0] * 100
    for _ in range(3):
        value = [value] * 100

    def count(one: Any) -> int:
        return 1 + sum(map(count, one)) if isinstance(one, list) else 1

    assert count(frozen(value)) <= BESIDES.members + 1


def test_long_texts_are_cut() -> None:
    """Of objects; audio in bytes too."""
    assert len(frozen(bytearray(1_000_000))) == BESIDES.characters
    assert len(frozen(OrderedDict(a=[_Name("x" * 100_000)]))["a"][0]) == BESIDES.characters


def test_attributes_are_exchanged_in_place() -> None:
    """What can't change is left as it is."""
    attributes: dict[str, Any] = {"text": "x", "list": (items := [1])}
    freeze(attributes)
    items.append(2)
    assert attributes == {"text": "x", "list": [1]}
