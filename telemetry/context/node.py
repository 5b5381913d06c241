"""Spans, their owners and markers as a chain sees them, and the links that it is made of.

A chain knows no conversation: whatever has these few members can be current.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types import FrameType

    import sentry_sdk


class Owner(Protocol):
    """The conversation, or other transaction, that a span belongs to."""

    @property
    def ended(self) -> bool:
        """True once it is over."""

    @property
    def trace_id(self) -> str:
        """Sentry's trace id, 32 hex digits."""

    @property
    def root(self) -> Node:
        """Its root span."""

    @property
    def isolation(self) -> sentry_sdk.Scope:
        """Its isolation scope."""

    @property
    def scope(self) -> sentry_sdk.Scope:
        """The current scope that its blocks are forked from."""

    @property
    def base(self) -> tuple[sentry_sdk.Scope, sentry_sdk.Scope]:
        """The isolation and current scope outside of it."""


class Node(Protocol):
    """A span, as far as it can be current."""

    @property
    def conversation(self) -> Owner:
        """Its owner."""

    def marker(self) -> Marker:
        """The object that stands for it in Sentry's scope."""

    @property
    def is_open(self) -> bool:
        """True until it is finished."""

    def descends_from(self, other: Node) -> bool:
        """True if ``other`` is among its ancestors."""


class Marker:
    """An object in Sentry's scope that stands for one of our spans, in either lifecycle.

    Everything that asks Sentry for its current span finds it.
    """

    __slots__ = ()

    span: Node
    link: Link | None
    """Set while a block that Sentry's API entered is current."""

    def show_on(self, scope: sentry_sdk.Scope) -> None:
        """Make it Sentry's current span on this scope."""
        raise NotImplementedError


class Link:
    """One span that is current in a context, and the link that was current before it."""

    __slots__ = (
        "home",
        "isolation",
        "late",
        "outer",
        "outer_isolation",
        "outer_scope",
        "over",
        "scope",
        "span",
        "theirs",
        "token",
        "where",
    )

    def __init__(self, span: Node, outer: Link | None, home: FrameType | None) -> None:
        self.span = span
        self.outer = outer
        self.home = home
        """The async generator whose chain it is in, or None for the context's."""
        self.token: Link = self
        """Itself, or the link that it replaces."""
        self.over = False
        """Ended for every task, see :func:`.chain.end`; asked of the token, which replacements
        share."""
        self.late = span.conversation.ended
        """Entered after the end on purpose, so that the end is no reason to pass over it."""
        self.where: object | None = None
        """The task or thread that entered its conversation with it, see :func:`.place.place`."""
        self.theirs: Node | None = None
        """The span that a framework's own context named when the conversation was entered."""
        self.isolation: sentry_sdk.Scope | None = None
        self.scope: sentry_sdk.Scope | None = None
        self.outer_isolation: sentry_sdk.Scope | None = None
        self.outer_scope: sentry_sdk.Scope | None = None

    @property
    def has_outlived(self) -> bool:
        """True if it points to a span, or into a conversation, that is over."""
        return self.token.over or (self.span.conversation.ended and not self.late)
