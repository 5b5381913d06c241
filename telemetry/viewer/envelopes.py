"""Envelopes that anybody sends: their bytes, bounded, as items whose every field is what it should
be.

Format: https://develop.sentry.dev/sdk/foundations/envelopes/. Nothing in one is believed: not its
lengths, not its types, not its numbers.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ..records import SpanRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_ITEMS: Final = 1_000
MOST_SPANS: Final = 10_000
"""In one envelope."""
MOST_ATTRIBUTE_BYTES: Final = 200_000
"""Of a span's attributes, as JSON."""
_LONGEST_NAME: Final = 2_000
_LONGEST_OP: Final = 200
_LATEST: Final = 1e11
"""Unix seconds; what is later is no time."""
_HEX: Final = re.compile(r"[0-9a-f]+")
DEEPEST: Final = 50
"""Levels of lists and objects in a value; whoever reads it again goes down them one by one."""
_OURS: Final = "\0"
"""The beginning of keys by which the store finds the pieces of a long text."""
_ABOUT_ITSELF: Final = ("sentry.", "process.runtime.", "thread.")
"""Prefixes of attributes in which an SDK tells of itself."""


class RefusedError(ValueError):
    """An envelope, or an item, that isn't taken.

    Attributes:
        reason: a word to count it by.
        status: the HTTP status of the answer.
    """

    def __init__(self, reason: str, text: str, status: int = 400) -> None:
        self.reason = reason
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Item:
    """An item of an envelope."""

    kind: str
    content: Any
    """Its JSON."""


