"""An OpenTelemetry tracer, at the level of its API, that records LiveKit's spans as ours.

LiveKit gives its spans explicit OpenTelemetry parents, so a parent is the one it names; without
one it is the deeper of OpenTelemetry's and our own current span. ``start_as_current_span`` also
makes the span current for us and for Sentry, which a span processor can't do: inside an LLM node,
a tool or a TTS node ``sentry_sdk.get_current_span()`` is that stage's span.

Spans of sessions that nobody traces go nowhere, as before.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import trace as otel
from opentelemetry.trace import Status, StatusCode

from ... import attributes as names
from ... import context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext
    from opentelemetry.util.types import Attributes, AttributeValue

    from ...conversation import Conversation
    from ...span import Span

OPS = {
    "user_speaking": names.OP_USER_SPEECH,
    "eou_wait": names.OP_ENDPOINTING,
    "llm_node": names.OP_CHAT,
    "realtime_inference": names.OP_CHAT,
    "function_tool": names.OP_TOOL,
    "tts_node": names.OP_TTS,
    "agent_speaking": names.OP_AGENT_SPEECH,
}
"""LiveKit's span names that have an op of their own; the others are ``livekit.<name>``."""

REQUESTS = {"llm_request": "llm_node", "tts_request": "tts_node"}
"""Requests to a provider, and the node they serve. What a request learns (tokens, models, sizes)
belongs to the node's span; a request outside a node is that span itself."""

RENAMED = {
    "lk.pii.function_tool.arguments": names.GEN_AI_TOOL_CALL_ARGUMENTS,
    "lk.pii.function_tool.output": names.GEN_AI_TOOL_CALL_RESULT,
    "lk.function_tool.name": names.GEN_AI_TOOL_NAME,
    "lk.response.ttft": names.GEN_AI_TIME_TO_FIRST_TOKEN,
    "lk.response.ttfb": names.TTS_TIME_TO_FIRST_BYTE,
    "lk.interrupted": names.INTERRUPTED,
    "lk.playout.position": names.PLAYED,
}

LEFT_OUT = frozenset(
    {
        "lk.pii.chat_ctx",  # the whole history again in every request: it grows with the square
        "lk.llm_metrics",  # repeats the gen_ai attributes
        "langfuse.observation.completion_start_time",
        "exception.stacktrace",
    }
)


class Listener(Protocol):
    """Told of LiveKit's spans as they begin, learn something and end: :class:`.turns.Turns`."""

    def place(self, name: str, parent: Span, started_at: float | None) -> tuple[Span, float | None]:
        """Where a span belongs: its parent and its start, changed or not."""

    def started(self, span: LiveKitSpan) -> None:
        """A span began."""

    def learned(self, span: LiveKitSpan, name: str, value: AttributeValue) -> None:
        """An attribute was set."""

    def ended(self, span: LiveKitSpan, ended_at: float | None) -> bool:
        """A span is over; True when the listener will finish it itself."""


listeners: dict[Conversation, Listener] = {}
"""The traced conversations."""


