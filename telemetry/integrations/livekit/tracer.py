"""An OpenTelemetry tracer, at the level of its API, that records LiveKit's spans as ours.

LiveKit gives its spans explicit OpenTelemetry parents, so a parent is the one it names; without
one it is the deeper of OpenTelemetry's and our own current span. ``start_as_current_span`` also
makes the span current for us and for Sentry, which a span processor can't do: inside an LLM node,
a tool or a TTS node ``sentry_sdk.get_current_span()`` is that stage's span.

Nothing is taken away: every span also goes where LiveKit's spans went before, to the provider that
the operator or LiveKit Cloud had set up, with the parents it would have had there. Sessions that
nobody traces go only there.
"""

from __future__ import annotations

import functools
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from opentelemetry import context as otel_context
from opentelemetry import trace as otel

from ... import attributes as names
from ...context import chain
from ...trace.span import current_span
from ...written import Written
from ..harmless import harmless
from .livekit_span import LiveKitSpan, agent_of, known, listeners, requests
from .vocabulary import OPS, ORIGIN, REQUESTS, SESSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.util.types import Attributes, AttributeValue

    from ...context.node import Link
    from ...trace.span import Span
    from ...trace.transaction import Transaction


starting: ContextVar[list[Transaction] | None] = ContextVar("livekit_starting", default=None)
"""Holds the conversation whose session is being started here, until its span has begun."""

_ASKING = ("llm_node", "llm_request")
"""Spans in which a model is asked by its provider's own client."""

_livekits = functools.lru_cache(256)(Written.known)
"""A name that LiveKit's code gives: each is made once."""

_nowhere: Final[otel.Span] = otel.INVALID_SPAN
"""Stands for what goes nowhere else: what OpenTelemetry makes of all such spans."""

_untraced: WeakSet[otel.Span] = WeakSet()
"""Spans of sessions that nobody traces: what is below them is none of ours either."""


class ConversationTracer(otel.Tracer):
    """Starts LiveKit's spans inside the conversation they belong to, and beside it as before."""

    def __init__(self, before: otel.Tracer) -> None:
        self._before = before
        self._is_stand_in = isinstance(before, otel.ProxyTracer)
        """Whether it stands for the process's own provider, which there may not be."""

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
        if isinstance(around, LiveKitSpan) and around.beside is _nowhere and self._goes_nowhere():
            beside = _nowhere
        else:
            beside = self._before.start_span(
                name,
                otel.set_span_in_context(around.beside, context)
                if isinstance(around, LiveKitSpan)
                else context,
                kind,
                attributes,
                links,
                start_time,
                record_exception,
                set_status_on_exception,
            )
        if around not in _untraced or (name == SESSION and starting.get()):
            explicit = context is not None
            recorded = _recorded(name, around, beside, attributes or {}, start_time, explicit)
            if recorded is not None:
                return recorded
            if name != SESSION:
                return beside
        return _none_of_ours(beside) or beside

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
        span = self.start_span(
            name,
            context,
            kind,
            attributes,
            links,
            start_time,
            record_exception,
            set_status_on_exception,
        )
        if not isinstance(span, LiveKitSpan):
            with otel.use_span(
                span,
                end_on_exit=end_on_exit,
                record_exception=record_exception,
                set_status_on_exception=set_status_on_exception,
            ):
                yield span
            return
        # not by otel.use_span, whose two context managers take as long as the rest
        link, token = _push(span.span), otel_context.attach(otel.set_span_in_context(span))
        left_by: BaseException | None = None
        try:
            yield span
        except BaseException as error:
            left_by = error
            span.span.fail(error)
            span.end()  # whoever would end it otherwise may not come to it
            raise
        finally:
            if end_on_exit:
                span.end()
            otel_context.detach(token)
            if link is not None:
                _pop(link, left_by)

    def _goes_nowhere(self) -> bool:
        """True while nobody but us records LiveKit's spans."""
        return self._is_stand_in and isinstance(
            otel.get_tracer_provider(), otel.ProxyTracerProvider
        )


