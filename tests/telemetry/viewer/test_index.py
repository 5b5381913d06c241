"""The index reads on, whatever one conversation or one store is like."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from telemetry import attributes as names
from telemetry.records import SpanRecord
from telemetry.store import TraceStore, TraceStoreError
from telemetry.viewer.health import of
from telemetry.viewer.index import Index

from .stored import ROOT, START, Turn, conversation, store, viewed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

HALF = "\ud800"


def turns(index: Index) -> dict[str, int | None]:
    """By id, the number of turns of each conversation; None if its spans weren't read."""
    with index.reading() as cursor:
        return dict(map(tuple, cursor.execute("SELECT id, turns FROM entry")))


def test_one_that_cant_be_read_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    """Its figures are left out, and that is told for as long as it is so."""
    seen = store(tmp_path / "a.db", *(conversation(each, [Turn("hello")]) for each in range(3)))
    with seen.writing() as cursor:
        cursor.execute("UPDATE span SET attributes = '[1]' WHERE conversation = 2")
    seen.close()
    with viewed(seen) as client:
        index: Index = client.app.state.index  # type: ignore[attr-defined]  # Starlette's
        assert turns(index) == {"c-0": 1, "c-1": None, "c-2": 1}
        later = store(tmp_path / "a.db", conversation(7, [Turn("hello")]))
        assert index.wait(20)
        assert turns(index)["c-7"] == 1
        [problem] = of(client.app).problems  # type: ignore[arg-type]  # Starlette's
        assert "a.db" in problem
        assert "be read: 1" in problem
        assert "t whole</a>" in client.get("/").text
        with later.writing() as cursor:
            cursor.execute("DELETE FROM conversation WHERE key = 2")
        assert index.wait(20)
        assert index.problems == []
        later.close()


def test_what_is_no_text_hides_nothing(tmp_path: Path) -> None:
    """Half of a surrogate pair, which JSON can carry and SQLite can't give back."""
    request = SpanRecord(
        "a" * 16, ROOT, names.OP_CHAT, "chat", START, START + 1, "ok", "x",
        {names.GEN_AI_REQUEST_MODEL: HALF, names.GEN_AI_PROVIDER_NAME: HALF},
    )  # fmt: skip
    odd = conversation(1, [Turn("hello")], spans=[request])
    seen = store(tmp_path / "a.db", odd, conversation(2, [Turn("hello")]))
    with seen.writing() as cursor:
        facts = json.dumps({"release": f"x@1{HALF}"})
        cursor.execute("UPDATE conversation SET facts = ? WHERE key = 1", (facts,))
    seen.close()
    with viewed(seen) as client:
        index: Index = client.app.state.index  # type: ignore[attr-defined]  # Starlette's
        assert turns(index) == {"c-1": 1, "c-2": 1}
        assert index.problems == []
        with index.reading() as cursor:
            assert [row[0] for row in cursor.execute("SELECT release FROM entry")] == ["x@1?", None]


class Failing(TraceStore):
    """A store that can't be read for a time."""

    fails = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Cursor | None]:
        if self.fails:
            raise TraceStoreError("the disk is away")
        with super().reading() as cursor:
            yield cursor


def test_what_couldnt_be_looked_at_is_looked_at_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there before the viewer's start isn't lost by one look that fails."""
    monkeypatch.setattr("telemetry.viewer.index._AT_FIRST", 2)
    store(tmp_path / "a.db", *(conversation(each) for each in range(5)))
    failing = Failing(tmp_path / "a.db")
    index = Index([failing])
    index._look_at(0, failing)
    failing.fails = True
    with pytest.raises(TraceStoreError):
        index._look_back()
    failing.fails = False
    try:
        assert index.wait(20)
        assert len(turns(index)) == 5
    finally:
        index.close()


def test_spans_that_couldnt_be_read_are_read_later(tmp_path: Path) -> None:
    """It is told until they are."""
    store(tmp_path / "a.db", conversation(1, [Turn("hello")]))
    failing = Failing(tmp_path / "a.db")
    index = Index([failing])
    index._look_at(0, failing)
    [pending] = index._pending.items()
    index._pending.clear()
    failing.fails = True
    index._read([pending])
    failing.fails = False
    try:
        index.refresh(at_once=True)
        assert len(index.problems) == 1
        index._seen[0].looked_again_at = 0.0  # as if some seconds had passed
        assert index.wait(20)
        assert turns(index) == {"c-1": 1}
        assert index.problems == []
    finally:
        index.close()