class LiveKitSpan(otel.Span):
    """A span of LiveKit's, recorded as one of ours."""

    def __init__(self, name: str, span: Span, listener: Listener, node: LiveKitSpan | None) -> None:
        self.name = name
        self.span = span
        self.node = node
        self._listener = listener
        self._context = otel.SpanContext(
            trace_id=int(span.conversation.trace_id, 16),
            span_id=int(span.id, 16),
            is_remote=False,
            trace_flags=otel.TraceFlags(otel.TraceFlags.SAMPLED),
        )

    @property
    def serves(self) -> LiveKitSpan | None:
        """The node's span that this provider request is made for."""
        return self.node if self.name in REQUESTS else None

    def get_span_context(self) -> SpanContext:
        """OpenTelemetry's identity of the span."""
        return self._context

    def is_recording(self) -> bool:
        """Whether attributes still have an effect."""
        return self.span.is_open

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Record an attribute, under the common name if it has one."""
        if key in LEFT_OUT:
            return
        if key == "lk.tts_metrics":
            self._tts_metrics(str(value))
            return
        self._record(RENAMED.get(key, key), value)
        if self.serves is not None and key.startswith("gen_ai."):
            self.serves._record(key, value)
        if key == "lk.function_tool.name":
            self.span.name = str(value)
        elif key == names.GEN_AI_REQUEST_MODEL:
            (self.serves or self).span.name = str(value)
        elif key == "lk.function_tool.is_error" and value:
            self.span.status = "internal_error"
        self._listener.learned(self, key, value)

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Record several attributes."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Ignored: LiveKit's events repeat what its attributes and spans say."""

    def update_name(self, name: str) -> None:
        """Rename it."""
        self.span.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Mark it failed, if that is what the status says."""
        code = status.status_code if isinstance(status, Status) else status
        if code is StatusCode.ERROR and self.span.status == "ok":
            self.span.status = "internal_error"

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Mark it failed by this exception."""
        self.span.fail(exception)

    def end(self, end_time: int | None = None) -> None:
        """End it, now or at ``end_time`` (nanoseconds)."""
        ended_at = None if end_time is None else end_time / 1e9
        if not self._listener.ended(self, ended_at):
            self.span.finish(ended_at)

    def _record(self, key: str, value: AttributeValue) -> None:
        self.span.attributes[key] = value

    def _tts_metrics(self, metrics: str) -> None:
        """Characters and seconds of audio, summed up on the node: it makes a request a sentence."""
        values = json.loads(metrics)
        for target in filter(None, (self, self.serves)):
            for name, value in (
                (names.TTS_CHARACTERS, values.get("characters_count", 0)),
                (names.TTS_AUDIO_SECONDS, values.get("audio_duration", 0.0)),
            ):
                target._record(name, target.span.attributes.get(name, 0) + value)


class ConversationTracer(otel.Tracer):
    """Starts LiveKit's spans inside the conversation they belong to."""

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: otel.SpanKind = otel.SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[otel.Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> otel.Span:
        """Start a span; see :meth:`opentelemetry.trace.Tracer.start_span`."""
        around = otel.get_current_span(context)
        parent = _parent(around, explicit=context is not None)
        listener = None if parent is None else listeners.get(parent.conversation)
        if parent is None or listener is None:
            return otel.NonRecordingSpan(otel.INVALID_SPAN_CONTEXT)
        started_at = None if start_time is None else start_time / 1e9
        node = _node(around)
        op = OPS.get(name, f"livekit.{name}")
        if name in REQUESTS and node is None:
            op = OPS[REQUESTS[name]]
        parent, started_at = listener.place(name, parent, started_at)
        span = parent.start_span(op, name, started_at=started_at)
        span.origin = "auto.ai.livekit"
        livekit_span = LiveKitSpan(name, span, listener, node)
        if attributes:
            livekit_span.set_attributes(attributes)
        listener.started(livekit_span)
        return livekit_span

    @contextmanager
    def start_as_current_span(  # type: ignore[override]  # the base's return type is private
        self,
        name: str,
        context: Context | None = None,
        kind: otel.SpanKind = otel.SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[otel.Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[otel.Span]:
        """Start a span and make it current: for OpenTelemetry, for us and for Sentry."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        if not isinstance(span, LiveKitSpan):
            with otel.use_span(span):
                yield span
            return
        with _entered(span.span), otel.use_span(span, record_exception=False):
            try:
                yield span
            except BaseException as error:
                span.span.fail(error)
                raise
            finally:
                if end_on_exit:
                    span.end()


class ConversationTracerProvider(otel.TracerProvider):
    """Hands out the tracer."""

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> otel.Tracer:
        """The one tracer."""
        return ConversationTracer()


@contextmanager
def _entered(span: Span) -> Iterator[None]:
    link = context.push(span.conversation, span, span.ambient())
    try:
        yield
    finally:
        context.pop(link)


def _parent(around: otel.Span, *, explicit: bool) -> Span | None:
    if not isinstance(around, LiveKitSpan):
        here = context.current()
        return None if here is None else here[1]
    if explicit:
        return around.span
    here = context.current()
    deeper = here is not None and here[1].descends_from(around.span)
    return here[1] if here is not None and deeper else around.span


def _node(around: otel.Span) -> LiveKitSpan | None:
    """The node that a request serves: the nearest enclosing one."""
    if not isinstance(around, LiveKitSpan):
        return None
    return around if around.name in REQUESTS.values() else around.node


def current_livekit_span() -> Span | None:
    """What OpenTelemetry's own context says, for :data:`telemetry.context.framework_span`."""
    around: Any = otel.get_current_span()
    return around.span if isinstance(around, LiveKitSpan) else None
