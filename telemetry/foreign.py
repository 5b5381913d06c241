"""A span in somebody else's transaction, such as a web service's.

It is Sentry's own span behind the methods of ours, so that code which times itself with
:func:`telemetry.span` works the same in a conversation and in a service.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from .attributes import ERROR_TYPE
from .span import status_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from sentry_sdk.tracing import Span as SentrySpan


class ForeignSpan:
    """A child span of a Sentry transaction that is no conversation's."""

    def __init__(self, span: SentrySpan, attributes: Mapping[str, Any] | None) -> None:
        self._span = span
        if attributes:
            self.set(attributes)

    @property
    def id(self) -> str:
        """Sentry's span id, 16 hex digits."""
        return self._span.span_id

    @property
    def op(self) -> str:
        """What kind of thing it is."""
        return self._span.op or ""

    @property
    def name(self) -> str:
        """What it was."""
        return self._span.description or self.op

    def set(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes."""
        self._span.update_data(dict(attributes))

    def fail(self, error: BaseException) -> None:
        """Mark it failed."""
        self._span.set_status(status_of(error))
        self._span.set_data(ERROR_TYPE, type(error).__qualname__)

    def finish(self, ended_at: float | None = None) -> None:
        """End it, now or at ``ended_at`` (Unix seconds)."""
        at = None if ended_at is None else datetime.datetime.fromtimestamp(ended_at, datetime.UTC)
        self._span.finish(end_timestamp=at)

    def start_span(
        self,
        op: str,
        name: str | None = None,
        *,
        started_at: float | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> ForeignSpan:
        """A child of this span."""
        at = (
            None
            if started_at is None
            else datetime.datetime.fromtimestamp(started_at, datetime.UTC)
        )
        return ForeignSpan(
            self._span.start_child(op=op, name=name or op, start_timestamp=at), attributes
        )

    def __enter__(self) -> Self:
        self._span.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.fail(error)
        self._span.__exit__(None, None, None)
