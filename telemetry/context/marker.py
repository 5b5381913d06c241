"""Sentry's own span objects as markers: what everything that asks Sentry finds current."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sentry_sdk

    from .node import Link, Node


class Marker:
    """An object in Sentry's scope that stands for one of our spans, in either lifecycle."""

    __slots__ = ()

    span: Node
    link: Link | None
    """Set while a block that Sentry's API entered is current."""

    def show_on(self, scope: sentry_sdk.Scope) -> None:
        """Make it Sentry's current span on this scope."""
        raise NotImplementedError


def shown_on(scope: sentry_sdk.Scope) -> Marker | None:
    """The one of our spans that is Sentry's current one on this scope, or None."""
    span = scope.span or scope.streamed_span
    return span if isinstance(span, Marker) else None
