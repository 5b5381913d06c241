"""Sentry's scope inside a conversation: what plain Sentry starts or captures there is its own.

``fork`` keeps the class of a scope, and with it every scope that anybody derives inside the
conversation is one of these.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, cast

import sentry_sdk
from sentry_sdk.traces import NoOpStreamedSpan, StreamedSpan
from sentry_sdk.utils import exc_info_from_error

from ..context.scopes import LATER, shown_on
from ..written import Written, author, here
from .span import current_span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sentry_sdk import tracing

    from .span import Span

OP: Final = "sentry.op"
ORIGIN: Final = "sentry.origin"


class TaggedScope(sentry_sdk.Scope):
    """A scope of a conversation's: its tags know who wrote them."""

    __slots__ = ()

    def set_tag(self, key: str, value: Any) -> None:
        """Set a tag, and note where its value comes from."""
        super().set_tag(key, _noted(value))

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set several."""
        super().set_tags({key: _noted(value) for key, value in tags.items()})


class ConversationScope(TaggedScope):
    """A scope inside a conversation."""

    __slots__ = ()

    def capture_exception(
        self, error: Any = None, scope: sentry_sdk.Scope | None = None, **scope_kwargs: Any
    ) -> str | None:
        """Capture an exception, whose frames are looked at by delivery.

        Here somebody may hold the lock that a local variable's ``__repr__`` takes.
        """
        exc_info = sys.exc_info() if error is None else exc_info_from_error(error)
        if exc_info[1] is None:
            return super().capture_exception(error, scope, **scope_kwargs)
        hint: dict[str, Any] = {"exc_info": exc_info, LATER: True}
        return self.capture_event({"level": "error"}, hint, scope, **scope_kwargs)

    def start_span(self, instrumenter: str = "sentry", **kwargs: Any) -> tracing.Span:
        """Start a span for ``sentry_sdk.start_span``: in an async generator, below its block."""
        parent = self._parent()
        if parent is None:
            return super().start_span(instrumenter, **kwargs)
        marker = cast("tracing.Span", parent.marker())
        return marker.start_child(instrumenter, **kwargs)

    def start_streamed_span(
        self,
        name: str,
        attributes: Mapping[str, Any] | None,
        parent_span: StreamedSpan | None,
        active: bool,
    ) -> StreamedSpan:
        """Start a span for ``sentry_sdk.traces.start_span``, in the conversation of its parent.

        ``parent_span`` is a span, None for a segment of its own, or Sentry's mark for "the current
        one". What isn't below one of our spans is left to Sentry.
        """
        marker: Any = parent_span
        if marker is not None and (
            not isinstance(marker, StreamedSpan) or isinstance(marker, NoOpStreamedSpan)
        ):
            current = self._parent()
            marker = self.streamed_span if current is None else current.marker()
        parent: Span | None = getattr(marker, "span", None)
        if parent is None:
            return super().start_streamed_span(
                name, None if attributes is None else dict(attributes), parent_span, active
            )
        own = dict(attributes or {})
        span = parent.start_span(
            own.pop(OP, ""),
            name,
            attributes={key: own[key] for key in own if not key.startswith("sentry.")},
        )
        span.origin = own.get(ORIGIN, "manual")
        found = author(sys._getframe(1))
        if found is not None:
            span.code = found.code
        started: Any = span.marker()
        return cast("StreamedSpan", started.activate() if active else started)

    def _parent(self) -> Span | None:
        """The current span, where this scope shows another of its conversation; else None."""
        marker = shown_on(self)
        here = None if marker is None else current_span()
        if marker is None or here is None or here is marker.span:
            return None
        return here if here.conversation is marker.span.conversation else None


def _noted(value: Any) -> Any:
    return Written(value, *here()) if type(value) is str else value
