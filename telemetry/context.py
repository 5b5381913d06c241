"""What is current: the conversation and span of this task, thread or callback.

One :class:`~contextvars.ContextVar` holds a chain of :class:`Link` objects. A link is pushed when
a span block or a conversation is entered and popped when it is left; a task inherits the chain of
its creator. Links know which Sentry scopes they activated, so that Sentry's own ambient view
(``sentry_sdk.get_current_span()``, ``set_tag``, ``capture_exception``) is always the same as ours:
every block runs under a scope of its own, forked from the one around it, never under a scope that
a sibling task also holds.

Two things make the chain more than a stack:

* conversations close in any order and from any task, so an ended one is skipped, and the context
  that still pointed to it is healed the next time it asks;
* a block inside an async generator stays entered while the generator is suspended and its consumer
  runs in the same context. Such a link counts only while the generator's frame is executing, and
  doesn't touch Sentry's scope.
"""

from __future__ import annotations

import inspect
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING

import sentry_sdk

from .ambient import AmbientSpan, ConversationTransaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from .conversation import Conversation
    from .span import Span

_top: ContextVar[Link | None] = ContextVar("telemetry_current", default=None)

framework_span: list[Callable[[], Span | None]] = []
"""Asked last for the current span: integrations whose framework has a context of its own."""


class Link:
    """One thing that is current in a context, and what was current before it."""

    __slots__ = (
        "closed",
        "conversation",
        "frame",
        "isolation",
        "outer",
        "outer_isolation",
        "outer_scope",
        "scope",
        "span",
    )

    def __init__(
        self, conversation: Conversation, span: Span, outer: Link | None, frame: FrameType | None
    ) -> None:
        self.conversation = conversation
        self.span = span
        self.outer = outer
        self.frame = frame
        self.closed = False
        self.isolation: sentry_sdk.Scope | None = None
        self.scope: sentry_sdk.Scope | None = None
        self.outer_isolation: sentry_sdk.Scope | None = None
        self.outer_scope: sentry_sdk.Scope | None = None


def push(
    conversation: Conversation,
    span: Span,
    ambient: AmbientSpan | ConversationTransaction,
    *,
    frame: FrameType | None = None,
) -> Link:
    """Make a span current in this context; ``frame`` is the async generator it is entered in."""
    link = Link(conversation, span, _top.get(), frame)
    if frame is None:
        outer_scope = sentry_sdk.get_current_scope()
        outer_isolation = sentry_sdk.get_isolation_scope()
        link.outer_scope, link.outer_isolation = outer_scope, outer_isolation
        if outer_isolation is conversation.isolation:
            scope = outer_scope.fork()
        else:
            scope = conversation.scope.fork()
            sentry_sdk.Scope.set_isolation_scope(conversation.isolation)
        scope.span = ambient
        sentry_sdk.Scope.set_current_scope(scope)
        link.scope, link.isolation = scope, conversation.isolation
    _top.set(link)
    return link


def pop(link: Link) -> None:
    """Leave what :func:`push` entered, in whatever order that happens."""
    link.closed = True
    if _top.get() is link:
        _restore(link)


def _restore(link: Link) -> None:
    """Make current what was so before ``link``, passing over what has ended meanwhile."""
    scope, isolation = link.outer_scope, link.outer_isolation
    outer = link.outer
    while outer is not None and (outer.closed or outer.conversation.ended):
        if outer.scope is not None:
            scope, isolation = outer.outer_scope, outer.outer_isolation
        outer = outer.outer
    _top.set(outer)
    if scope is not None and isolation is not None:
        sentry_sdk.Scope.set_current_scope(scope)
        sentry_sdk.Scope.set_isolation_scope(isolation)


def current() -> tuple[Conversation, Span] | None:
    """The current conversation and span, or None.

    Looked for in this order: Sentry's span, when it is one of the current conversation's and open
    and a descendant of ours, or when Sentry's scope was carried somewhere that our chain was not;
    the chain; then a framework's own context, unless ours is below what that names.
    """
    link = _live()
    ambient = sentry_sdk.get_current_scope().span
    span: Span | None
    if link is None:
        if not isinstance(ambient, (AmbientSpan, ConversationTransaction)):
            return None
        span = ambient.record
        if span.conversation.ended:
            return None
    else:
        span = link.span
        if isinstance(ambient, (AmbientSpan, ConversationTransaction)):
            record = ambient.record
            if record is not span and record.is_open and record.descends_from(span):
                span = record
    for ask in framework_span:
        deeper = ask()
        if (
            deeper is not None
            and deeper is not span
            and deeper.conversation is span.conversation
            and deeper.is_open
            and not span.descends_from(deeper)
        ):
            span = deeper
    return span.conversation, span


def _live() -> Link | None:
    link = _top.get()
    if link is None or (link.frame is None and not link.conversation.ended):
        return link
    if link.conversation.ended and link.frame is None:
        _restore(link)
        link = _top.get()
    while link is not None and not (
        link.frame is None or (not link.closed and _executing(link.frame))
    ):
        link = link.outer
    while link is not None and link.conversation.ended:
        link = link.outer
    return link


def outermost() -> tuple[sentry_sdk.Scope, sentry_sdk.Scope]:
    """The isolation and current scope outside any conversation: what a new one is forked from.

    A conversation opened inside another, or in a task that outlived one, must inherit nothing of
    it, neither user nor tags.
    """
    link = _top.get()
    if link is not None:
        return link.conversation.base
    scope = sentry_sdk.get_current_scope()
    if isinstance(scope.span, (AmbientSpan, ConversationTransaction)):
        return scope.span.record.conversation.base
    return sentry_sdk.get_isolation_scope(), scope


def generator_frame(frame: FrameType | None) -> FrameType | None:
    """The async generator that ``frame`` enters a block in, or None.

    An ``@asynccontextmanager`` is an async generator too, but its block is meant to hold for the
    caller's ``async with``, so it doesn't count.
    """
    while frame is not None and frame.f_globals.get("__name__") == "contextlib":
        frame = frame.f_back  # an ExitStack entered it on somebody's behalf
    if frame is None or not frame.f_code.co_flags & inspect.CO_ASYNC_GENERATOR:
        return None
    driver = frame.f_back
    if driver is not None and driver.f_globals.get("__name__") == "contextlib":
        return None
    return frame


def _executing(frame: FrameType) -> bool:
    running: FrameType | None = sys._getframe(1)
    while running is not None:
        if running is frame:
            return True
        running = running.f_back
    return False
