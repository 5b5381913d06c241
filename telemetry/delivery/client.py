"""Sentry's client of this process: every error comes through it, whoever reports it.

An integration, a hook of the interpreter, plain ``sentry_sdk``: each takes the scopes that are
current where it reports. Where the error comes from another conversation than that, it is reported
under that one's; and once in each trace, however often it is reported there.
"""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration

from ..context import chain, origin
from ..context.place import is_acting, is_collecting, unwatch_collector, watch_collector
from ..context.scopes import shown_on
from ..context.wording import reword
from ..frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

_HOOKS: Final = frozenset({"excepthook", "threading", "unraisablehook"})
"""Mechanisms that report what nobody caught: where they do so says nothing about whose it is."""


class Client(sentry_sdk.Client):
    """Sentry's client, which asks an error where it comes from.

    Args:
        is_delivering: tells the threads of delivery, which report under the right scopes already.
        options: those of ``sentry_sdk.init``.
    """

    def __init__(self, is_delivering: Callable[[], bool], **options: Any) -> None:
        self._is_delivering = is_delivering
        before = options.pop("before_breadcrumb", None)
        super().__init__(before_breadcrumb=_as_value(before), **options)
        watch_collector()

    def close(self, timeout: float | None = None, callback: Any = None) -> None:
        """Close it; errors after that are nobody's affair."""
        unwatch_collector()
        super().close(timeout, callback)

    def get_integration(self, name_or_class: Any) -> Any:
        """An integration of the client's, or None.

        None for threads that the SDK starts in delivery's, such as the one for its logs: that
        would have the scopes of the conversation whose log came first, and keep them.
        """
        if name_or_class is ThreadingIntegration and self._is_delivering():
            return None
        return super().get_integration(name_or_class)

    def capture_event(self, event: Any, hint: Any = None, scope: Any = None) -> str | None:
        """Capture an event; returns its id, None if it is dropped."""
        if event.get("type") is not None:
            return super().capture_event(event, hint, scope)
        error = _error_in(hint)
        # Sentry's own memory of the last error is kept in the context, and keeps its frames alive.
        context = contextvars.copy_context()
        if self._is_delivering() and error is not None and "logentry" not in event:
            reword(event, error)
        if not self._is_delivering() or is_acting() or is_collecting():
            found = chain.scopes_elsewhere(error, by_hook=_is_by_hook(event))
            if found is not None:
                scope = _merged(scope, *found)
                context.run(sentry_sdk.Scope.set_isolation_scope, found[0])
                context.run(sentry_sdk.Scope.set_current_scope, found[1])
        if error is None:
            return context.run(super().capture_event, event, hint, scope)
        scope_said = sentry_sdk.get_current_scope() if scope is None else scope
        marker, trail = shown_on(scope_said), origin.trail(error)
        if marker is not None:
            origin.reported_in(error, marker.span)
        if self.get_integration(DedupeIntegration) is None:
            return context.run(super().capture_event, event, hint, scope)
        trace_id = _trace_id(scope_said)
        if not trail.begin_report(trace_id):
            return None
        event_id = context.run(super().capture_event, event, hint, scope)
        if event_id is None:
            trail.undo_report(trace_id)
        return event_id


def _as_value(before: Any) -> Callable[[Any, Any], Any]:
    """``before_breadcrumb``: asks the operator's own; what a breadcrumb says can't change then."""

    def before_breadcrumb(crumb: Any, hint: Any) -> Any:
        kept = crumb if before is None else before(crumb, hint)
        if kept is not None and "data" in kept:
            kept["data"] = frozen(kept["data"])
        return kept

    return before_breadcrumb


def _merged(given: Any, isolation: sentry_sdk.Scope, current: sentry_sdk.Scope) -> Any:
    """The scope that an error is reported under where it is another's than what is current."""
    scope = given
    if scope is None or chain.nearest() is not None:
        scope = sentry_sdk.get_global_scope().fork()  # nothing of the conversation that is current
    else:
        scope.clear_breadcrumbs()  # those of a process are nobody's
    scope.update_from_scope(isolation)
    scope.update_from_scope(current)
    return scope


def _trace_id(scope: sentry_sdk.Scope) -> str:
    span = scope.span or scope.streamed_span
    return (scope.get_active_propagation_context() if span is None else span).trace_id


def _error_in(hint: Any) -> BaseException | None:
    exc_info = (hint or {}).get("exc_info")
    error = exc_info[1] if isinstance(exc_info, tuple) and len(exc_info) == 3 else None
    return error if isinstance(error, BaseException) else None


def _is_by_hook(event: Any) -> bool:
    values = (event.get("exception") or {}).get("values") or ()
    return any((value.get("mechanism") or {}).get("type") in _HOOKS for value in values)
