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
  runs in the same context. So such a generator has a chain of its own, which counts only while its
  frame is executing, in whatever task pulls it, and doesn't touch Sentry's scope.

A task may outlive its conversation. Then nothing is current there, but what it starts is known to
be late rather than lost: :func:`nearest`.
"""

from __future__ import annotations

import inspect
import sys
from _thread import RLock  # the real one, also where a profiler has replaced threading's
from contextvars import ContextVar
from typing import TYPE_CHECKING

import sentry_sdk

from .ambient import shown_on

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from .ambient import Marker
    from .conversation import Conversation
    from .span import Span

_top: ContextVar[Link | None] = ContextVar("telemetry_current", default=None)

_outlived: ContextVar[Span | None] = ContextVar("telemetry_outlived", default=None)
"""What was current in this context when its conversation was ended by another, if nothing is."""

_generators: dict[FrameType, Link] = {}
"""Async generators that are inside a block of ours, with their innermost one."""

GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR

framework_span: list[Callable[[], Span | None]] = []
"""Asked last for the current span: integrations whose framework has a context of its own."""


class Link:
    """One thing that is current in a context, and what was current before it."""

    __slots__ = (
        "conversation",
        "home",
        "isolation",
        "late",
        "outer",
        "outer_isolation",
        "outer_scope",
        "over",
        "scope",
        "span",
        "token",
    )

    def __init__(
        self, conversation: Conversation, span: Span, outer: Link | None, home: FrameType | None
    ) -> None:
        self.conversation = conversation
        self.span = span
        self.outer = outer
        self.home = home
        """The async generator whose chain it is in, or None for the context's."""
        self.token: Link = self
        """Itself, or the link that it replaces."""
        self.over = False
        """Ended for every task, see :func:`end`; asked of the token, which replacements share."""
        self.late = conversation.ended
        """Entered after the end on purpose, so that the end is no reason to pass over it."""
        self.isolation: sentry_sdk.Scope | None = None
        self.scope: sentry_sdk.Scope | None = None
        self.outer_isolation: sentry_sdk.Scope | None = None
        self.outer_scope: sentry_sdk.Scope | None = None


def push(
    conversation: Conversation,
    span: Span,
    ambient: Marker,
    *,
    frame: FrameType | None = None,
) -> Link:
    """Make a span current in this context; ``frame`` is the async generator it is entered in."""
    executing = _executing()
    link = Link(conversation, span, _get(executing), executing if frame is None else frame)
    if frame is None:
        outer_scope = sentry_sdk.get_current_scope()
        outer_isolation = sentry_sdk.get_isolation_scope()
        link.outer_scope, link.outer_isolation = outer_scope, outer_isolation
        if outer_isolation is conversation.isolation:
            scope = outer_scope.fork()
        else:
            scope = conversation.scope.fork()
            sentry_sdk.Scope.set_isolation_scope(conversation.isolation)
        ambient.show_on(scope)
        sentry_sdk.Scope.set_current_scope(scope)
        link.scope, link.isolation = scope, conversation.isolation
    _set(link.home, link)
    return link


def pop(link: Link) -> None:
    """Leave what :func:`push` entered, in whatever order that happens."""
    top = _get(link.home)
    if top is not None and top.token is link.token:
        _restore(top)
    elif top is not None:
        _take_out(link, top)
    outlived = _outlived.get()
    if outlived is not None and outlived.conversation.root is link.span and not link.late:
        _outlived.set(None)


def end(link: Link) -> None:
    """Leave what has no block, and so may end in another task than the one that started it.

    It is over in every task at once, for Sentry too.
    """
    pop(link)
    link.token.over = True
    if link.scope is not None and link.outer_scope is not None:
        link.scope.streamed_span = link.outer_scope.streamed_span


def _restore(link: Link) -> None:
    """Make current what was so before ``link``, passing over what has ended meanwhile."""
    scope, isolation = link.outer_scope, link.outer_isolation
    outer = link.outer
    while outer is not None and outer.home is link.home and _has_outlived(outer):
        if outer.scope is not None:
            scope, isolation = outer.outer_scope, outer.outer_isolation
        outer = outer.outer
    _set(link.home, outer)
    if scope is not None and isolation is not None:
        sentry_sdk.Scope.set_current_scope(scope)
        sentry_sdk.Scope.set_isolation_scope(isolation)


