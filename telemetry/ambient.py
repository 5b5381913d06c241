"""Sentry's own span objects, as markers for ours.

Parley keeps one record per span (:class:`telemetry.span.Span`). While a span block is entered,
Sentry's scope holds one of these, so that everything that asks Sentry (its integrations, plain
``sentry_sdk.start_span``, trace headers, error events) sees the span that is really current. Two
overridden methods make it work under any concurrency:

* ``start_child`` gives a child that is recorded in the same conversation. So spans of Sentry's
  integrations are never lost to a limit, to an ended transaction or to a missing parent;
* ``__enter__`` runs the block under a scope of its own. The stock one writes the new span into
  the scope that is current, which sibling tasks share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentry_sdk import tracing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Self

    import sentry_sdk

    from .context import Link
    from .span import Span


class Marker:
    """What stands for one of our spans in Sentry's scope, in either lifecycle."""

    __slots__ = ()

    record: Span
    link: Link | None
    """Set while a block that Sentry's API entered is current."""

    def show_on(self, scope: sentry_sdk.Scope) -> None:
        """Make it Sentry's current span on this scope."""
        raise NotImplementedError


def shown_on(scope: sentry_sdk.Scope) -> Marker | None:
    """The one of our spans that is Sentry's current one on this scope, or None."""
    span = scope.span or scope.streamed_span
    return span if isinstance(span, Marker) else None


class _Recorded(Marker):
    """What a marker does differently from the Sentry class it is mixed into."""

    __slots__ = ()

    def start_child(self, instrumenter: str = "sentry", **kwargs: Any) -> tracing.Span:
        """A child span, recorded in the conversation whatever happens to this one."""
        started_at = kwargs.get("start_timestamp")
        if started_at is not None and not isinstance(started_at, (int, float)):
            started_at = started_at.timestamp()
        record = self.record.start_span(
            kwargs.get("op") or "",
            kwargs.get("name") or kwargs.get("description"),
            started_at=started_at,
        )
        record.origin = kwargs.get("origin") or "manual"
        return AmbientSpan(record)

    def show_on(self, scope: sentry_sdk.Scope) -> None:
        """Make it Sentry's current span on this scope."""
        assert isinstance(self, tracing.Span)
        scope.span = self

    def update_active_thread(self) -> None:
        """Skipped: it costs more than the rest of a span, and conversations know their task."""

    def set_data(self, key: str, value: Any) -> None:
        """Set an attribute of the span."""
        self.record.attributes[key] = value

    def set_tag(self, key: str, value: Any) -> None:
        """Set an attribute of the span: Sentry stores span tags as data."""
        self.record.attributes[key] = value

    def update_data(self, data: Mapping[str, Any]) -> None:
        """Set several attributes of the span."""
        self.record.attributes.update(data)

    def set_status(self, value: str) -> None:
        """Set the span's status."""
        self.record.status = value


class AmbientSpan(_Recorded, tracing.Span):
    """Sentry's view of one of our spans."""

    __slots__ = ("link", "record")

    def __init__(self, record: Span) -> None:
        # before the base's __init__, which already writes to the span
        self.record = record
        self.link = None
        conversation = record.conversation
        transaction = conversation.transaction
        assert isinstance(transaction, ConversationTransaction)
        super().__init__(
            trace_id=conversation.trace_id,
            span_id=record.id,
            parent_span_id=record.parent_id,
            sampled=transaction.sampled,
            op=record.op,
            name=record.name,
            containing_transaction=transaction,
            start_timestamp=record.started_at,
            origin=record.origin,
        )

    def __enter__(self) -> AmbientSpan:
        from .context import push

        self.link = push(self.record.conversation, self.record, self)
        return self

    def __exit__(self, ty: object, value: BaseException | None, tb: object) -> None:
        from .context import pop

        if value is not None:
            self.record.fail(value)
        self.finish()
        if self.link is not None:
            pop(self.link)

    def finish(
        self,
        scope: sentry_sdk.Scope | None = None,
        end_timestamp: float | datetime | None = None,
    ) -> str | None:
        """Finish the span that this stands for, under the op and name it has by now."""
        record = self.record
        record.op = self.op or record.op
        record.name = self.description or record.name
        if end_timestamp is not None and not isinstance(end_timestamp, (int, float)):
            end_timestamp = end_timestamp.timestamp()
        record.finish(end_timestamp)
        return None


class ConversationTransaction(_Recorded, tracing.Transaction):
    """Sentry's view of a conversation: ``scope.transaction`` in each of its tasks."""

    __slots__ = ("link", "record")

    def __init__(self, record: Span, **kwargs: Any) -> None:
        self.record = record
        self.link = None
        super().__init__(**kwargs)

    @classmethod
    def begin(cls, root: Span, headers: dict[str, str]) -> Self:
        """The transaction of a conversation, on its scope; called under its scopes."""
        conversation = root.conversation
        caller = conversation.isolation.continue_trace(headers, op=root.op, name=root.name)
        root.parent_id = caller.parent_span_id
        self = cls(
            root,
            name=root.name,
            op=root.op,
            trace_id=caller.trace_id,
            span_id=root.id,
            parent_span_id=caller.parent_span_id,
            parent_sampled=caller.parent_sampled,
            baggage=None if caller.parent_span_id is None else caller.get_baggage(),
            start_timestamp=root.started_at,
        )
        conversation.scope.start_transaction(self)
        self.show_on(conversation.scope)
        return self

    def marker(self, record: Span) -> AmbientSpan:
        """What stands for another span of the conversation."""
        return AmbientSpan(record)

    def finish(self, *args: Any, **kwargs: Any) -> str | None:
        """Close the conversation, which is what finishing its transaction means."""
        self.record.conversation.close()
        return None
