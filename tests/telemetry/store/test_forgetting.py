"""Old conversations go: by number, age and size; what runs or is owed stays."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.store import Limits, Owed, SpanRow, TraceStore, forgetting, rows

from .rows import conversation, span

if TYPE_CHECKING:
    from pathlib import Path

DAY_SECONDS = 86_400.0


def _left_of(store: TraceStore, limits: Limits) -> list[str]:
    for _ in range(100):
        with store.writing() as cursor:
            if not forgetting.forget(cursor, limits):
                break
    return sorted(each.id for each in store.conversations(1_000))


def _add(store: TraceStore, name: str, *, days: float, size: int = 0, **fields: object) -> None:
    record = conversation(name, trace=f"{name:0>32}", root=f"{name:0>16}")
    record = replace(record, started_at=time.time() - days * DAY_SECONDS)
    with store.writing() as cursor:
        key = rows.put_conversation(cursor, record, ended_at=record.started_at, **fields)  # type: ignore[arg-type]  # its own
        rows.put_spans(cursor, key, [SpanRow(span(1, attributes={"words": "x" * size}))])


def test_by_age(tmp_path: Path) -> None:
    """But not what is still running or to be sent, however old."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        _add(store, "old", days=8)
        _add(store, "new", days=1)
        _add(store, "owed", days=9, process=7, owed=Owed.BY_ITS_PROCESS)
        assert _left_of(store, Limits(seconds=7 * DAY_SECONDS)) == ["new", "owed"]


def test_by_size(tmp_path: Path) -> None:
    """The oldest, a few at a time, until the rest has room; the file grows no more."""
    with closing(TraceStore(tmp_path / "traces.db")) as store:
        for number in range(250):
            _add(store, f"{number:03}", days=10 - number / 100, size=20_000)
        left = _left_of(store, Limits(bytes=2_000_000))
        assert left == [f"{number:03}" for number in range(250 - len(left), 250)]
        assert 0 < len(left) <= 100
