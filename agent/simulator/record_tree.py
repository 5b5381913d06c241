"""The tree of a conversation's record: from a span up to its turn and its root. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry import attributes as names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from telemetry.records import ConversationRecord, SpanRecord


def by_id(record: ConversationRecord) -> dict[str, SpanRecord]:
    """The spans of a record by their ids."""
    return {span.span_id: span for span in record.spans}


def root_of(record: ConversationRecord) -> SpanRecord | None:
    """The span of op ``conversation``; None when there is none."""
    return next((span for span in record.spans if span.op == names.OP_CONVERSATION), None)


def shape_of(record: ConversationRecord) -> tuple[str, ...]:
    """The paths of operations in a record, each once: ``conversation > conversation.turn > …``."""
    spans = by_id(record)
    paths = set()
    for span in record.spans:
        above = [each.op for each in ancestors(span, spans)]
        paths.add(" > ".join([*above[::-1], span.op]))
    return tuple(sorted(paths))


def turn_of(span: SpanRecord, spans: Mapping[str, SpanRecord]) -> SpanRecord | None:
    """The turn that a span is or belongs to; None outside of turns."""
    return next(
        (each for each in (span, *ancestors(span, spans)) if each.op == names.OP_TURN), None
    )


def ancestors(span: SpanRecord, spans: Mapping[str, SpanRecord]) -> Iterator[SpanRecord]:
    """Parent, grandparent, …; each once, even when they form a loop."""
    seen: set[str] = set()
    while (parent := spans.get(span.parent_span_id or "")) and parent.span_id not in seen:
        seen.add(parent.span_id)
        yield parent
        span = parent
