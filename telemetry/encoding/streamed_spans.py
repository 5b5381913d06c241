"""Conversations as Sentry span items: each span on its own, while the conversation runs.

Format: https://develop.sentry.dev/sdk/telemetry/spans/span-protocol/. Spans have no tags, user or
contexts of their own, everything is an attribute. What a conversation's scopes say is an attribute
of each of its spans, as with the SDK's own; its contexts are attributes of its segment span.

Times are exact, also of spans that were backdated.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk.envelope import Envelope, Item, PayloadRef
from sentry_sdk.scope import use_isolation_scope, use_scope
from sentry_sdk.utils import capture_internal_exceptions

from ..context.scopes import DeliveringScope
from ..written import Tag
from .ai_spans import data_of
from .envelope import batches
from .values import data, scrubber, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .given import GivenSpan, GivenTransaction

CONTENT_TYPE: Final = "application/vnd.sentry.items.span.v2+json"
BEGINNING: Final = b'{"version":2,"items":['
"""The first bytes of an item; its members follow, with one comma between two."""
STATUS: Final = "sentry.status.message"
"""The status in full: a streamed span's own is only ``ok`` or ``error``."""
CONTEXT: Final = "context."
"""Prefix of what a scope's contexts say: ``context.NAME.FIELD``."""
SEGMENT_NAME: Final = "sentry.segment.name"
"""A span's own attributes stand before this one, what its conversation's scopes say behind it."""

_USER: Final = {"username": "name"}
"""Fields of a user that are called otherwise in an attribute."""
_SIMPLE: Final = frozenset({bool, int, float, str})
_RUNTIME: Final = frozenset({"trace", "runtime"})
"""Contexts that every span has in attributes of another name."""


def envelopes(
    transaction: GivenTransaction,
    spans: Iterable[GivenSpan],
    *,
    content: bool,
    make: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Iterator[Envelope]:
    """Envelopes with these spans of a conversation, its root among them or not.

    Each span becomes bytes at once, after ``make`` has made it anew, if that is given. A thousand
    spans as objects are so many that the collector of garbage would look at all there is in the
    process, and keep a call's loop waiting for it.
    """
    encoded = encode_spans(transaction, spans, content=content)
    members = map(to_json, encoded if make is None else map(make, encoded))
    trace = transaction.sampling_context()
    for batch in batches(members, len):
        headers = {"sent_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}", "trace": trace}
        item = Item(
            PayloadRef(bytes=BEGINNING + b",".join(batch) + b"]}"),
            headers={"item_count": len(batch)},
            type="span",
            content_type=CONTENT_TYPE,
        )
        yield Envelope(headers, [item])


def encode_spans(
    transaction: GivenTransaction, spans: Iterable[GivenSpan], *, content: bool
) -> Iterator[dict[str, Any]]:
    """Spans in the form of the protocol."""
    everywhere, contexts = _said_by_scopes(transaction)
    everywhere = {
        "sentry.segment.id": transaction.root.id,
        SEGMENT_NAME: transaction.name,
        **everywhere,
    }
    scrub = scrubber()
    finish = sentry_sdk.get_client().options.get("before_send_span")
    for span in spans:
        own = data_of(transaction, span, content=content)
        if span is transaction.root:
            own |= contexts
        scrub(own)
        op, name = span.written()
        own |= {"sentry.op": op or "default", "sentry.origin": span.origin}
        if span.status != "ok":
            own[STATUS] = span.status
        encoded: dict[str, Any] = {
            "trace_id": transaction.trace_id,
            "span_id": span.id,
            "name": name,
            "status": "ok" if span.status == "ok" else "error",
            "is_segment": span is transaction.root,
            "start_timestamp": span.started_at,
            "end_timestamp": span.started_at if span.ended_at is None else span.ended_at,
            "attributes": own | {key: everywhere[key] for key in everywhere if key not in own},
        }
        if span.parent_id is not None:
            encoded["parent_span_id"] = span.parent_id
        if finish is not None:
            with capture_internal_exceptions():
                copy = encoded | {"attributes": dict(encoded["attributes"])}
                encoded |= _changed(finish(copy, {}))
        encoded["attributes"] = {
            key: attribute(value) for key, value in encoded["attributes"].items()
        }
        yield encoded


def _changed(span: Any) -> dict[str, Any]:
    """The name and attributes of a span: ``before_send_span`` may change no more."""
    given = span if isinstance(span, dict) else {}
    return {key: given[key] for key in ("name", "attributes") if key in given}


def _said_by_scopes(transaction: GivenTransaction) -> tuple[dict[str, Any], dict[str, Any]]:
    """Attributes of every span of the conversation, and those of its contexts."""
    isolation, own = transaction.said_by
    scope = sentry_sdk.get_global_scope().fork()
    scope.update_from_scope(isolation)
    scope.update_from_scope(own)
    telemetry: dict[str, Any] = {"trace_id": "", "span_id": "", "attributes": {}}
    scope.apply_to_telemetry(telemetry)  # type: ignore[arg-type]  # like a log's
    delivering = own.fork()
    delivering.__class__ = DeliveringScope
    with use_isolation_scope(isolation), use_scope(delivering):
        event: Mapping[str, Any] = scope.apply_to_event({"type": "transaction"}, {}) or {}
    attributes = {"sentry.trace_lifecycle": "stream", **telemetry["attributes"]}
    for key, value in (event.get("user") or {}).items():
        attributes[f"user.{_USER.get(key, key)}"] = value
    attributes.update({key: Tag(value) for key, value in (event.get("tags") or {}).items()})
    contexts = {
        f"{CONTEXT}{name}.{field}": value
        for name, context in (event.get("contexts") or {}).items()
        if name not in _RUNTIME
        for field, value in context.items()
    }
    return data(attributes, content=True), data(contexts, content=True)


def attribute(value: Any) -> dict[str, Any]:
    """A value that JSON knows, with its type; what the protocol has no type for is JSON text."""
    match value:
        case bool():
            return {"value": value, "type": "boolean"}
        case int() if -(2**63) <= value < 2**63:
            return {"value": value, "type": "integer"}
        case float():
            return {"value": value, "type": "double"}
        case str():
            return {"value": value, "type": "string"}
        case list() if (kinds := {*map(type, value)}) <= _SIMPLE and len(kinds) <= 1:
            return {"value": value, "type": "array"}
        case _:
            return {"value": json.dumps(value, default=str), "type": "string"}