@dataclass(frozen=True, slots=True)
class Part:
    """A transaction, or some spans of one that may not have ended."""

    trace_id: str
    root_span_id: str
    spans: tuple[SpanRecord, ...]
    root: SpanRecord | None = None
    """None while it isn't known how it ended."""
    id: str | None = None
    name: str = ""
    user: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Its release and environment."""


def items(body: bytes) -> Iterator[Item]:
    """The items of an envelope whose content is JSON.

    Raises:
        RefusedError: it isn't an envelope.
    """
    _, at = _header(body, 0)
    count = 0
    while at < len(body):
        if body[at : at + 1] == b"\n":  # between items, and at the end
            at += 1
            continue
        count += 1
        if count > MOST_ITEMS:
            raise RefusedError("too large", f"an envelope has at most {MOST_ITEMS} items", 413)
        header, at = _header(body, at)
        length = header.get("length")
        if length is None:
            end = body.find(b"\n", at)
            end = len(body) if end < 0 else end
        elif type(length) is int and 0 <= length <= len(body) - at:
            end = at + length
        else:
            raise RefusedError("malformed", "an item is longer than the envelope")
        kind, at, payload = str(header.get("type"))[:40], end, body[at:end]
        if kind in _JSON:
            yield Item(kind, _json(payload))
        else:
            yield Item(kind, None)


_JSON: Final = frozenset({"transaction", "span", "event", "client_report"})


def _header(body: bytes, at: int) -> tuple[dict[str, Any], int]:
    end = body.find(b"\n", at)
    end = len(body) if end < 0 else end
    found = _json(body[at:end])
    if not isinstance(found, dict):
        raise RefusedError("malformed", "a header is no JSON object")
    return found, end + 1


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RefusedError("malformed", "what should be JSON isn't") from None


# -- transactions and spans ------------------------------------------------------------------------


def transaction(event: Any) -> Part:
    """A transaction event.

    Raises:
        RefusedError: it isn't one.
    """
    known = _object(event)
    trace = _object(_object(known.get("contexts")).get("trace"))
    trace_id = _id(trace.get("trace_id"), 32)
    root = SpanRecord(
        span_id=_id(trace.get("span_id"), 16),
        parent_span_id=_optional_id(trace.get("parent_span_id")),
        op=_text(trace.get("op"), _LONGEST_OP) or "default",
        name=_text(known.get("transaction"), _LONGEST_NAME),
        started_at=_time(known.get("start_timestamp")),
        ended_at=_time(known.get("timestamp")),
        status=_text(trace.get("status"), 40) or "ok",
        origin=_text(trace.get("origin"), 200) or "manual",
        attributes=_attributes(trace.get("data")),
    )
    spans = tuple(_span(one) for one in _list(known.get("spans")))
    return Part(
        trace_id,
        root.span_id,
        (root, *spans),
        root=root,
        id=_text(root.attributes.get("gen_ai.conversation.id"), _LONGEST_NAME) or None,
        name=root.name,
        user=_attributes(known.get("user")),
        tags=_tags(known.get("tags")),
        facts=_facts(known),
    )


def _span(given: Any) -> SpanRecord:
    span = _object(given)
    started_at = _time(span.get("start_timestamp"))
    return SpanRecord(
        span_id=_id(span.get("span_id"), 16),
        parent_span_id=_optional_id(span.get("parent_span_id")),
        op=_text(span.get("op"), _LONGEST_OP) or "default",
        name=_text(span.get("description"), _LONGEST_NAME),
        started_at=started_at,
        ended_at=max(_time(span.get("timestamp")), started_at),
        status=_text(span.get("status"), 40) or "ok",
        origin=_text(span.get("origin"), 200) or "manual",
        attributes=_attributes(span.get("data")),
    )


def streamed(content: Any) -> list[Part]:
    """The spans of an item of streamed ones, by the transaction (its *segment*) they are in.

    Raises:
        RefusedError: it isn't such an item.
    """
    spans: dict[tuple[str, str], list[SpanRecord]] = {}
    roots: dict[tuple[str, str], tuple[SpanRecord, dict[str, Any]]] = {}
    for given in _list(_object(content).get("items")):
        span = _object(given)
        trace_id = _id(span.get("trace_id"), 32)
        told = {
            str(name): value.get("value") if isinstance(value, dict) else value
            for name, value in _object(span.get("attributes")).items()
        }
        record = _streamed_span(span, told)
        segment = told.get("sentry.segment.id")
        place = trace_id, record.span_id if segment is None else _id(segment, 16)
        spans.setdefault(place, []).append(record)
        if span.get("is_segment") is True and place[1] == record.span_id:
            roots[place] = record, told
    return [_segment(place, found, *roots.get(place, (None, {}))) for place, found in spans.items()]


def _segment(
    place: tuple[str, str],
    spans: list[SpanRecord],
    root: SpanRecord | None,
    told: Mapping[str, Any],
) -> Part:
    trace_id, root_span_id = place
    if root is None:
        return Part(trace_id, root_span_id, tuple(spans))
    return Part(
        trace_id,
        root_span_id,
        (root, *(span for span in spans if span is not root)),
        root=root,
        id=_text(told.get("gen_ai.conversation.id"), _LONGEST_NAME) or None,
        name=root.name,
        user={
            name.removeprefix("user."): value
            for name, value in _attributes(told).items()
            if name.startswith("user.")
        },
        facts=_facts({name: told.get(f"sentry.{name}") for name in ("release", "environment")}),
    )


def _streamed_span(span: Mapping[str, Any], told: Mapping[str, Any]) -> SpanRecord:
    started_at = _time(span.get("start_timestamp"))
    status = "ok" if span.get("status") in (None, "ok") else "internal_error"
    return SpanRecord(
        span_id=_id(span.get("span_id"), 16),
        parent_span_id=_optional_id(span.get("parent_span_id")),
        op=_text(told.get("sentry.op"), _LONGEST_OP) or "default",
        name=_text(span.get("name"), _LONGEST_NAME),
        started_at=started_at,
        ended_at=max(_time(span.get("end_timestamp")), started_at),
        status=_text(told.get("sentry.status.message"), 40) or status,
        origin=_text(told.get("sentry.origin"), 200) or "manual",
        attributes={
            name: value
            for name, value in _attributes(told).items()
            if not name.startswith(_ABOUT_ITSELF)
        },
    )


# -- fields ----------------------------------------------------------------------------------------


def _object(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RefusedError("malformed", "what should be a JSON object isn't")
    return value


def _list(value: Any) -> list[Any]:
    found = [] if value is None else value
    if not isinstance(found, list):
        raise RefusedError("malformed", "what should be a list isn't")
    if len(found) > MOST_SPANS:
        raise RefusedError("too large", f"an item has at most {MOST_SPANS} spans", 413)
    return found


def _id(value: Any, digits: int) -> str:
    found = value.replace("-", "").lower() if isinstance(value, str) else ""
    if len(found) != digits or not _HEX.fullmatch(found):
        raise RefusedError("malformed", f"an id isn't {digits} hex digits")
    return found


def _optional_id(value: Any) -> str | None:
    return None if value is None or value == "" else _id(value, 16)


def trace_of(event: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The trace and the span that an error is of; None where it doesn't say."""
    trace = _object(_object(event.get("contexts")).get("trace"))
    trace_id, span_id = trace.get("trace_id"), trace.get("span_id")
    return None if trace_id is None else _id(trace_id, 32), _optional_id(span_id)


