"""Conversations to store."""

from __future__ import annotations

from dataclasses import replace

from telemetry.records import ConversationRecord, SpanRecord

START = 1_795_000_000.0
ROOT = "f" * 16


def span(number: int, **fields: object) -> SpanRecord:
    """The span that starts this many seconds into the conversation and takes a second."""
    made = SpanRecord(
        span_id=f"{number:016x}",
        parent_span_id=ROOT,
        op="gen_ai.chat",
        name=f"reply {number}",
        started_at=START + number,
        ended_at=START + number + 1,
    )
    return replace(made, **fields)  # type: ignore[arg-type] # fields of the record


def conversation(id: str = "c-1", trace: str = "a" * 32, root: str = ROOT) -> ConversationRecord:
    """A conversation that has ended, with its root only."""
    spans = (span(0, span_id=root, parent_span_id=None, op="conversation", ended_at=START + 9),)
    return ConversationRecord(
        id=id,
        trace_id=trace,
        name="host",
        started_at=START,
        ended_at=START + 9,
        status="ok",
        user={"id": "u1"},
        tags={"tenant": "acme"},
        spans=spans,
    )


def opened(record: ConversationRecord) -> ConversationRecord:
    """The same conversation as it was when it began."""
    return replace(record, ended_at=None, status="open", spans=())
