"""A span of LiveKit's: recorded as one of ours, and where it was recorded before.

Tokens, models and sizes that a request to a provider learns belong to the span of the node that
made it, each in one place, so that a sum over all spans is right.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from weakref import WeakValueDictionary

from opentelemetry import trace as otel
from opentelemetry.trace import Status, StatusCode

from ... import attributes as names
from ..harmless import harmless
from .vocabulary import ADAPTERS, LEFT_OUT, RENAMED, REPEATS, REQUESTS, SESSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import SpanContext
    from opentelemetry.util.types import Attributes, AttributeValue

    from ...trace.span import Owner, Span


known: WeakValueDictionary[int, LiveKitSpan] = WeakValueDictionary()
"""Spans by the id that OpenTelemetry knows them by, once it was asked for: LiveKit's loop monitor
goes by that only."""

listeners: dict[Owner, Listener] = {}
"""Those of the traced conversations."""

requests: WeakValueDictionary[str, LiveKitSpan] = WeakValueDictionary()
"""Nodes and the requests that they make, by the id of their span."""

_NAMED_BY = {
    "agent_turn": names.GEN_AI_AGENT_NAME,
    "function_tool": names.GEN_AI_TOOL_NAME,
}
"""Spans that are named after whoever acts in them, by the attribute that says so."""
_AI = "gen_ai."
_ASKED = "gen_ai.request."
_BY_CLIENT = (_ASKED, "gen_ai.response.id", "gen_ai.response.model", "gen_ai.provider.name")


class Place(NamedTuple):
    """Where a span belongs."""

    parent: Span
    started_at: float
    op: str | None = None
    """Its op, where that isn't what its name says."""


class Listener(Protocol):
    """Told of LiveKit's spans as they begin, learn something and end: :mod:`.spans`.

    None instead of an answer means that the listener has failed, which is its own affair.
    """

    heeded: frozenset[str]
    """The attributes that it wants to be told of."""

    def place(
        self, name: str, parent: Span, started_at: float, facts: Mapping[str, Any], *, told: bool
    ) -> Place | None:
        """Find where a span with these attributes belongs; ``told`` if LiveKit says since when."""

    def started(self, span: LiveKitSpan) -> None:
        """A span began."""

    def learned(self, span: LiveKitSpan, name: str, value: AttributeValue) -> None:
        """An attribute was set, or counted, that is heeded."""

    def spent(self, span: LiveKitSpan, usage: Mapping[str, float]) -> None:
        """Tokens were used, of all kinds, by their attributes' names."""

    def asked(self, span: Span) -> None:
        """A model was asked, in this span, by somebody else."""

    def noted(self, span: LiveKitSpan, event: str) -> None:
        """An event was added."""

    def ended(self, span: LiveKitSpan, ended_at: float, now: float) -> bool | None:
        """A span is over since ``ended_at``; True when the listener will finish it itself."""


