"""Conversations as Sentry transactions.

Format: https://develop.sentry.dev/sdk/data-model/event-payloads/transaction/. Sentry takes 1,000
spans and about 1 MB in one event, so a longer conversation goes on in further transactions of op
``conversation.part``: same trace, true parents, nothing left out.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from .attributes import OP_CONVERSATION_PART, is_content
from .span import new_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .conversation import Conversation
    from .span import Span

MAX_SPANS = 1_000
"""Spans in one transaction: Sentry's limit."""
MAX_BYTES = 800_000
"""Bytes of spans in one transaction: Sentry refuses events of 1 MB and more."""


def batches(spans: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Encoded spans in the order given, each batch within Sentry's limits."""
    batch: list[dict[str, Any]] = []
    size = 0
    for span in spans:
        length = len(json.dumps(span))
        if batch and (len(batch) == MAX_SPANS or size + length > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(span)
        size += length
    if batch:
        yield batch


def conversation_event(
    conversation: Conversation, spans: list[dict[str, Any]], *, content: bool
) -> dict[str, Any]:
    """The conversation's own transaction."""
    root = conversation.root
    return _transaction(
        conversation,
        conversation.name,
        trace=_trace(conversation, root, content=content),
        started_at=root.started_at,
        ended_at=root.started_at if root.ended_at is None else root.ended_at,
        spans=spans,
    )


def part_event(conversation: Conversation, spans: list[dict[str, Any]]) -> dict[str, Any]:
    """A further transaction for spans that the first has no room for."""
    root = conversation.root
    trace = {
        "trace_id": conversation.trace_id,
        "span_id": new_id(),
        "parent_span_id": root.id,
        "op": OP_CONVERSATION_PART,
        "status": "ok",
    }
    return _transaction(
        conversation,
        conversation.name,
        trace=trace,
        started_at=min(span["start_timestamp"] for span in spans),
        ended_at=max(span["timestamp"] for span in spans),
        spans=spans,
    )


def late_event(conversation: Conversation, span: Span, *, content: bool) -> dict[str, Any]:
    """A span that missed its conversation's transaction, as one of its own."""
    return _transaction(
        conversation,
        span.name,
        trace=_trace(conversation, span, content=content),
        started_at=span.started_at,
        ended_at=span.started_at if span.ended_at is None else span.ended_at,
        spans=[],
    )


def encode_span(conversation: Conversation, span: Span, *, content: bool) -> dict[str, Any]:
    """A span inside a transaction."""
    return {
        "trace_id": conversation.trace_id,
        "span_id": span.id,
        "parent_span_id": span.parent_id,
        "op": span.op or "default",
        "description": span.name,
        "start_timestamp": span.started_at,
        "timestamp": span.started_at if span.ended_at is None else span.ended_at,
        "status": span.status,
        "origin": span.origin,
        "data": _data(span.attributes, content=content),
    }


def _trace(conversation: Conversation, span: Span, *, content: bool) -> dict[str, Any]:
    return {
        "trace_id": conversation.trace_id,
        "span_id": span.id,
        "parent_span_id": span.parent_id,
        "op": span.op or "default",
        "status": span.status,
        "origin": span.origin,
        "data": _data(span.attributes, content=content),
    }


def _transaction(
    conversation: Conversation,
    name: str,
    *,
    trace: dict[str, Any],
    started_at: float,
    ended_at: float,
    spans: list[dict[str, Any]],
) -> dict[str, Any]:
    baggage = conversation.transaction.get_baggage()
    return {
        "type": "transaction",
        "transaction": name,
        "transaction_info": {"source": "custom"},
        "contexts": {
            "trace": {**trace, "dynamic_sampling_context": baggage.dynamic_sampling_context()}
        },
        "start_timestamp": started_at,
        "timestamp": ended_at,
        "spans": spans,
    }


def _data(attributes: Mapping[str, Any], *, content: bool) -> dict[str, Any]:
    return {
        str(name): plain(value)
        for name, value in list(attributes.items())
        if value is not None and (content or not is_content(name))
    }


def plain(value: Any) -> Any:
    """A value that JSON knows; anything else becomes text."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple() | set() | frozenset():
            return [plain(element) for element in value]
        case dict():
            return {str(key): plain(element) for key, element in value.items()}
        case _:
            return str(value)
