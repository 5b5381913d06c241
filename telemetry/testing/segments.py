"""Streamed spans as the transactions they would have been, for tests of either lifecycle."""

from __future__ import annotations

from typing import Any

from ..encoding.streamed_spans import CONTEXT, SEGMENT_NAME, STATUS


def transactions_of(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Streamed spans as the transactions they would have been, one for each segment.

    Args:
        spans: spans as the protocol has them, in any order. Those whose segment span isn't among
            them are left out.
    """
    below: dict[str, list[dict[str, Any]]] = {}
    for span in spans:
        if not span["is_segment"]:
            segment = _values(span).get("sentry.segment.id", "")
            below.setdefault(segment, []).append(_span(span))
    return [
        _transaction(span, below.get(span["span_id"], [])) for span in spans if span["is_segment"]
    ]


def with_spans_beside(event: dict[str, Any], streamed: list[dict[str, Any]]) -> dict[str, Any]:
    """A transaction with the spans that were sent beside it, which are in it by their segment."""
    root = event["contexts"]["trace"]["span_id"]
    known = {span["span_id"] for span in event["spans"]}
    beside = [
        _span(span)
        for span in streamed
        if span["span_id"] not in {root, *known} and _values(span).get("sentry.segment.id") == root
    ]
    return {**event, "spans": [*event["spans"], *beside]} if beside else event


def _transaction(segment: dict[str, Any], spans: list[dict[str, Any]]) -> dict[str, Any]:
    root = _span(segment)
    everywhere = _values(segment, after=SEGMENT_NAME)
    contexts: dict[str, Any] = {"trace": root}
    for key in [key for key in root["data"] if key.startswith(CONTEXT)]:
        context, _, field = key.removeprefix(CONTEXT).partition(".")
        contexts.setdefault(context, {})[field] = root["data"].pop(key)
    user = {
        {"name": "username"}.get(key, key): value
        for name, value in everywhere.items()
        if (key := name.removeprefix("user.")) != name
    }
    tags = {
        name: value
        for name, value in everywhere.items()
        if not name.startswith(("process.runtime.", "sentry.", "server.address", "user."))
    }
    return {
        "type": "transaction",
        "transaction": root.pop("description"),
        "start_timestamp": root.pop("start_timestamp"),
        "timestamp": root.pop("timestamp"),
        "contexts": contexts,
        "spans": spans,
        **({"user": user} if user else {}),
        **({"tags": tags} if tags else {}),
    }


def _span(span: dict[str, Any]) -> dict[str, Any]:
    known = _values(span)
    own = _values(span, before=SEGMENT_NAME)
    return {
        "trace_id": span["trace_id"],
        "span_id": span["span_id"],
        "parent_span_id": span.get("parent_span_id"),
        "op": known.get("sentry.op", "default"),
        "description": span["name"],
        "start_timestamp": span["start_timestamp"],
        "timestamp": span["end_timestamp"],
        "status": known.get(STATUS, "ok" if span["status"] == "ok" else "internal_error"),
        "origin": known.get("sentry.origin", "manual"),
        "data": {name: own[name] for name in own if not name.startswith("sentry.")},
    }


def _values(
    span: dict[str, Any], *, before: str | None = None, after: str | None = None
) -> dict[str, Any]:
    """Values of a span's attributes, of those before or after one of this name in their order."""
    names = list(span["attributes"])
    start = names.index(after) + 1 if after in names else 0
    end = names.index(before) if before in names else None
    return {name: span["attributes"][name]["value"] for name in names[start:end]}