class LiveKitSpan(otel.Span):
    """A span of LiveKit's, recorded as one of ours, and by whoever records them besides."""

    def __init__(
        self,
        name: str,
        span: Span,
        listener: Listener,
        node: LiveKitSpan | None,
        beside: otel.Span,
    ) -> None:
        self.name = name
        self.span = span
        self.node = node
        self.serves = node if name in REQUESTS or name in ADAPTERS else None
        """The node's span that this provider request, or adapter of several, is made for."""
        self.beside = beside
        self._ended = False
        self._listener = listener
        self._called: str | None = None
        """The model it is named after."""
        self._is_counted = False
        """True once LiveKit has said how many tokens it took."""
        self.asks = False
        """True of a node that LiveKit makes a request for."""
        self._used_by_client: dict[str, float] = {}
        self._unpriced: dict[str, float] = {}
        self._context: SpanContext | None = None

    def get_span_context(self) -> SpanContext:
        """OpenTelemetry's identity of the span: of the one beside it, if there is any."""
        if self._context is None:  # hardly ever asked for
            self._context = self.beside.get_span_context()
            if not self._context.is_valid:
                self._context = otel.SpanContext(
                    trace_id=int(self.span.conversation.trace_id, 16),
                    span_id=int(self.span.id, 16),
                    is_remote=False,
                    trace_flags=otel.TraceFlags(otel.TraceFlags.SAMPLED),
                )
            known[self._context.span_id] = self
        return self._context

    def is_recording(self) -> bool:
        """True while attributes have an effect."""
        return self.span.is_open

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Record an attribute, under the common name if it has one."""
        self.beside.set_attribute(key, value)
        self.learn(key, value)

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Record several attributes."""
        self.beside.set_attributes(attributes)
        for key, value in attributes.items():
            self.learn(key, value)
        if self._unpriced:
            self._price()

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Heard, not recorded: LiveKit's events repeat what its attributes and spans say."""
        self.beside.add_event(name, attributes, timestamp)
        self._listener.noted(self, name)

    def go_on_as(self, span: Span) -> None:
        """From now on it is this span of ours, which has begun where LiveKit has taken it."""
        span.origin, span.name = self.span.origin, self.span.name
        self.span = span

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Not recorded: LiveKit's links join spans of one conversation."""
        self.beside.add_link(context, attributes)

    def update_name(self, name: str) -> None:
        """Rename it."""
        self.beside.update_name(name)
        self.span.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Mark it failed, if that is what the status says."""
        self.beside.set_status(status, description)
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
        self.beside.record_exception(exception, attributes, timestamp, escaped)
        self.span.fail(exception)

    def end(self, end_time: int | None = None) -> None:
        """End it, now or at ``end_time`` (nanoseconds); LiveKit does so more than once."""
        if self._ended:
            return
        self._ended = True
        self.beside.end(end_time)
        now = time.time()
        self._finish(now if end_time is None else end_time / 1e9, now)

    @harmless
    def _finish(self, ended_at: float, now: float) -> None:
        over = None if self.span.parent is None else self.span.parent.ended_at
        if over is not None and over < ended_at:
            self.span.set({names.OUTLIVES_PARENT: True})
        self._settle()
        if not self._listener.ended(self, ended_at, now):
            self.span.finish(ended_at)

    # -- what the provider's own client says of it, to Sentry (see :mod:`.clients`)

    def used_by_client(self, name: str, amount: float) -> None:
        """So many tokens were used, by the client's own count: LiveKit's, if it has one, stands."""
        if self._ended and not self._is_counted:
            self._count(name, amount)
            self._price()
        else:
            self._used_by_client[name] = self._used_by_client.get(name, 0) + amount

    def told_by_client(self, attributes: Mapping[str, Any]) -> None:
        """Take what was asked and answered, where LiveKit doesn't say it."""
        node = (self.serves or self).span
        for name, value in attributes.items():
            if name.startswith(_BY_CLIENT) and name not in node.attributes:
                node.set({name: value})
        model = attributes.get(names.GEN_AI_REQUEST_MODEL)
        if model is not None and (self.serves or self)._called is None:
            self._call(str(model))

    def _settle(self) -> None:
        if not self._is_counted:
            for name, amount in self._used_by_client.items():
                self._count(name, amount)
            self._price()

    @harmless
    def learn(self, key: str, value: AttributeValue) -> None:
        """Record an attribute here only."""
        if key in LEFT_OUT:
            return
        if key == "lk.tts_metrics":
            self._tts_metrics(str(value))
            return
        name = RENAMED.get(key, key)
        if name.startswith("gen_ai.usage.") and isinstance(value, (int, float)):
            if self.name not in REPEATS:
                self._is_counted = self._is_counted or value > 0
                self._count(name, value)
            return
        if name == names.GEN_AI_RESPONSE_FINISH_REASONS and not isinstance(value, str):
            value = json.dumps(list(value) if isinstance(value, (list, tuple)) else [value])
        self._keep(name, value)
        if key == names.GEN_AI_REQUEST_MODEL:
            self._call(str(value), first=True)
        elif key == names.GEN_AI_RESPONSE_MODEL:
            self._call(str(value))
        elif name == _NAMED_BY.get(self.name):
            self.span.name = _verb(self.span) + str(value)
        elif self.span.op == names.OP_HANDOFF:
            self._name_handoff()
        elif key == "lk.function_tool.is_error" and value:
            self.span.status = "internal_error"
        if name in self._listener.heeded:
            self._listener.learned(self, name, value)

    def _keep(self, name: str, value: AttributeValue) -> None:
        """Keep an attribute, where it belongs.

        What a request says of itself is said of its node, which is the call of the model: its
        messages there alone. An operation makes a call of any span that has one, to Sentry; so it
        is kept where there is one.
        """
        node = self.serves
        is_operation = name == names.GEN_AI_OPERATION_NAME
        if is_operation:
            is_kept = self.span.op.startswith(_AI)
        else:
            is_kept = node is None or not (name.startswith(_AI) and names.is_content(name))
        if is_kept:
            self.span.attributes[name] = value
        if node is None or not name.startswith(_AI):
            return
        if is_operation and not node.span.op.startswith(_AI):
            return
        # of what was asked the first, of what was answered the last
        if not name.startswith(_ASKED) or name not in node.span.attributes:
            node.span.attributes[name] = value

    def _call(self, model: str, *, first: bool = False) -> None:
        """Name it, and the node it serves, after a model: that asked first, or that answered."""
        node = self.serves
        if first:
            self.span.name = f"{_verb(self.span)}{model}"
            self._called = model
        target = node or self
        if first and (target is self or target._called is not None):
            return
        if not first and target._called is not None and model.startswith(target._called):
            return  # a dated version of it
        target._called = model  # another has stood in
        target.span.name = f"{_verb(target.span)}{model}"

    def _name_handoff(self) -> None:
        about = self.span.attributes
        before, after = about.get(names.PREVIOUS_AGENT), about.get(names.GEN_AI_AGENT_NAME)
        if before is not None and after is not None:
            self.span.name = f"{_verb(self.span)}from {before} to {after}"

    def _count(self, name: str, amount: float) -> None:
        """Add up on the node what its requests use: it makes one a sentence, or tries again.

        It stands in one place only, so that a sum over all spans is right.
        """
        target = self.serves or self
        target.span.attributes[name] = target.span.attributes.get(name, 0) + amount
        if name.startswith(_AI):
            self._unpriced[name] = self._unpriced.get(name, 0) + amount
        self._listener.learned(self, name, amount)

    @harmless
    def _price(self) -> None:
        """Have tokens priced that were counted: all of a request at once."""
        if self._unpriced:
            usage, self._unpriced = self._unpriced, {}
            self._listener.spent(self, usage)

    def _tts_metrics(self, metrics: str) -> None:
        """Characters and seconds of audio; an adapter repeats those of the requests it makes."""
        if self.name not in REQUESTS:
            return
        values = json.loads(metrics)
        self._count(names.TTS_CHARACTERS, values.get("characters_count", 0))
        self._count(names.TTS_AUDIO_SECONDS, values.get("audio_duration", 0.0))


def _verb(span: Span) -> str:
    """What is done in an AI span, as its name begins: ``chat``; nothing in others."""
    return f"{span.op.removeprefix(_AI)} " if span.op.startswith(_AI) else ""


def agent_of(span: Span | None) -> str | None:
    """The name of the agent that acts in a span, if one does."""
    while span is not None:
        name = span.attributes.get(names.GEN_AI_AGENT_NAME)
        if name is not None and not span.op.endswith(SESSION):
            return str(name)
        span = span.parent
    return None


def speech_of(span: Span | None) -> Span | None:
    """The agent's speech that a span is part of: its ``gen_ai.invoke_agent``."""
    while span is not None and span.op != names.OP_INVOKE_AGENT:
        span = span.parent
    return span
