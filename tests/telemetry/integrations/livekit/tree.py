"""A conversation's tree as text that doesn't depend on how long anything took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from telemetry import attributes as names
from telemetry.testing import agrees

if TYPE_CHECKING:
    from collections.abc import Sequence

    from livekit.agents import AgentSession

    from telemetry.records import SpanRecord
    from telemetry.testing import Captured

sessions: WeakValueDictionary[str, AgentSession[Any]] = WeakValueDictionary()
"""The sessions of calls, by their traces."""

_MEASURED = "conversation.response."
"""A response's stages: which of them take any time depends on the machine."""
_ATTEMPTS = ("livekit.llm_request", "livekit.tts_request", "livekit.tts_stream_adapter")
"""What LiveKit puts between a node and its provider; shown where a test is about it."""


def complete(captured: Captured, *, cut_off: str | None = None) -> list[list[SpanRecord]]:
    """The spans of each conversation, and nothing was lost, late, left open or misplaced.

    Where its session is known, its history says the same. Spans of the op ``cut_off`` may be left
    open.
    """
    conversations = [captured.spans(event) for event in captured.conversations]
    for spans in conversations:
        known = {span.span_id: span for span in spans}
        assert all(span.parent_span_id in known for span in spans[1:])
        assert all(span.ended_at >= span.started_at for span in spans)
        for span in spans[1:]:
            if span.op == cut_off and span.status == "cancelled":
                continue
            outlives = span.ended_at > known[span.parent_span_id or ""].ended_at
            assert outlives == span.attributes.get(names.OUTLIVES_PARENT, False), span
    stats = captured.runtime.stats()
    cut = [span for spans in conversations for span in spans if span.status == "cancelled"]
    may_be_open = sum(span.op == cut_off for span in cut)
    assert (stats.orphan_spans, stats.late_spans, stats.dropped_spans) == (0, 0, 0), stats
    assert stats.open_at_finish <= may_be_open, (stats, [f"{span.op} {span.name}" for span in cut])
    for event, spans in zip(captured.conversations, conversations, strict=True):
        session = sessions.get(event["contexts"]["trace"]["trace_id"])
        if session is not None:
            agreement = agrees(session, spans)
            assert agreement, f"{agreement}\n{captured.tree(event)}"
    assert stats.conversations == len(conversations)
    assert stats.spans == sum(len(spans) - 1 for spans in conversations)
    return conversations


def shape(
    spans: Sequence[SpanRecord], op: str = "conversation", *, attempts: bool = False
) -> list[str]:
    """The trees below the spans of this op, as indented ops; siblings by op and name.

    A tool and an error say who they are. Without ``attempts``, requests to a provider are folded
    into their node.
    """
    hidden = () if attempts else _ATTEMPTS
    lines: list[str] = []

    def walk(span: SpanRecord, depth: int) -> None:
        tool = span.op == "gen_ai.execute_tool"
        name = f" {span.name.removeprefix('execute_tool ')}" if tool else ""
        status = "" if span.status == "ok" else f" ({span.status})"
        if not span.op.startswith(hidden):
            lines.append("  " * depth + span.op + name + status)
        depth += not span.op.startswith(hidden)
        below = [child for child in spans if child.parent_span_id == span.span_id]
        for child in sorted(below, key=lambda child: (child.op, child.name, child.started_at)):
            if not child.op.startswith(_MEASURED):
                walk(child, depth)

    for top in spans:
        if top.op == op:
            walk(top, 0)
    return lines


def only(spans: Sequence[SpanRecord], op: str) -> SpanRecord:
    """The one span of this op."""
    [span] = [span for span in spans if span.op == op]
    return span


def turns(spans: Sequence[SpanRecord]) -> list[SpanRecord]:
    """The turns, by index."""
    found = [span for span in spans if span.op == "conversation.turn"]
    return sorted(found, key=lambda turn: turn.attributes["conversation.turn.index"])


def above(spans: Sequence[SpanRecord], span: SpanRecord, op: str) -> SpanRecord | None:
    """The nearest span of this op that another is in."""
    by_id = {other.span_id: other for other in spans}
    found = by_id.get(span.parent_span_id or "")
    while found is not None and found.op != op:
        found = by_id.get(found.parent_span_id or "")
    return found
