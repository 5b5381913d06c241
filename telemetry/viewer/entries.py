"""Rows of the index: put there, and taken away. All inside a transaction of somebody's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ..printable import printable
from .search import BETWEEN
from .seen import release_of
from .tables import RELIST, STAGE_COLUMNS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from .figures import Figures

_VALUES: Final = (
    "key",
    "id",
    "trace_id",
    "root_span_id",
    "op",
    "name",
    "started_at",
    "ended_at",
    "status",
    "tags",
)
_PUT: Final = """
INSERT INTO entry (store, runs, key, id, trace_id, root, op, name, started_at, ended_at, status,
    tags, release)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (store, key) DO UPDATE SET id = excluded.id, trace_id = excluded.trace_id,
    root = excluded.root, op = excluded.op, name = excluded.name,
    started_at = excluded.started_at, ended_at = excluded.ended_at, status = excluded.status,
    runs = excluded.runs, tags = excluded.tags, release = excluded.release
RETURNING number
"""
_COLUMNS: Final = (
    "outcome",
    "turns",
    "interruptions",
    "input_tokens",
    "output_tokens",
    "cost",
    "heard_seconds",
    "spoken_seconds",
    "spans",
    "orphans",
    "late",
    "open_at_finish",
)
"""Columns of an entry that have the names of its figures."""
_RESPONSE: Final = ("entry", "at", "latency", *STAGE_COLUMNS, "models", "providers")


def put(cursor: sqlite3.Cursor, store: int, row: sqlite3.Row, *, runs: bool) -> int:
    """Put a row of a store, or what has become of it; the entry's number."""
    values = (row[name] for name in _VALUES)
    (number,) = cursor.execute(_PUT, (store, runs, *values, release_of(row))).fetchone()
    return int(number)


def put_errors(cursor: sqlite3.Cursor, store: int, errors: Iterable[tuple[int, int]]) -> None:
    """Note how many errors each conversation has, by its key in a store."""
    cursor.executemany(
        "UPDATE entry SET errors = ?3 WHERE store = ?1 AND key = ?2",
        ((store, key, count) for key, count in errors),
    )


def relist(cursor: sqlite3.Cursor, traces: Iterable[str]) -> None:
    """Find again what of these traces a list shows, and what its scenario is."""
    cursor.executemany("INSERT OR IGNORE INTO touched VALUES (?)", ((each,) for each in traces))
    cursor.execute(RELIST)
    cursor.execute("DELETE FROM touched")


def forget(cursor: sqlite3.Cursor, store: int, but: set[int] | None = None) -> None:
    """Delete the entries of a store, but for those of some keys."""
    gone = [
        (number, trace_id)
        for number, key, trace_id in cursor.execute(
            "SELECT number, key, trace_id FROM entry WHERE store = ?", (store,)
        )
        if but is None or key not in but
    ]
    numbers = [(number,) for number, _ in gone]
    cursor.executemany("DELETE FROM words WHERE rowid = ?", numbers)
    cursor.executemany("DELETE FROM entry WHERE number = ?", numbers)
    relist(cursor, {trace_id for _, trace_id in gone})


def put_figures(cursor: sqlite3.Cursor, number: int, about: str, found: Figures) -> None:
    """Put the figures and the words of an entry, if it is still there; ``about`` is its names."""
    values: dict[str, Any] = {name: getattr(found, name) for name in _COLUMNS}
    values |= {"p50": found.percentile(0.5), "p95": found.percentile(0.95)}
    assignments = ", ".join(f"{name} = ?" for name in values)
    there = cursor.execute(
        f"UPDATE entry SET {assignments} WHERE number = ?",  # noqa: S608 - names of ours
        (*values.values(), number),
    ).rowcount
    if not there:
        return
    said = f" {BETWEEN} ".join(printable(line) for line in found.words.splitlines())
    cursor.execute(
        "INSERT OR REPLACE INTO words (rowid, said, about) VALUES (?, ?, ?)",
        (number, said, printable(about)),
    )
    cursor.execute("DELETE FROM response WHERE entry = ?", (number,))
    marks = ", ".join("?" * len(_RESPONSE))
    cursor.executemany(
        f"INSERT INTO response ({', '.join(_RESPONSE)}) VALUES ({marks})",  # noqa: S608 - ours
        (
            (
                number,
                each.at,
                each.latency,
                *(each.stages.get(name.removeprefix("stage_")) for name in STAGE_COLUMNS),
                json.dumps(each.models),
                json.dumps(each.providers),
            )
            for each in found.responses
        ),
    )