def time_of(event: Mapping[str, Any]) -> float:
    """The time of an error (Unix seconds)."""
    return _time(event.get("timestamp"))


def event_id_of(event: Mapping[str, Any]) -> str:
    """The id of an event."""
    return _id(event.get("event_id"), 32)


def _time(value: Any) -> float:
    """Unix seconds, of a number or of a text as RFC 3339 has it."""
    found = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        found = float(value) if abs(value) < _LATEST else math.nan
    elif isinstance(value, str):
        try:
            when = datetime.fromisoformat(value[:40])
            found = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            pass
    if not 0 <= found < _LATEST:
        raise RefusedError("malformed", "a time isn't one")
    return found


def _text(value: Any, limit: int) -> str:
    return value[:limit] if isinstance(value, str) else ""


def _attributes(value: Any) -> dict[str, Any]:
    """Attributes, without those that nobody can show, and those that there is no room for: the
    longest go."""
    found = {
        str(name)[:_LONGEST_OP]: one
        for name, one in _object(value).items()
        if not _has_ours({name: one}) and is_shallow(one)
    }
    sizes = {name: len(json.dumps(one)) for name, one in found.items()}
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if sum(sizes.values()) <= MOST_ATTRIBUTE_BYTES:
            break
        del found[name], sizes[name]
    return found


def is_shallow(value: Any, deep: int = DEEPEST) -> bool:
    """True if a value is nested no deeper than that."""
    match value:
        case dict():
            return deep > 0 and all(is_shallow(one, deep - 1) for one in value.values())
        case list():
            return deep > 0 and all(is_shallow(one, deep - 1) for one in value)
    return True


def _has_ours(value: Any, deep: int = DEEPEST) -> bool:
    """True if there is a key in it that is the store's own."""
    match value:
        case dict():
            return any(name.startswith(_OURS) for name in value) or (
                deep > 0 and any(_has_ours(one, deep - 1) for one in value.values())
            )
        case list():
            return deep > 0 and any(_has_ours(one, deep - 1) for one in value)
    return False


def _tags(value: Any) -> dict[str, str]:
    """Tags, which come as an object or as a list of pairs."""
    pairs: Any = value.items() if isinstance(value, dict) else _list(value)
    return {
        str(pair[0])[:_LONGEST_OP]: str(pair[1])[:_LONGEST_OP]
        for pair in pairs
        if isinstance(pair, (tuple, list)) and len(pair) == 2
    }


def _facts(known: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: found
        for name in ("release", "environment")
        if (found := _text(known.get(name), _LONGEST_OP))
    }
