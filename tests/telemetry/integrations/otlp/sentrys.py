"""The tree that Sentry's ingestion got, in the words of a collector: what the two must agree on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.ingest import Ingest

    from ..collector import Collected


@dataclass(frozen=True, slots=True)
class Node:
    """A span: all that both sides know of it."""

    trace_id: str
    parent_id: str | None
    name: str
    started_at: int
    ended_at: int
    """Unix microseconds."""
    status: str
    attributes: Mapping[str, Any]


def of_sentry(ingest: Ingest) -> dict[str, Node]:
    """By id: spans of transactions, their roots, and streamed spans."""
    found: dict[str, Node] = {}
    for span_id, node in (*_transactions(ingest), *_streamed(ingest)):
        assert span_id not in found
        found[span_id] = node
    return found


def of_collector(spans: Iterable[Collected]) -> dict[str, Node]:
    """By id, in the same form."""
    found: dict[str, Node] = {}
    for span in spans:
        assert span.span_id not in found
        found[span.span_id] = Node(
            span.trace_id,
            span.parent_id,
            span.name,
            _microseconds(span.started_at),
            _microseconds(span.ended_at),
            "ok" if span.status == "ok" else f"error: {span.message}",
            span.attributes,
        )
    return found


def _transactions(ingest: Ingest) -> Iterator[tuple[str, Node]]:
    for event in ingest.transactions:
        trace = event["contexts"]["trace"]
        user = {f"user.{name}": value for name, value in event.get("user", {}).items()}
        data = {**user, **event.get("tags", {}), **trace.get("data", {})}
        root = {**trace, "data": data, "description": event["transaction"]}
        root |= {name: event[name] for name in ("start_timestamp", "timestamp")}
        for span in (root, *event["spans"]):
            said = {"sentry.op": span["op"]}
            if "origin" in span:
                said["sentry.origin"] = span["origin"]
            if span["status"] != "ok":
                said["sentry.status.message"] = span["status"]
            yield (
                span["span_id"],
                Node(
                    span["trace_id"],
                    span.get("parent_span_id"),
                    span["description"],
                    _microseconds(span["start_timestamp"]),
                    _microseconds(span["timestamp"]),
                    "ok" if span["status"] == "ok" else f"error: {span['status']}",
                    {**{name: _plain(value) for name, value in span["data"].items()}, **said},
                ),
            )


def _streamed(ingest: Ingest) -> Iterator[tuple[str, Node]]:
    for span in ingest.spans:
        attributes = {name: one["value"] for name, one in span["attributes"].items()}
        yield (
            span["span_id"],
            Node(
                span["trace_id"],
                span.get("parent_span_id"),
                span["name"],
                _microseconds(span["start_timestamp"]),
                _microseconds(span["end_timestamp"]),
                "ok" if span["status"] == "ok" else f"error: {attributes['sentry.status.message']}",
                attributes,
            ),
        )


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)


def _plain(value: Any) -> Any:
    """A value as a collector can take it: lists of one type, else JSON as text."""
    is_plain = not isinstance(value, (dict, list)) or (
        isinstance(value, list) and len({*map(type, value)} | {str}) == 1
    )
    return value if is_plain else json.dumps(value)
