"""The tables of a store, and what tells its file from others."""

from __future__ import annotations

from typing import Final

APPLICATION: Final = 0x56545243  # "VTRC": tells our files from other SQLite files
VERSION: Final = 5

TABLES: Final = """
CREATE TABLE process (
    key INTEGER PRIMARY KEY,
    pid INTEGER NOT NULL,
    place TEXT NOT NULL,
    born TEXT NOT NULL,
    beat INTEGER NOT NULL,
    seen_at REAL NOT NULL,
    ended INTEGER NOT NULL
);
CREATE TABLE conversation (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    root_span_id TEXT,
    op TEXT NOT NULL,
    name TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL,
    status TEXT NOT NULL,
    user TEXT NOT NULL,
    tags TEXT NOT NULL,
    process INTEGER,
    owed INTEGER NOT NULL DEFAULT 0,
    facts TEXT,
    UNIQUE (trace_id, id, started_at)
);
CREATE INDEX conversation_by_id ON conversation (id);
CREATE INDEX conversation_by_trace ON conversation (trace_id);
CREATE INDEX conversation_by_root ON conversation (root_span_id);
CREATE INDEX conversation_by_start ON conversation (started_at);
CREATE INDEX conversation_by_process ON conversation (process) WHERE process IS NOT NULL;
CREATE INDEX conversation_owed ON conversation (owed) WHERE owed > 0;
CREATE TABLE span (
    conversation INTEGER NOT NULL REFERENCES conversation ON DELETE CASCADE,
    span_id TEXT NOT NULL,
    parent_span_id TEXT,
    op TEXT NOT NULL,
    name TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL,
    status TEXT NOT NULL,
    origin TEXT NOT NULL,
    attributes TEXT NOT NULL,
    code TEXT,
    PRIMARY KEY (conversation, span_id)
) WITHOUT ROWID;
CREATE TABLE piece (
    conversation INTEGER NOT NULL REFERENCES conversation ON DELETE CASCADE,
    number INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (conversation, number)
) WITHOUT ROWID;
CREATE TABLE handed (
    conversation INTEGER NOT NULL REFERENCES conversation ON DELETE CASCADE,
    span_id TEXT NOT NULL,
    PRIMARY KEY (conversation, span_id)
) WITHOUT ROWID;
CREATE TABLE error (
    conversation INTEGER REFERENCES conversation ON DELETE CASCADE,
    trace_id TEXT,
    span_id TEXT,
    time REAL NOT NULL,
    type TEXT NOT NULL,
    message TEXT NOT NULL,
    event_id TEXT,
    event TEXT
);
CREATE INDEX error_by_event ON error (event_id);
CREATE INDEX error_by_conversation ON error (conversation);
CREATE INDEX error_by_time ON error (time);
CREATE TABLE unsent (
    key TEXT PRIMARY KEY,
    process INTEGER,
    worth INTEGER NOT NULL,
    recorded_at REAL NOT NULL,
    events INTEGER NOT NULL,
    size INTEGER NOT NULL,
    rule TEXT NOT NULL,
    envelope BLOB NOT NULL
);
CREATE INDEX unsent_by_worth ON unsent (process, worth, recorded_at, size);
CREATE TABLE recording (
    conversation INTEGER NOT NULL REFERENCES conversation ON DELETE CASCADE,
    file TEXT NOT NULL,
    started_at REAL NOT NULL,
    seconds REAL,
    channels INTEGER NOT NULL,
    PRIMARY KEY (conversation, file)
) WITHOUT ROWID;
CREATE TABLE unwanted (file TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TRIGGER recording_deleted AFTER DELETE ON recording
BEGIN INSERT OR IGNORE INTO unwanted VALUES (old.file); END;
"""
"""``process``: leases, see :mod:`.leases`. ``conversation.process``: the one that records it.
``conversation.owed``: see :class:`.rows.Owed`. ``conversation.facts`` and ``span.code``: what is
needed to send them later, see :mod:`.lost`. ``piece``: see :mod:`.pieces`. ``handed``: spans of a
conversation that is owed which are in an envelope already. ``unsent``: see :mod:`.unsent`.
``recording``, ``unwanted``: see :mod:`.recordings`."""