def _take_out(link: Link, top: Link) -> None:
    """Leave a link that others were entered above.

    Tasks share the links they inherited, and to them this one is still what they were started in.
    So no link changes: those above it are replaced, in this context alone.
    """
    above: list[Link] = []
    here: Link | None = top
    while here is not None and here.token is not link.token:
        above.append(here)
        here = here.outer
    if here is None:
        return  # left by a task that hadn't entered it
    outer, lowest = here.outer, True
    for old in reversed(above):
        new = Link(old.conversation, old.span, outer, old.home)
        new.token, new.late = old.token, old.late
        new.scope, new.isolation = old.scope, old.isolation
        before = here if lowest else old
        new.outer_scope, new.outer_isolation = before.outer_scope, before.outer_isolation
        outer, lowest = new, False
    _set(link.home, outer)


def current() -> tuple[Conversation, Span] | None:
    """The current conversation and span, or None.

    Looked for in this order: Sentry's span, when it is one of the current conversation's and open
    and a descendant of ours, or when Sentry's scope was carried somewhere that our chain was not;
    the chain; then a framework's own context, unless ours is below what that names.
    """
    link = _live()
    ambient = shown_on(sentry_sdk.get_current_scope())
    span: Span | None
    if link is None:
        if ambient is None:
            return None
        span = ambient.record
        if span.conversation.ended:
            return None
    else:
        span = link.span
        if ambient is not None:
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


def nearest() -> tuple[Conversation, Span] | None:
    """Where a span that starts here belongs: to what is current, or to what was when it ended.

    A task that outlives its conversation is still that conversation's: what it starts is late.
    """
    here = current()
    if here is not None:
        return here
    scope = sentry_sdk.get_current_scope()
    ambient = shown_on(scope)
    if ambient is not None:
        return ambient.record.conversation, ambient.record
    span = _outlived.get() if scope.span is None and scope.streamed_span is None else None
    return None if span is None else (span.conversation, span)


def _live() -> Link | None:
    link = _get(_executing())
    while link is not None and _has_outlived(link):
        _restore(link)
        outer = _get(_executing())
        if outer is None and link.home is None:
            _outlived.set(link.span)
        link = outer
    return link


def _has_outlived(link: Link) -> bool:
    return link.token.over or (link.conversation.ended and not link.late)


def _get(home: FrameType | None) -> Link | None:
    return _top.get() if home is None else _generators.get(home)


def _set(home: FrameType | None, link: Link | None) -> None:
    if home is None:
        _top.set(link)
    elif link is not None and link.home is home:
        _generators[home] = link
    else:
        _generators.pop(home, None)


def outermost() -> tuple[sentry_sdk.Scope, sentry_sdk.Scope]:
    """The isolation and current scope outside any conversation: what a new one is forked from.

    A conversation opened inside another, or in a task that outlived one, must inherit nothing of
    it, neither user nor tags.
    """
    link = _get(_executing())
    if link is not None:
        return link.conversation.base
    scope = sentry_sdk.get_current_scope()
    if (ambient := shown_on(scope)) is not None:
        return ambient.record.conversation.base
    return sentry_sdk.get_isolation_scope(), scope


def snapshot(isolation: sentry_sdk.Scope) -> sentry_sdk.Scope:
    """An isolation scope as it is now, without ever waiting.

    Forking copies the scope's feature flags under a lock of the SDK's, which whoever logs may be
    holding. It is exchanged for one that is re-entrant and that nothing can have wrapped: no
    thread that holds it ever logs.
    """
    flags = isolation.flags
    lock: object = flags.lock
    if not isinstance(lock, RLock):
        flags.lock = RLock()  # type: ignore[assignment]  # used in `with` only
    try:
        return isolation.fork()
    except RuntimeError:  # another thread, under the former lock, changed the flags meanwhile
        return isolation


def generator_frame(frame: FrameType | None) -> FrameType | None:
    """The async generator that ``frame`` enters a block in, or None.

    What ``contextlib`` makes of a generator, or enters on somebody's behalf, is its caller's block.
    """
    while frame is not None:
        if frame.f_globals.get("__name__") != "contextlib":
            if not frame.f_code.co_flags & GENERATOR:
                return None
            driver = frame.f_back
            if driver is None or driver.f_globals.get("__name__") != "contextlib":
                return frame if frame.f_code.co_flags & inspect.CO_ASYNC_GENERATOR else None
        frame = frame.f_back
    return None


def _executing() -> FrameType | None:
    """The innermost async generator that is executing here and inside a block of ours."""
    if not _generators:
        return None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame not in _generators:
        frame = frame.f_back
    return frame
