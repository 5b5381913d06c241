"""The current span of this task, thread or callback, and with it the current conversation.

One :class:`~contextvars.ContextVar` holds a chain of links. A link is pushed when a span block or
a conversation is entered and popped when it is left; a task inherits the chain of its creator.
Links know which Sentry scopes they activated, so that Sentry's own ambient view
(``sentry_sdk.get_current_span()``, ``set_tag``, ``capture_exception``) is always the same as ours:
every block runs under a scope of its own, forked from the one around it, never under a scope that
a sibling task also holds.

Two things make the chain more than a stack:

* conversations close in any order and from any task, so an ended one is skipped, and the context
  that still pointed to it is healed the next time it asks;
* an async generator has a chain of its own (:mod:`.generators`), which doesn't touch Sentry's
  scope: its consumer has that, too.

A task may outlive its conversation. Then nothing is current there, but what it starts is known to
be late rather than lost: :func:`nearest`.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import sentry_sdk

from . import origin
from .generators import Generators
from .node import Link
from .place import is_aside, is_collecting, place
from .scopes import DeliveringScope, others_span, shown_on, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from .node import Marker, Node, Owner

_top: ContextVar[Link | None] = ContextVar("telemetry_current", default=None)

_outlived: ContextVar[Node | None] = ContextVar("telemetry_outlived", default=None)
"""The span that was current in this context when its conversation was ended by another, if nothing
is."""

_generators: Generators[Link] = Generators()

framework_span: list[Callable[[], Node | None]] = []
"""Asked last for the current span: integrations whose framework has a context of its own."""


# -- entering and leaving ------------------------------------------------------------------------


def push(span: Node, marker: Marker, *, frame: FrameType | None = None) -> Link:
    """Make a span current in this context; ``frame`` is the async generator it is entered in."""
    executing = _generators.executing()
    owner, outer = span.conversation, _get(executing)
    link = Link(span, outer, executing if frame is None else frame)
    if outer is None or outer.span.conversation is not owner:
        link.where = place()
        link.theirs = _frameworks_span()
    if frame is None:
        outer_scope = sentry_sdk.get_current_scope()
        outer_isolation = sentry_sdk.get_isolation_scope()
        link.outer_scope, link.outer_isolation = outer_scope, outer_isolation
        link.isolation = owner.isolation
        if outer_isolation is owner.isolation:
            scope = outer_scope.fork()
        elif _is_within(outer, owner, outer_scope):
            scope = outer_scope.fork()  # of somebody's isolation_scope() inside the conversation
            link.isolation = outer_isolation
        else:
            scope = owner.scope.fork()
            sentry_sdk.Scope.set_isolation_scope(owner.isolation)
        marker.show_on(scope)
        sentry_sdk.Scope.set_current_scope(scope)
        link.scope = scope
    _set(link.home, link)
    return link


def _is_within(outer: Link | None, owner: Owner, scope: sentry_sdk.Scope) -> bool:
    """True if a scope was made inside a conversation, in a context that is in it."""
    if outer is None or outer.span.conversation is not owner:
        return False
    shown = shown_on(scope)
    return shown is not None and shown.span.conversation is owner


def pop(link: Link, error: BaseException | None = None) -> None:
    """Leave a span that :func:`push` entered, in whatever order that happens.

    ``error`` is the exception that leaves the block, if one does.
    """
    if error is not None:
        origin.left_by(error, link)
    top = _get(link.home)
    if top is not None and top.token is link.token:
        _restore(top)
    elif top is not None:
        _take_out(link, top)
    outlived = _outlived.get()
    if outlived is not None and outlived.conversation.root is link.span and not link.late:
        _outlived.set(None)


def end(link: Link) -> None:
    """Leave a span that has no block, and so may end in another task than the one it started in.

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
    while outer is not None and outer.home is link.home and outer.has_outlived:
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
        new = Link(old.span, outer, old.home)
        new.token, new.late = old.token, old.late
        new.where, new.theirs = old.where, old.theirs
        new.scope, new.isolation = old.scope, old.isolation
        before = here if lowest else old
        new.outer_scope, new.outer_isolation = before.outer_scope, before.outer_isolation
        outer, lowest = new, False
    _set(link.home, outer)


# -- asking --------------------------------------------------------------------------------------


def current() -> Node | None:
    """The current span, or None; its conversation is ``span.conversation``.

    Looked for in this order: Sentry's span, when it is one of the current conversation's and open
    and a descendant of ours, or when Sentry's scope was carried somewhere that our chain was not;
    the chain; then a framework's own context, unless ours is below what that names. Where it names
    a span of another conversation than ours, that goes first, unless ours was entered inside it:
    whoever asks a framework for something may be in a conversation of their own, or in none.
    """
    link = _live()
    marker = shown_on(sentry_sdk.get_current_scope())
    span: Node | None = None
    if link is not None:
        span = link.span
        if marker is not None:
            sentrys = marker.span
            if sentrys is not span and sentrys.is_open and sentrys.descends_from(span):
                span = sentrys
    elif marker is not None and not marker.span.conversation.ended:
        span = marker.span
    theirs = _frameworks_span() if framework_span else None
    if theirs is None or theirs is span or theirs.conversation.ended:
        return span
    if span is not None and theirs.conversation is span.conversation:
        return theirs if theirs.is_open and not span.descends_from(theirs) else span
    if span is not None and _is_entered_in(link, theirs):
        return span
    # It was asked for by somebody else, in no conversation or another: the framework knows whose.
    return theirs if theirs.is_open else theirs.conversation.root


