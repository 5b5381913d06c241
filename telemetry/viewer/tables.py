"""The tables of the index, which is in memory: what the views ask is answered from them."""

from __future__ import annotations

from typing import Final

from ..attributes import OP_CALLER, OP_CONVERSATION, STAGES

STAGE_COLUMNS: Final = tuple(f"stage_{name}" for name in STAGES)

TABLES: Final = f"""
CREATE TABLE entry (
    number INTEGER PRIMARY KEY,
    store INTEGER NOT NULL,
    key INTEGER NOT NULL,
    id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    root TEXT,
    op TEXT NOT NULL,
    name TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL,
    status TEXT NOT NULL,
    runs INTEGER NOT NULL,
    listed INTEGER NOT NULL DEFAULT 0,
    scenario TEXT,
    tags TEXT NOT NULL,
    release TEXT,
    errors INTEGER NOT NULL DEFAULT 0,
    outcome TEXT,
    turns INTEGER,
    p50 REAL,
    p95 REAL,
    interruptions INTEGER,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cost REAL,
    heard_seconds REAL,
    spoken_seconds REAL,
    spans INTEGER,
    orphans INTEGER,
    late INTEGER,
    open_at_finish INTEGER,
    UNIQUE (store, key)
);
CREATE INDEX entry_by_trace ON entry (trace_id, op);
CREATE INDEX entry_listed ON entry (runs, started_at) WHERE listed;
CREATE INDEX entry_health ON entry (
    runs, ended_at, status, spans, orphans, late, open_at_finish
);
CREATE TEMP TABLE touched (trace_id TEXT PRIMARY KEY);
CREATE TABLE response (
    entry INTEGER NOT NULL REFERENCES entry ON DELETE CASCADE,
    at REAL NOT NULL,
    latency REAL NOT NULL,
    {" ".join(f"{name} REAL," for name in STAGE_COLUMNS)}
    models TEXT NOT NULL,
    providers TEXT NOT NULL
);
CREATE INDEX response_by_entry ON response (entry);
CREATE INDEX response_by_time ON response (at);
CREATE VIRTUAL TABLE words USING fts5 (said, about, tokenize = 'unicode61 remove_diacritics 2');
"""
"""``entry.store``: the position of its store among the sources. ``entry.runs``: 1 while it runs.
``entry.listed``: 1 if a list shows it. ``entry.scenario``: of a simulated call, what its caller
calls it. The columns from ``outcome`` on are None until its spans were read. ``words`` has a row of
the same number. ``touched``: traces that :data:`RELIST` is about."""

RELIST: Final = f"""
UPDATE entry AS e SET listed = (op = '{OP_CONVERSATION}' OR NOT EXISTS (
    SELECT 1 FROM entry AS other WHERE other.trace_id = e.trace_id AND other.number <> e.number
    AND (other.op = '{OP_CONVERSATION}' OR (other.started_at, other.number)
        < (e.started_at, e.number))
)) AND NOT EXISTS (
    SELECT 1 FROM entry AS same WHERE same.trace_id = e.trace_id
    AND (same.store, same.number) < (e.store, e.number) AND (same.root = e.root
        OR (e.root IS NULL AND same.id = e.id AND same.started_at = e.started_at))
), scenario = (
    SELECT caller.name FROM entry AS caller WHERE caller.trace_id = e.trace_id
    AND caller.op = '{OP_CALLER}' LIMIT 1
) WHERE trace_id IN (SELECT trace_id FROM touched)
"""  # noqa: S608 - names of ours
"""A list shows conversations, and of a trace without one the first of its transactions; of what is
in two stores, the one that the first of them has."""
