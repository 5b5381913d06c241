"""Sentry's own span objects, as markers for ours.

Telemetry keeps one object per span (:class:`telemetry.trace.span.Span`). While a span block is
entered, Sentry's scope holds one of these, so that everything that asks Sentry (its integrations,
plain ``sentry_sdk.start_span``, trace headers, error events) sees the span that is really current.
Two overridden methods make it work under any concurrency:

* ``start_child`` gives a child that is recorded in the same conversation. So spans of Sentry's
  integrations are never lost to a limit, to an ended transaction or to a missing parent;
* ``__enter__`` runs the block under a scope of its own. The stock one writes the new span into
  the scope that is current, which sibling tasks share.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sentry_sdk import tracing

from ..context import chain
from ..context.generators import generator_frame
from ..context.node import Marker
from ..headers import is_trusted
from ..written import author
from .span import RootMarker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    import sentry_sdk

    from .span import Span


class _SentrySpan(Marker):
    """Makes a Sentry span a marker: whatever is asked of it, the span it stands for does."""

    __slots__ = ()

    span: Span

    def start_child(self, instrumenter: str = "sentry", **kwargs: Any) -> tracing.Span:
        """A child span, recorded in the conversation whatever happens to this one."""
        started_at = kwargs.get("start_timestamp")
        if started_at is not None and not isinstance(started_at, (int, float)):
            started_at = started_at.timestamp()
        span = self.span.start_span(
            kwargs.get("op") or "",
            kwargs.get("name") or kwargs.get("description"),
            started_at=started_at,
        )
        span.origin = kwargs.get("origin") or "manual"
        _by_its_author(span)
        return SpanMarker(span)

    def show_on(self, scope: sentry_sdk.Scope) -> None:
        """Make it Sentry's current span on this scope."""
        assert isinstance(self, tracing.Span)
        scope.span = self

    def update_active_thread(self) -> None:
        """Skipped: it costs more than the rest of a span, and conversations know their task."""

    def set_data(self, key: str, value: Any) -> None:
        """Set an attribute of the span."""
        self.span.set({key: value})

    def set_tag(self, key: str, value: Any) -> None:
        """Set an attribute of the span: Sentry stores span tags as data."""
        self.span.set({key: value})

    def update_data(self, data: Mapping[str, Any]) -> None:
        """Set several attributes of the span."""
        self.span.set(data)

    def set_status(self, value: str) -> None:
        """Set the span's status."""
        self.span.status = value


def _by_its_author(span: Span) -> None:
    """Note the code that asked Sentry for a span."""
    found = author(sys._getframe(2))
    if found is not None:
        span.code = found.code


class SpanMarker(_SentrySpan, tracing.Span):
    """Sentry's view of one of our spans."""

    __slots__ = ("link", "span")

    def __init__(self, span: Span) -> None:
        # before the base's __init__, which already writes to the span
        self.span = span
        self.link = None
        conversation = span.conversation
        transaction = conversation.transaction
        assert isinstance(transaction, TransactionMarker)
        super().__init__(
            trace_id=conversation.trace_id,
            span_id=span.id,
            parent_span_id=span.parent_id,
            sampled=transaction.sampled,
            op=span.op,
            name=span.name,
            containing_transaction=transaction,
            start_timestamp=span.started_at,
            origin=span.origin,
        )

    def __enter__(self) -> SpanMarker:
        frame = generator_frame(sys._getframe(1))
        self.link = chain.push(self.span, self, frame=frame)
        return self

    def __exit__(self, ty: object, value: BaseException | None, tb: object) -> None:
        if value is not None:
            self.span.fail(value)
        self.finish()
        if self.link is not None:
            chain.pop(self.link, value)

    def finish(
        self,
        scope: sentry_sdk.Scope | None = None,
        end_timestamp: float | datetime | None = None,
    ) -> str | None:
        """Finish the span that this stands for, under the op and name it has by now."""
        span = self.span
        if span.is_open:  # finished once, it may have another by now
            span.op = self.op or span.op
            span.name = self.description or span.name
        if end_timestamp is not None and not isinstance(end_timestamp, (int, float)):
            end_timestamp = end_timestamp.timestamp()
        span.finish_sentrys(end_timestamp)
        if span.ended_at is not None:  # Sentry then adds which line it was asked from
            self.timestamp = datetime.fromtimestamp(span.ended_at, UTC)
        return None


class TransactionMarker(_SentrySpan, tracing.Transaction, RootMarker):
    """Sentry's view of a transaction: ``scope.transaction`` in each of its tasks."""

    __slots__ = ("link", "span")

    def __init__(self, span: Span, **kwargs: Any) -> None:
        self.span = span
        self.link = None
        super().__init__(**kwargs)

    @classmethod
    def begin(cls, root: Span, headers: dict[str, str]) -> Self:
        """Begin the transaction of a root span, on its scope; called under its scopes."""
        conversation = root.conversation
        caller = conversation.isolation.continue_trace(headers, op=root.op, name=root.name)
        root.parent_id = caller.parent_span_id
        baggage = None if caller.parent_span_id is None else caller.get_baggage()
        if baggage is not None and not is_trusted(baggage.sentry_items):
            baggage = None  # a stranger's: ours is made anew
        self = cls(
            root,
            name=root.name,
            op=root.op,
            trace_id=caller.trace_id,
            span_id=root.id,
            parent_span_id=caller.parent_span_id,
            parent_sampled=caller.parent_sampled,
            baggage=baggage,
            start_timestamp=root.started_at,
        )
        conversation.scope.start_transaction(self)
        self.show_on(conversation.scope)
        return self

    @property
    def is_sampled(self) -> bool:
        """True if Sentry gets the transaction; the local store does in any case."""
        return bool(self.sampled)

    def marker(self, span: Span) -> SpanMarker:
        """A marker for another span of the transaction."""
        return SpanMarker(span)

    def finish(self, *args: Any, **kwargs: Any) -> str | None:
        """Close the conversation: finishing its transaction means just that."""
        self.span.conversation.close()
        return None
