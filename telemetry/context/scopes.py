"""Sentry's scopes: whose span they show, and copies of them, taken without ever waiting.

Forking a scope copies its feature flags under a lock of the SDK's, which whoever logs may be
holding, and which a fork of the process may copy while it is held.
"""

from __future__ import annotations

from _thread import RLock  # the real one, also where a profiler has replaced threading's
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk import tracing
from sentry_sdk.traces import NoOpStreamedSpan

from ..frozen import freeze, frozen
from .node import Marker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sentry_sdk.traces import StreamedSpan

OURS: Final = "telemetry.ours"
"""In the hint of an event: delivery itself has it captured, not a hook that it asks."""
LATER: Final = "telemetry.later"
"""In the hint of an event: its exception is still to be looked at, by the delivery thread."""


class DeliveringScope(sentry_sdk.Scope):
    """The scope under which delivery builds an event: nothing that is asked then is recorded.

    An event processor of the application's may ask another service, by a client that is traced.
    Delivered, that request would have the processor asked again.
    """

    __slots__ = ()

    def start_span(self, instrumenter: str = "sentry", **kwargs: Any) -> tracing.Span:
        """A span that is recorded nowhere."""
        return tracing.NoOpSpan()

    def start_streamed_span(
        self,
        name: str,
        attributes: Mapping[str, Any] | None,
        parent_span: StreamedSpan | None,
        active: bool,
    ) -> StreamedSpan:
        """A span that is recorded nowhere."""
        return NoOpStreamedSpan()


def shown_on(scope: sentry_sdk.Scope) -> Marker | None:
    """The marker of the one of our spans that is Sentry's current one on this scope, or None."""
    if isinstance(scope, DeliveringScope):
        return None
    span = scope.span or scope.streamed_span
    return span if isinstance(span, Marker) else None


def others_span(scope: sentry_sdk.Scope) -> tracing.Span | StreamedSpan | None:
    """Sentry's current span on this scope if it is no conversation's, or None.

    Sentry sends a span of its own only in a transaction. In none, as the asyncio integration makes
    one for each task, it is as if it weren't there.
    """
    if isinstance(scope, DeliveringScope) or shown_on(scope) is not None:
        return None
    span = scope.span or scope.streamed_span
    if isinstance(span, tracing.Span) and span.containing_transaction is None:
        return None
    return span


def snapshot(isolation: sentry_sdk.Scope) -> sentry_sdk.Scope:
    """An isolation scope as it is now, without ever waiting.

    Its lock is exchanged for one that is re-entrant and that nothing can have wrapped: no thread
    that holds it ever logs.
    """
    lock: object = isolation.flags.lock
    if not isinstance(lock, RLock):
        free(isolation)
    try:
        return isolation.fork()
    except RuntimeError:  # another thread, under the former lock, changed the flags meanwhile
        return isolation


def as_values(*scopes: sentry_sdk.Scope) -> None:
    """Make values of what forked scopes say: contexts, extra and user are references to Sentry."""
    for scope in scopes:
        for name, said in _said_by(scope):
            setattr(scope, name, {key: frozen(value) for key, value in said.items()})


def values_of(*scopes: sentry_sdk.Scope) -> list[Any]:
    """All that scopes say, as values: it equals what they say later if that is the same."""
    found = [(name, said.copy()) for scope in scopes for name, said in _said_by(scope)]
    for _, said in found:
        freeze(said)
    return found


def _said_by(scope: sentry_sdk.Scope) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a scope says, by the slot that it is in.

    There is no public way to read that, so no name is relied on: each dict that a scope has in any
    of its slots is one that it was given, or holds those.
    """
    for name in sentry_sdk.Scope.__slots__:
        said = getattr(scope, name, None)
        if type(said) is dict and said:
            yield name, said


def free(*scopes: sentry_sdk.Scope) -> None:
    """Exchange the one lock that scopes have: a thread that isn't in this process may hold it."""
    for scope in scopes:
        scope.flags.lock = RLock()  # type: ignore[assignment]  # used in `with` only
