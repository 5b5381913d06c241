"""A span below somebody else's, such as a web service's.

It is Sentry's own span behind the methods of ours, so that code which times itself with
:func:`telemetry.span` works the same in a conversation and in a service. So does an async
generator: a block in it is the parent of what :func:`telemetry.span` starts while the generator's
frame executes, and shows nothing to the generator's consumer
(see :mod:`telemetry.context.generators`).
"""

from __future__ import annotations

import datetime
import sys
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk import traces
from sentry_sdk.traces import SpanStatus, StreamedSpan

from ..attributes import ERROR_TYPE, STARTED_AT
from ..context.generators import Generators, generator_frame
from ..written import Written, starter
from .span import status_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from types import FrameType, TracebackType
    from typing import Self

    from sentry_sdk.tracing import Span as TransactionSpan


_generators: Generators[ForeignSpan] = Generators()


class ForeignSpan:
    """A child of a Sentry span that is no conversation's, in either lifecycle.

    Args:
        around: Sentry's current span. The parent, unless an async generator is executing that is
            inside a block of its own.
        op: what kind of thing it is.
        name: what it was, for people to read; the op by default.
        parent: the parent, whatever is current.
        started_at: Unix seconds, now by default.
        attributes: names to values.
    """

    def __init__(
        self,
        around: TransactionSpan | StreamedSpan,
        op: str,
        name: str | None = None,
        *,
        parent: ForeignSpan | None = None,
        started_at: float | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        where = starter()
        self.op: str = Written(op, *where)
        self.name: str = Written(name or op, *where)
        self._span: TransactionSpan | StreamedSpan
        self._block: AbstractContextManager[sentry_sdk.Scope] | None = None
        self._generator: FrameType | None = None
        """The async generator that a block is entered in, or below."""
        self._outer: ForeignSpan | None = None
        if parent is None and (generator := _generators.executing()) is not None:
            parent = _generators.block(generator)
        if parent is not None:
            around = parent._span
        if isinstance(around, StreamedSpan):
            given: dict[str, Any] = {"sentry.op": self.op}
            if started_at is not None:
                given[STARTED_AT] = started_at  # there is no public way to backdate its start
            self._span = traces.start_span(self.name, given, parent_span=around, active=False)
        else:
            at = None if started_at is None else _time(started_at)
            self._span = around.start_child(op=self.op, name=self.name, start_timestamp=at)
        self.set(attributes or {})

    @property
    def id(self) -> str:
        """Sentry's span id, 16 hex digits."""
        return self._span.span_id

    def set(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes."""
        if isinstance(self._span, StreamedSpan):
            self._span.set_attributes(dict(attributes))
        else:
            self._span.update_data(dict(attributes))

    def fail(self, error: BaseException) -> None:
        """Mark it failed."""
        if isinstance(self._span, StreamedSpan):
            self._span.status = SpanStatus.ERROR
        else:
            self._span.set_status(status_of(error))
        self.set({ERROR_TYPE: type(error).__qualname__})

    def finish(self, ended_at: float | None = None) -> None:
        """End it, now or at ``ended_at`` (Unix seconds)."""
        at = None if ended_at is None else _time(ended_at)
        if isinstance(self._span, StreamedSpan):
            self._span.end(at)
        else:
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
        return ForeignSpan(
            self._span, op, name, parent=self, started_at=started_at, attributes=attributes
        )

    def trace_headers(self) -> dict[str, str]:
        """``sentry-trace`` and ``baggage`` that make whoever receives them this span's child."""
        scope = sentry_sdk.get_current_scope()
        return dict(scope.iter_trace_propagation_headers(span=self._span))

    def __enter__(self) -> Self:
        own = generator_frame(sys._getframe(1))
        self._generator = own or _generators.executing()
        if self._generator is not None:
            self._outer = _generators.block(self._generator)
            _generators.put(self._generator, self)
        if own is not None:
            return self  # its consumer has Sentry's scope, too
        self._block = sentry_sdk.new_scope()
        scope = self._block.__enter__()
        if isinstance(self._span, StreamedSpan):
            scope.streamed_span = self._span
        else:
            scope.span = self._span
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.fail(error)
        self.finish()
        if self._generator is not None:
            self._leave(self._generator)
            self._generator = None
        if self._block is not None:
            self._block.__exit__(None, None, None)
            self._block = None

    def _leave(self, generator: FrameType) -> None:
        """Leave a generator's block, in whatever order that happens."""
        inner = _generators.block(generator)
        if inner is self:
            _generators.put(generator, self._outer)
            return
        while inner is not None and inner._outer is not self:
            inner = inner._outer
        if inner is not None:
            inner._outer = self._outer


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
