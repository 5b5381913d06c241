"""Sentry's streamed spans as markers for ours: the stream lifecycle's :mod:`.sentry_span`.

``sentry_sdk.traces.start_span`` has no parent object to ask for a child; it asks the current scope,
which is a :class:`.conversation_scope.ConversationScope`.

A streamed span is current from its start to its end, not from ``__enter__`` to ``__exit__``. The
stock one writes itself into the scope that is current, which sibling tasks share; ours runs under
a scope of its own from the start.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk import traces
from sentry_sdk.traces import SegmentNameSource, SpanStatus, StreamedSpan

from ..context import chain
from ..context.generators import generator_frame
from ..context.node import Marker
from ..headers import is_trusted
from .conversation_scope import OP, ORIGIN
from .span import RootMarker

if TYPE_CHECKING:
    from typing import Self

    from sentry_sdk.tracing_utils import Baggage

    from ..context.node import Link
    from .span import Span


class StreamedMarker(Marker, StreamedSpan):
    """Sentry's view of one of our spans. It delivers nothing: the span itself is delivered."""

    __slots__ = ("link", "segment", "span")

    span: Span

    def __init__(self, span: Span, segment: StreamedSpan) -> None:
        # The base's constructor sets what is true of spans that Sentry delivers (thread, process);
        # set_attribute passes it over until the span is there.
        super().__init__(
            name=span.name,
            attributes={OP: span.op, ORIGIN: span.origin},
            active=False,  # a conversation makes current what is current
            scope=span.conversation.scope,
            segment=segment,
            trace_id=segment.trace_id,
            parent_span_id=span.parent_id,
        )
        self.segment = segment
        self.span = span
        self.link: Link | None = None

    def marker(self, span: Span) -> StreamedMarker:
        """A marker for another span of the transaction."""
        return StreamedMarker(span, self.segment)

    def show_on(self, scope: sentry_sdk.Scope) -> None:
        """Make it Sentry's current span on this scope."""
        scope.streamed_span = self

    # -- it says what the span says ------------------------------------------------------

    @property
    def span_id(self) -> str:
        """The span's id."""
        return self.span.id

    @property
    def name(self) -> str:
        """The span's name."""
        return self.span.name

    @name.setter
    def name(self, name: str) -> None:
        self.span.name = name

    @property
    def sampled(self) -> bool:
        """True if Sentry gets the conversation; the local store does in any case."""
        return bool(self.segment.sampled)

    @property
    def start_timestamp(self) -> datetime:
        """The span's start."""
        return datetime.fromtimestamp(self.span.started_at, UTC)

    @property
    def end_timestamp(self) -> datetime | None:
        """The span's end, None while it is open."""
        ended_at = self.span.ended_at
        return None if ended_at is None else datetime.fromtimestamp(ended_at, UTC)

    @property
    def status(self) -> str:
        """``ok`` or ``error``: streamed spans know no more."""
        return str(SpanStatus.OK if self.span.status == "ok" else SpanStatus.ERROR)

    @status.setter
    def status(self, status: SpanStatus | str) -> None:
        if status == SpanStatus.OK:
            self.span.status = "ok"
        elif self.span.status == "ok":
            self.span.status = "internal_error"

    def get_attributes(self) -> dict[str, Any]:
        """The span's attributes, its op and its origin."""
        return {**self.span.attributes, OP: self.span.op, ORIGIN: self.span.origin}

    def set_attribute(self, key: str, value: Any) -> None:
        """Set an attribute of the span, its op or its origin."""
        super().set_attribute(key, value)  # errors take op and origin from there
        span = getattr(self, "span", None)
        if span is None:
            return
        match key:
            case "sentry.op":
                span.op = value
            case "sentry.origin":
                span.origin = value
            case _ if not key.startswith("sentry."):
                span.set({key: value})

    def remove_attribute(self, key: str) -> None:
        """Remove an attribute of the span."""
        self.span.attributes.pop(key, None)

    # -- its life ----------------------------------------------------------------------------------

    def activate(self) -> Self:
        """Make it current, under a scope of its own, until it ends."""
        frame = sys._getframe(1)
        while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
            frame = frame.f_back
        self.link = chain.push(self.span, self, frame=generator_frame(frame))
        return self

    def __enter__(self) -> Self:
        frame = generator_frame(sys._getframe(1))
        if frame is not None and self.link is not None and self.link.home is not frame:
            chain.pop(self.link)  # current where it was started; entered, it is the generator's
            self.link = chain.push(self.span, self, frame=frame)
        return self

    def __exit__(self, ty: object, value: BaseException | None, tb: object) -> None:
        if value is not None:
            self.span.fail(value)
        self.span.finish_sentrys()
        if self.link is not None:
            chain.pop(self.link, value)
            self.link = None

    def end(self, end_timestamp: float | datetime | None = None) -> None:
        """Finish the span that this stands for; it is current nowhere any longer."""
        if isinstance(end_timestamp, datetime):
            end_timestamp = end_timestamp.timestamp()
        self.span.finish_sentrys(end_timestamp)
        if self.link is not None:
            chain.end(self.link)
            self.link = None


class SegmentMarker(StreamedMarker, RootMarker):
    """Sentry's view of a transaction: its segment span. Ending it closes the conversation."""

    __slots__ = ("_baggage_at_start",)

    _baggage_at_start: Baggage

    @classmethod
    def begin(cls, root: Span, headers: dict[str, str]) -> Self:
        """Begin the segment of a root span, on its scope; called under its scopes."""
        scope = root.conversation.scope
        traces.continue_trace(headers)
        for continued in (scope, root.conversation.isolation):
            incoming = continued.get_active_propagation_context()
            if incoming.baggage is not None and not is_trusted(incoming.baggage.sentry_items):
                incoming.baggage = None  # a stranger's: ours is made anew
        root.parent_id = scope.get_active_propagation_context().parent_span_id
        # Sentry decides on sampling and what goes along in headers. This span of its own is not
        # delivered: nothing ends it.
        segment = traces.start_span(
            root.name,
            {OP: root.op, "sentry.segment.name.source": SegmentNameSource.CUSTOM.value},
            parent_span=None,
            active=False,
        )
        self = cls(root, segment)
        self.show_on(scope)
        baggage = scope.get_baggage()
        assert baggage is not None  # there is a span
        self._baggage_at_start = baggage
        return self

    def show_on(self, scope: sentry_sdk.Scope) -> None:
        """Make it Sentry's current span on this scope, whose errors have its name."""
        scope.set_transaction_name(self.name, SegmentNameSource.CUSTOM.value)
        super().show_on(scope)

    @property
    def is_sampled(self) -> bool:
        """True if Sentry gets the transaction; the local store does in any case."""
        return self.sampled

    def get_baggage(self) -> Baggage:
        """The dynamic sampling context, which goes along with the transaction's requests."""
        return self._baggage_at_start


def _is_inside(module: str) -> bool:
    """True for modules of the SDK and of ours."""
    return module.startswith(("sentry_sdk.", f"{__name__.rsplit('.', 2)[0]}."))