class ConversationTracerProvider(otel.TracerProvider):
    """Hands out the tracer; ``before`` is the provider that LiveKit had."""

    def __init__(self, before: otel.TracerProvider) -> None:
        self.before = before

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> otel.Tracer:
        """A tracer in front of the one that there would be without it."""
        return ConversationTracer(
            self.before.get_tracer(
                instrumenting_module_name, instrumenting_library_version, schema_url, attributes
            )
        )


@harmless
def _none_of_ours(beside: otel.Span) -> otel.Span:
    if not beside.get_span_context().is_valid:  # OpenTelemetry has one such for all
        beside = otel.NonRecordingSpan(otel.INVALID_SPAN_CONTEXT)
    _untraced.add(beside)
    return beside


@harmless
def _recorded(
    name: str,
    around: otel.Span,
    beside: otel.Span,
    attributes: Mapping[str, AttributeValue],
    start_time: int | None,
    explicit: bool,
) -> LiveKitSpan | None:
    """The span in its conversation; None if it is in none that is traced."""
    parent = _parent(name, around, explicit=explicit)
    listener = None if parent is None else listeners.get(parent.conversation)
    if parent is None or listener is None:
        return None
    started_at = time.time() if start_time is None else start_time / 1e9
    node = _node(around)
    op = OPS.get(name) or _livekits(f"livekit.{name}")
    if name in REQUESTS and node is None:
        op = OPS[REQUESTS[name]]
    told = start_time is not None
    place = listener.place(name, parent, started_at, attributes, told=told)
    if place is not None:
        parent, started_at, op = place.parent, place.started_at, place.op or op
    span = parent.start_span(op, _livekits(name), started_at=started_at)
    span.origin = ORIGIN
    livekit_span = LiveKitSpan(name, span, listener, node, beside)
    _tell_of_calls(livekit_span)
    for key, value in attributes.items():
        livekit_span.learn(key, value)
    listener.started(livekit_span)
    return livekit_span


def _tell_of_calls(span: LiveKitSpan) -> None:
    """Say what an AI span is from its start; note what others may see as well."""
    if span.name in _ASKING:
        requests[span.span.id] = span
        if span.node is not None and span.name in REQUESTS:
            span.node.asks = True
    match span.span.op:
        case names.OP_HANDOFF:
            span.span.attributes[names.GEN_AI_OPERATION_NAME] = "handoff"
        case names.OP_CHAT | names.OP_TOOL if (agent := agent_of(span.span.parent)) is not None:
            span.span.attributes[names.GEN_AI_AGENT_NAME] = agent


@harmless
def _push(span: Span) -> Link:
    return chain.push(span, span.marker())


_pop = harmless(chain.pop)


def _parent(name: str, around: otel.Span, *, explicit: bool) -> Span | None:
    if name == SESSION:
        # OpenTelemetry's may be a session that was started earlier in this task
        traced = starting.get()
        return traced.pop().current_span() if traced else None
    if not isinstance(around, LiveKitSpan):
        named = known.get(around.get_span_context().span_id)
        return current_span() if named is None else named.span
    if explicit:
        return around.span
    ours = current_span()
    return ours if ours is not None and _inside(ours, around.span) else around.span


def _inside(ours: Span, theirs: Span) -> bool:
    """True if our span was opened in theirs by the application.

    One of LiveKit's in between means that LiveKit went back to theirs since: it hands over and
    closes at the level of the session, wherever it is asked to.
    """
    span: Span | None = ours
    while span is not None and span is not theirs and span.origin != ORIGIN:
        span = span.parent
    return span is theirs


def _node(around: otel.Span) -> LiveKitSpan | None:
    """The node that a request serves: the nearest enclosing one."""
    if not isinstance(around, LiveKitSpan):
        return None
    return around if around.name in REQUESTS.values() else around.node


def current_span_of_livekit() -> LiveKitSpan | None:
    """LiveKit's span in OpenTelemetry's own context, if it is recorded."""
    around = otel.get_current_span()
    return around if isinstance(around, LiveKitSpan) else None


def current_livekit_span() -> Span | None:
    """Ours of it, for :data:`.chain.framework_span`."""
    around = current_span_of_livekit()
    return None if around is None else around.span
