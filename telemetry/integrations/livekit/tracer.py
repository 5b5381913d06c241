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

ORIGIN = "auto.ai.livekit"
"""Sentry's name for who recorded a span."""

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
ADAPTERS = frozenset({"llm_fallback_adapter", "tts_fallback_adapter", "tts_stream_adapter"})
"""Stand between a node and its requests: they know which of several models answered."""

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

    def place(
        self, name: str, parent: Span, started_at: float | None, facts: Mapping[str, Any]
    ) -> tuple[Span, float | None]:
        """Where a span with these attributes belongs: its parent and start, changed or not."""

    def started(self, span: LiveKitSpan) -> None:
        """A span began."""

    def learned(self, span: LiveKitSpan, name: str, value: AttributeValue) -> None:
        """An attribute was set."""

    def noted(self, span: LiveKitSpan, event: str) -> None:
        """An event was added."""

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
        self._ended = False
        self._listener = listener
        self._context = otel.SpanContext(
            trace_id=int(span.conversation.trace_id, 16),
            span_id=int(span.id, 16),
            is_remote=False,
            trace_flags=otel.TraceFlags(otel.TraceFlags.SAMPLED),
        )

    @property
    def serves(self) -> LiveKitSpan | None:
        """The node's span that this provider request, or adapter of several, is made for."""
        return self.node if self.name in REQUESTS or self.name in ADAPTERS else None

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
        name = RENAMED.get(key, key)
        if name.startswith("gen_ai.usage.") and isinstance(value, (int, float)):
            self._count(name, value)
            return
        self._record(name, value)
        if self.serves is not None and name.startswith("gen_ai."):
            self.serves._learn(name, value)
        if key == "lk.function_tool.name":
            self.span.name = str(value)
        elif key == names.GEN_AI_REQUEST_MODEL:
            (self.serves or self).span.name = str(value)
        elif key == "lk.function_tool.is_error" and value:
            self.span.status = "internal_error"
        self._listener.learned(self, name, value)

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Record several attributes."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Heard, not recorded: LiveKit's events repeat what its attributes and spans say."""
        self._listener.noted(self, name)

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
        """End it, now or at ``end_time`` (nanoseconds); LiveKit does so more than once."""
        if self._ended:
            return
        self._ended = True
        ended_at = None if end_time is None else end_time / 1e9
        if not self._listener.ended(self, ended_at):
            self.span.finish(ended_at)

    def _learn(self, key: str, value: AttributeValue) -> None:
        """Take what a request found out: the first that was asked, the last that answered."""
        if not key.startswith("gen_ai.request.") or key not in self.span.attributes:
            self._record(key, value)

    def _record(self, key: str, value: AttributeValue) -> None:
        self.span.attributes[key] = value

    def _count(self, name: str, amount: float) -> None:
        """Add up on the node what its requests use: it makes one a sentence, or tries again.

        It stands in one place only, so that a sum over all spans is right.
        """
        target = self.serves or self
        target._record(name, target.span.attributes.get(name, 0) + amount)
        self._listener.learned(self, name, amount)

    def _tts_metrics(self, metrics: str) -> None:
        """Characters and seconds of audio; an adapter repeats those of the requests it makes."""
        if self.name not in REQUESTS:
            return
        values = json.loads(metrics)
        self._count(names.TTS_CHARACTERS, values.get("characters_count", 0))
        self._count(names.TTS_AUDIO_SECONDS, values.get("audio_duration", 0.0))


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
        parent = _parent(name, around, explicit=context is not None)
        listener = None if parent is None else listeners.get(parent.conversation)
        if parent is None or listener is None:
            return otel.NonRecordingSpan(otel.INVALID_SPAN_CONTEXT)
        started_at = None if start_time is None else start_time / 1e9
        node = _node(around)
        op = OPS.get(name, f"livekit.{name}")
        if name in REQUESTS and node is None:
            op = OPS[REQUESTS[name]]
        parent, started_at = listener.place(name, parent, started_at, attributes or {})
        span = parent.start_span(op, name, started_at=started_at)
        span.origin = ORIGIN
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
                span.end()  # whoever would end it otherwise may not come to it
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


def _parent(name: str, around: otel.Span, *, explicit: bool) -> Span | None:
    here = context.current()
    ours = None if here is None else here[1]
    if name == "agent_session":
        return ours  # OpenTelemetry's may be a session that was started earlier in this task
    if not isinstance(around, LiveKitSpan):
        return _named(around) or ours
    return ours if not explicit and ours is not None and _inside(ours, around.span) else around.span


def _inside(ours: Span, theirs: Span) -> bool:
    """Whether our span was opened in theirs by the application.

    One of LiveKit's in between means that LiveKit went back to theirs since: it hands over and
    closes at the level of the session, wherever it is asked to.
    """
    span: Span | None = ours
    while span is not None and span is not theirs and span.origin != ORIGIN:
        span = span.parent
    return span is theirs


def _named(around: otel.Span) -> Span | None:
    """The span that OpenTelemetry knows by its identity only: LiveKit's loop monitor does so."""
    identity = around.get_span_context()
    if identity.is_valid:
        trace_id = f"{identity.trace_id:032x}"
        for conversation in list(listeners):
            if conversation.trace_id == trace_id:
                return conversation.root
    return None


def _node(around: otel.Span) -> LiveKitSpan | None:
    """The node that a request serves: the nearest enclosing one."""
    if not isinstance(around, LiveKitSpan):
        return None
    return around if around.name in REQUESTS.values() else around.node


def current_livekit_span() -> Span | None:
    """What OpenTelemetry's own context says, for :data:`telemetry.context.framework_span`."""
    around: Any = otel.get_current_span()
    return around.span if isinstance(around, LiveKitSpan) else None
