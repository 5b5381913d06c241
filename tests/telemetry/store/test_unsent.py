"""Envelopes that wait in the store: in order of worth, bounded by size and age."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from telemetry.store import TraceStore, Unsent, unsent

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

MINE, OTHERS = 1, 2


@pytest.fixture
def cursor(tmp_path: Path) -> Iterator[sqlite3.Cursor]:
    """A transaction in a new store."""
    store = TraceStore(tmp_path / "traces.db")
    with store.writing() as made:
        yield made
    store.close()


def _one(key: str, worth: int = 0, *, age: float = 0.0, size: int = 10) -> Unsent:
    body = random.Random(key).randbytes(size)  # nothing that compresses
    return Unsent(key, worth, 3, "{}", body, time.time() - age)


def test_the_most_worth_and_the_oldest_come_first(cursor: sqlite3.Cursor) -> None:
    """Each process has its own; what it has in hand, or may not send, is passed over."""
    first, second = _one("a", age=5), _one("b")
    unsent.put(cursor, MINE, [_one("c", 1), second, first, _one("d", 3)])
    unsent.put(cursor, OTHERS, [_one("e")])
    every = {0, 1, 2, 3}
    found = unsent.load(cursor, MINE, most=2, besides=(), worths=every)
    assert found == [first, second]
    keys = [one.key for one in unsent.load(cursor, MINE, most=9, besides={"a"}, worths={0, 3})]
    assert keys == ["b", "d"]
    waiting = unsent.waiting(cursor, MINE)
    assert (waiting.count, waiting.since) == (4, first.recorded_at)
    unsent.forget(cursor, ["a", "b", "c", "d"])
    assert unsent.waiting(cursor, MINE) == unsent.InStore()


def test_an_envelope_is_there_once(cursor: sqlite3.Cursor) -> None:
    """Who makes it again means the same one."""
    unsent.put(cursor, MINE, [_one("a"), _one("a", 2)])
    assert unsent.waiting(cursor, MINE).count == 1


def test_what_is_old_goes_and_then_what_is_worth_least(cursor: sqlite3.Cursor) -> None:
    """The oldest of those first; what went is said."""
    unsent.put(cursor, MINE, [_one("old", age=100), _one("a", size=1000), _one("b", 3, size=1000)])
    unsent.put(cursor, MINE, [_one("c", 3, age=5, size=1000)])
    gone = unsent.bound(cursor, MINE, most_bytes=2_100, oldest_seconds=50)
    assert [(one.key, one.events, one.is_old) for one in gone] == [
        ("old", 3, True),
        ("c", 3, False),
    ]
    assert unsent.bound(cursor, MINE, most_bytes=2_100, oldest_seconds=50) == []
