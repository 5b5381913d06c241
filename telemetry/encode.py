"""Conversations as Sentry transactions.

Format: https://develop.sentry.dev/sdk/data-model/event-payloads/transaction/. Sentry takes 1,000
spans and about 1 MB in one event, so a longer conversation goes on in further transactions of op
``conversation.part``: same trace, true parents, nothing left out.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, TypeVar

import sentry_sdk

from .attributes import OP_CONVERSATION_PART, is_content
from .span import new_id
from .transport import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .conversation import Conversation
    from .span import Span

MAX_SPANS = 1_000
"""Spans in one transaction: Sentry's limit."""
MAX_BYTES = 800_000
"""Bytes of spans in one transaction: Sentry refuses events of 1 MB and more."""

T = TypeVar("T")
_TURN = 50
"""Spans worked on before other threads get their turn: under 1 ms."""
_SPANS = "telemetry.spans"


def paced(items: Iterable[T]) -> Iterator[T]:
    """The same items; now and then the interpreter is let go, so that no call's loop stalls."""
    for number, item in enumerate(items, 1):
        if number % _TURN == 0:
            time.sleep(0)
        yield item


# -- past the SDK's serialiser -------------------------------------------------------------------
#
# It takes 30 µs a span, in one go, to make what encode_span has made already. So an event goes
# through the SDK without its spans, which ride along in the hint and join it in the public
# ``before_send_transaction``; an application's own hook of that name sees the whole event.


def capture(event: dict[str, Any]) -> None:
    """Give a transaction to the SDK, under the scopes that are current."""
    spans, event["spans"] = event["spans"], []
    sentry_sdk.capture_event(event, {_SPANS: spans})  # type: ignore[arg-type]  # a plain dict


def rejoining(
    then: Callable[[Any, dict[str, Any]], Any] | None,
) -> Callable[[Any, dict[str, Any]], Any]:
    """The ``before_send_transaction`` that puts an event's spans back, before ``then``."""

    def before_send_transaction(event: Any, hint: dict[str, Any]) -> Any:
        if _SPANS in hint:
            event["spans"] = spans = hint.pop(_SPANS)
            scrub = scrubber()
            for span in paced(spans):
                scrub(span["data"])
        return event if then is None else then(event, hint)

    return before_send_transaction


def scrubber() -> Callable[[dict[str, Any]], None]:
    """What the SDK's scrubber does to a span's data: values under names it denies are left out."""
    sentrys = sentry_sdk.get_client().options.get("event_scrubber")
    if sentrys is None:
        return lambda data: None
    denied = frozenset(sentrys.denylist)
    return lambda data: _scrub(data, denied, deep=sentrys.recursive)


def _scrub(value: Any, denied: frozenset[str], *, deep: bool) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name.lower() in denied:
                value[name] = "[Filtered]"
            elif deep:
                _scrub(inner, denied, deep=True)
    elif isinstance(value, list):
        for inner in value:
            _scrub(inner, denied, deep=deep)


# -- a conversation's transactions ---------------------------------------------------------------


def batches(spans: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Encoded spans in the order given, each batch within Sentry's limits; ``size`` is in bytes."""
    batch: list[T] = []
    total = 0
    for span in paced(spans):
        length = size(span)
        if batch and (len(batch) == MAX_SPANS or total + length > MAX_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(span)
        total += length
    if batch:
        yield batch


def size_of(span: dict[str, Any]) -> int:
    """Bytes that a span takes in an event."""
    return len(to_json(span))


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
        "data": data(span.attributes, content=content),
    }


def _trace(conversation: Conversation, span: Span, *, content: bool) -> dict[str, Any]:
    return {
        "trace_id": conversation.trace_id,
        "span_id": span.id,
        "parent_span_id": span.parent_id,
        "op": span.op or "default",
        "status": span.status,
        "origin": span.origin,
        "data": data(span.attributes, content=content),
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


def data(attributes: Mapping[str, Any], *, content: bool) -> dict[str, Any]:
    """Attributes as JSON knows them; what people said is among them only with ``content``."""
    return {
        str(name): known(value)
        for name, value in list(attributes.items())
        if value is not None and (content or not is_content(str(name)))
    }


def known(value: Any) -> Any:
    """:func:`plain`, and a note for what can't be made plain: one odd value costs itself only."""
    try:
        return plain(value)
    except Exception:  # noqa: BLE001 - a cycle, a __str__ that raises, a dict that changes
        return f"<unprintable {type(value).__name__}>"


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
