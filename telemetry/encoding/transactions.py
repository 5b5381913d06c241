"""Conversations as Sentry transactions.

Format: https://develop.sentry.dev/sdk/data-model/event-payloads/transaction/. Sentry takes 1,000
spans and about 1 MB in one event, so a longer conversation goes on in further transactions of op
``conversation.part``: same trace, true parents, nothing left out.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk

from ..attributes import OP_CONVERSATION_PART
from ..context.scopes import OURS
from .ai_spans import data_of
from .values import paced, scrubber

if TYPE_CHECKING:
    from collections.abc import Callable

    from .given import GivenSpan, GivenTransaction

_SPANS: Final = "telemetry.spans"
"""The place in an event's hint in which its spans ride along."""


# -- past the SDK's serialiser -------------------------------------------------------------------
#
# It takes 30 µs a span, in one go, to make what encode_span has made already. So an event goes
# through the SDK without its spans, which ride along in the hint and join it in the public
# ``before_send_transaction``; an application's own hook of that name sees the whole event.


def capture(event: dict[str, Any]) -> None:
    """Give a transaction to the SDK, under the scopes that are current."""
    spans, event["spans"] = event["spans"], []
    sentry_sdk.capture_event(event, {_SPANS: spans, OURS: True})  # type: ignore[arg-type]  # a plain dict


def rejoining(
    then: Callable[[Any, dict[str, Any]], Any] | None,
    lost: Callable[[int], None] = lambda count: None,
) -> Callable[[Any, dict[str, Any]], Any]:
    """The ``before_send_transaction`` that puts an event's spans back, before ``then``.

    Where that raises, Sentry counts the spans that the event came with; ``lost`` counts the others.
    """

    def before_send_transaction(event: Any, hint: dict[str, Any]) -> Any:
        spans = hint.pop(_SPANS, None)
        if spans is not None:
            event["spans"] = spans
            scrub = scrubber()
            for span in paced(spans):
                scrub(span["data"])
        if then is None:
            return event
        count = len(spans or ())
        try:
            return then(event, hint)
        except Exception:
            lost(count)
            raise

    return before_send_transaction


# -- a conversation's transactions ---------------------------------------------------------------


def event_id(trace_id: str, span_id: str) -> str:
    """The id of the event whose root is this span: the same, whoever sends it, however often."""
    return hashlib.blake2b(f"{trace_id} {span_id}".encode(), digest_size=16).hexdigest()


def transaction_event(
    transaction: GivenTransaction, spans: list[dict[str, Any]], *, content: bool
) -> dict[str, Any]:
    """The conversation's own transaction."""
    root = transaction.root
    return _transaction(
        transaction,
        transaction.name,
        trace=_trace(transaction, root, content=content),
        started_at=root.started_at,
        ended_at=root.started_at if root.ended_at is None else root.ended_at,
        spans=spans,
    )


def part_event(transaction: GivenTransaction, spans: list[dict[str, Any]]) -> dict[str, Any]:
    """A further transaction for spans that the first has no room for."""
    root = transaction.root
    trace = {
        "trace_id": transaction.trace_id,
        # not random: who makes the same part after a crash means the same one
        "span_id": event_id(root.id, spans[0]["span_id"])[:16],
        "parent_span_id": root.id,
        "op": OP_CONVERSATION_PART,
        "status": "ok",
    }
    return _transaction(
        transaction,
        transaction.name,
        trace=trace,
        started_at=min(span["start_timestamp"] for span in spans),
        ended_at=max(span["timestamp"] for span in spans),
        spans=spans,
    )


def late_event(transaction: GivenTransaction, span: GivenSpan, *, content: bool) -> dict[str, Any]:
    """A span that missed its conversation's transaction, as one of its own."""
    return _transaction(
        transaction,
        span.written()[1],
        trace=_trace(transaction, span, content=content),
        started_at=span.started_at,
        ended_at=span.started_at if span.ended_at is None else span.ended_at,
        spans=[],
    )


def encode_span(transaction: GivenTransaction, span: GivenSpan, *, content: bool) -> dict[str, Any]:
    """A span inside a transaction."""
    op, name = span.written()
    return {
        "trace_id": transaction.trace_id,
        "span_id": span.id,
        "parent_span_id": span.parent_id,
        "op": op or "default",
        "description": name,
        "start_timestamp": span.started_at,
        "timestamp": span.started_at if span.ended_at is None else span.ended_at,
        "status": span.status,
        "origin": span.origin,
        "data": data_of(transaction, span, content=content),
    }


def _trace(transaction: GivenTransaction, span: GivenSpan, *, content: bool) -> dict[str, Any]:
    return {
        "trace_id": transaction.trace_id,
        "span_id": span.id,
        "parent_span_id": span.parent_id,
        "op": span.written()[0] or "default",
        "status": span.status,
        "origin": span.origin,
        "data": data_of(transaction, span, content=content),
    }


def _transaction(
    transaction: GivenTransaction,
    name: str,
    *,
    trace: dict[str, Any],
    started_at: float,
    ended_at: float,
    spans: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "event_id": event_id(transaction.trace_id, trace["span_id"]),
        "type": "transaction",
        "transaction": name,
        "transaction_info": {"source": "custom"},
        "contexts": {
            "trace": {**trace, "dynamic_sampling_context": transaction.sampling_context()}
        },
        "start_timestamp": started_at,
        "timestamp": ended_at,
        "spans": spans,
    }