def _frameworks_span() -> Node | None:
    """The span that a framework's own context names."""
    for ask in framework_span:
        if (span := ask()) is not None:
            return span
    return None


def _is_entered_in(link: Link | None, theirs: Node) -> bool:
    """True if the conversation of a link was entered while the framework named this span."""
    owner = None if link is None else link.span.conversation
    while link is not None and link.span.conversation is owner:
        if link.theirs is theirs:
            return True
        link = link.outer
    return False


def nearest() -> Node | None:
    """The span that one started here belongs below: the current one, or the last that was.

    A task that outlives its conversation is still that conversation's: what it starts is late.
    """
    here = current()
    if here is not None:
        return here
    scope = sentry_sdk.get_current_scope()
    marker = shown_on(scope)
    if marker is not None:
        return marker.span
    return _outlived.get() if others_span(scope) is None else None


def scopes_elsewhere(
    error: BaseException | None, *, by_hook: bool = False
) -> tuple[sentry_sdk.Scope, sentry_sdk.Scope] | None:
    """Copies of the isolation and current scope that something belongs to; None: Sentry's current.

    Those are others where an error comes from another conversation, in a task that outlives its
    own, and where only a framework knows what is current. What finalisers say while garbage is
    collected is nobody's, unless they name an exception that comes from somewhere.

    Args:
        error: the exception that is reported, if there is one.
        by_hook: whether the interpreter reports it: what is current there means nothing.
    """
    if is_collecting():
        return scopes_of(error)
    here = nearest()
    if error is not None:
        entered = here is not None and _is_entered(here.conversation)
        link = origin.origin(error, None if by_hook else here, entered_here=entered)
        if link is not None:
            return _scopes_of(link.span, link.scope or link.span.conversation.scope)
    scope = sentry_sdk.get_current_scope()
    shown = shown_on(scope)
    if here is None or (shown is not None and shown.span.conversation is here.conversation):
        return None
    if others_span(scope) is not None:
        return None  # a transaction that somebody began inside the conversation
    return _scopes_of(here, here.conversation.scope)


def scopes_here(
    error: BaseException | None,
) -> tuple[sentry_sdk.Scope, sentry_sdk.Scope]:
    """Copies of the isolation and current scope of what is said here: those of
    :func:`scopes_elsewhere`, else Sentry's current ones."""
    return scopes_elsewhere(error) or forked(*sentrys())


def _scopes_of(span: Node, scope: sentry_sdk.Scope) -> tuple[sentry_sdk.Scope, sentry_sdk.Scope]:
    scope = scope.fork()
    span.conversation.root.marker().show_on(scope)  # by the name that it has by now
    span.marker().show_on(scope)
    return snapshot(span.conversation.isolation), scope


def scopes_of(error: BaseException | None) -> tuple[sentry_sdk.Scope, sentry_sdk.Scope]:
    """Copies of the scopes that an exception comes from, else of those outside any conversation.

    For what is reported where the things that are current have nothing to do with it.
    """
    link = origin.origin(error, None, entered_here=False)
    if link is None:
        return forked(*outermost())
    return _scopes_of(link.span, link.scope or link.span.conversation.scope)


def sentrys() -> tuple[sentry_sdk.Scope, sentry_sdk.Scope]:
    """Sentry's isolation and current scope, as they are here."""
    return sentry_sdk.get_isolation_scope(), sentry_sdk.get_current_scope()


def forked(
    isolation: sentry_sdk.Scope, scope: sentry_sdk.Scope
) -> tuple[sentry_sdk.Scope, sentry_sdk.Scope]:
    """Copies of an isolation and a current scope."""
    return snapshot(isolation), scope.fork()


def _is_entered(conversation: Owner) -> bool:
    """True if this very task or thread entered the conversation, and is in it.

    Else it is current because whatever created the task or thread was inside it.
    """
    here = place()
    link = _top.get()
    while link is not None:
        if link.where == here and link.span.conversation is conversation:
            return True
        link = link.outer
    return False


def outermost() -> tuple[sentry_sdk.Scope, sentry_sdk.Scope]:
    """The isolation and current scope outside any conversation: what a new one is forked from.

    A conversation opened inside another, or in a task that outlived one, must inherit nothing of
    it, neither user nor tags.
    """
    if is_aside():
        return DeliveringScope(), DeliveringScope()
    link = _get(_generators.executing())
    if link is not None:
        return link.span.conversation.base
    scope = sentry_sdk.get_current_scope()
    if (marker := shown_on(scope)) is not None:
        return marker.span.conversation.base
    return sentry_sdk.get_isolation_scope(), scope


def _live() -> Link | None:
    link = _get(_generators.executing())
    while link is not None and link.has_outlived:
        is_ours = _is_entered(link.span.conversation)
        _restore(link)
        outer = _get(_generators.executing())
        if outer is None and link.home is None:
            _outlived.set(link.span)
            if not is_ours:
                _go_on_alone(link.span.conversation)
        link = outer
    return link


def _go_on_alone(conversation: Owner) -> None:
    """Go on under copies of the scopes that are current: those are the whole process's.

    What a task that is left over of a conversation tells Sentry to keep isn't said by others.
    """
    isolation, scope = forked(*sentrys())
    isolation.set_client(conversation.isolation.client)
    sentry_sdk.Scope.set_isolation_scope(isolation)
    sentry_sdk.Scope.set_current_scope(scope)


def _get(home: FrameType | None) -> Link | None:
    return _top.get() if home is None else _generators.block(home)


def _set(home: FrameType | None, link: Link | None) -> None:
    if home is None:
        _top.set(link)
    else:
        _generators.put(home, link if link is not None and link.home is home else None)
