"""The spans of an envelope as those of OpenTelemetry's SDK: same ids, parents, times, attributes.

They are made of what is sent to Sentry, in either of its forms, as late as that is: so the two can
tell no different things, and what may leave the machine is decided for both in one place. What
Sentry's format says of a span beside its attributes is an attribute here, under the name that
Sentry's span protocol has for it (``sentry.op``, ``sentry.origin``, ``sentry.status.message``).
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from ...encoding.streamed_spans import BEGINNING, STATUS, attribute
from ...encoding.values import paced

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sentry_sdk.envelope import Envelope

_SCOPE: Final = InstrumentationScope("telemetry")
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_OP: Final = "sentry.op"
_USER: Final = {"username": "name"}
_SERVED: Final = ("http.server", "websocket.server")
_ASKED: Final = ("http.client", "websocket.client", "db", "gen_ai.chat", "gen_ai.embeddings")
"""Ops, or what stands before their first further dot, of spans that have another's answer."""
_JSON: Final = json.JSONDecoder()


class Readable:
    """Makes the SDK's spans.

    Args:
        service: the name of the service whose spans they are, unless the environment names it:
            ``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._resources: dict[tuple[Any, ...], Resource] = {}

    def spans_of(self, envelope: Envelope) -> Iterator[ReadableSpan]:
        """The spans in an envelope; of what is something else, none."""
        for item in envelope.items:
            content = item.payload.json
            if item.type == "transaction":
                event = json.loads(item.get_bytes()) if content is None else content
                yield from self._of_transaction(event)
            elif item.type == "span":
                members = _members(item.get_bytes()) if content is None else content["items"]
                yield from map(self._of_streamed, paced(members))

    def _of_transaction(self, event: Mapping[str, Any]) -> Iterator[ReadableSpan]:
        resource = self._resource(event.get("release"), event.get("environment"))
        trace = event["contexts"]["trace"]
        root = {**trace, "description": event.get("transaction")}
        root |= {name: event.get(name) for name in ("start_timestamp", "timestamp")}
        root["data"] = {**_said_of(event), **(trace.get("data") or {})}
        yield self._of_span(root, resource, is_root=True)
        for span in paced(event.get("spans") or ()):
            yield self._of_span(span, resource)

    def _of_span(
        self, span: Mapping[str, Any], resource: Resource, *, is_root: bool = False
    ) -> ReadableSpan:
        op, status = str(span.get("op") or "default"), span.get("status")
        facts = {_OP: op, "sentry.origin": span.get("origin")}
        if status not in ("ok", None):
            facts[STATUS] = status
        return _made(
            span,
            name=str(span.get("description") or op),
            ended_at=span.get("timestamp"),
            attributes={**(span.get("data") or {}), **facts},
            resource=resource,
            is_root=is_root,
        )

    def _of_streamed(self, span: Mapping[str, Any]) -> ReadableSpan:
        given = span.get("attributes") or {}
        attributes = {name: one["value"] for name, one in given.items()}
        return _made(
            span,
            name=str(span.get("name") or attributes.get(_OP) or "default"),
            ended_at=span.get("end_timestamp"),
            attributes=attributes,
            resource=self._resource(
                attributes.get("sentry.release"), attributes.get("sentry.environment")
            ),
            is_root=bool(span.get("is_segment")),
        )

    def _resource(self, release: Any, environment: Any) -> Resource:
        """The process that recorded a span: another than this one, where that was killed."""
        key = release, environment
        if key not in self._resources:
            facts = {
                "service.name": self._service,
                "service.version": release,
                "deployment.environment.name": environment,
            }
            own = Resource({name: str(value) for name, value in facts.items() if value})
            said = own.merge(OTELResourceDetector().detect())
            self._resources[key] = Resource.create(said.attributes)
        return self._resources[key]


def _said_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event's user and tags, as the span protocol has them: attributes."""
    user = {
        f"user.{_USER.get(name, name)}": value
        for name, value in (event.get("user") or {}).items()
        if value is not None
    }
    return {**user, **(event.get("tags") or {})}


def _members(payload: bytes) -> Iterator[dict[str, Any]]:
    """The spans in the bytes of an item, parsed one by one: all at once would take too long."""
    if not payload.startswith(BEGINNING):
        yield from json.loads(payload)["items"]
        return
    text, at = payload.decode(), len(BEGINNING)
    while text[at] != "]":
        member, end = _JSON.raw_decode(text, at)
        yield member
        at = end + (text[end] == ",")


def _made(
    span: Mapping[str, Any],
    *,
    name: str,
    ended_at: Any,
    attributes: Mapping[str, Any],
    resource: Resource,
    is_root: bool,
) -> ReadableSpan:
    trace_id = int(span["trace_id"], 16)
    parent = span.get("parent_span_id")
    started_at = span.get("start_timestamp")
    return ReadableSpan(
        name,
        context=_context(trace_id, span["span_id"]),
        # of a root that has one, it is somebody else's
        parent=_context(trace_id, parent, is_remote=is_root) if parent else None,
        resource=resource,
        attributes={
            name: attribute(value)["value"]
            for name, value in attributes.items()
            if value is not None
        },
        kind=_kind(str(attributes.get(_OP) or "")),
        status=_status(span.get("status"), attributes.get(STATUS)),
        start_time=_nanoseconds(started_at),
        end_time=_nanoseconds(started_at if ended_at is None else ended_at),
        instrumentation_scope=_SCOPE,
    )


def _context(trace_id: int, span_id: str, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, int(span_id, 16), is_remote=is_remote, trace_flags=_SAMPLED)


def _status(status: Any, message: Any) -> Status:
    if status is None:
        return Status(StatusCode.UNSET)
    if status == "ok":
        return Status(StatusCode.OK)
    return Status(StatusCode.ERROR, str(message or status))


def _kind(op: str) -> SpanKind:
    if _is_any(op, _SERVED):
        return SpanKind.SERVER
    return SpanKind.CLIENT if _is_any(op, _ASKED) else SpanKind.INTERNAL


def _is_any(op: str, ops: Iterable[str]) -> bool:
    return any(op == one or op.startswith(f"{one}.") for one in ops)


def _nanoseconds(time: Any) -> int:
    """Unix nanoseconds of a time in an event: Unix seconds, or a date as Sentry's SDK writes it.

    To the microsecond: what stands behind that in a float of today's seconds is noise.
    """
    if isinstance(time, str):
        time = datetime.fromisoformat(time).timestamp()
    return round(float(time or 0.0) * 1e6) * 1_000
