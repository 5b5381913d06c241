"""Sentry's client of this process: every error comes through it, whoever reports it.

An integration, a hook of the interpreter, plain ``sentry_sdk``: each takes the scopes that are
current where it reports. Where the error comes from another conversation than that, it is reported
under that one's; and once in each trace, however often it is reported there.
"""

from __future__ import annotations

import contextvars
import logging
import uuid
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.utils import event_from_exception

from ..context import chain, origin
from ..context.place import is_acting, is_collecting, unwatch, watch
from ..context.scopes import LATER, OURS, as_values
from ..context.wording import reword, texts_of
from ..frozen import frozen
from ..written import Written, here
from .content import mark
from .frames import ask_for_no_locals

if TYPE_CHECKING:
    from collections.abc import Callable

    from .thread import Delivery

_HOOKS: Final = frozenset({"excepthook", "threading", "unraisablehook"})
"""Mechanisms that report what nobody caught: where they do so says nothing about whose it is."""
_TEXTS: Final = "telemetry.texts"
"""In the hint of an event: the texts of its exception when it was captured."""
_AUTHOR: Final = "telemetry.author"
"""In the hint of an event: whoever captured it."""


class Client(sentry_sdk.Client):
    """Sentry's client, which asks an error where it comes from.

    Args:
        delivery: builds the events that can't be built in the call.
        options: those of ``sentry_sdk.init``.
    """

    def __init__(self, delivery: Delivery, **options: Any) -> None:
        self._delivery = delivery
        ask_for_no_locals()
        before = options.pop("before_breadcrumb", None)
        super().__init__(before_breadcrumb=_as_value(before), **options)
        watch(lambda: delivery.is_own_thread)

    def close(self, timeout: float | None = None, callback: Any = None) -> None:
        """Close it; errors after that are nobody's affair."""
        unwatch()
        super().close(timeout, callback)

    def get_integration(self, name_or_class: Any) -> Any:
        """An integration of the client's, or None.

        None for threads that the SDK starts in delivery's, such as the one for its logs: that
        would have the scopes of the conversation whose log came first, and keep them.
        """
        if name_or_class is ThreadingIntegration and self._delivery.is_own_thread:
            return None
        return super().get_integration(name_or_class)

    def capture_event(self, event: Any, hint: Any = None, scope: Any = None) -> str | None:
        """Capture an event; returns its id, None if it is dropped."""
        hint = {} if hint is None else hint
        self._mark_message(event)
        # What surfaces in delivery's thread, because it collects garbage, isn't delivery's own.
        delivering = self._delivery.is_own_thread and not (is_acting() or is_collecting())
        if delivering and not hint.pop(OURS, False):
            return None  # of a hook, which is being asked: delivered, it would be asked again
        if event.get("type") is not None:
            return super().capture_event(event, hint, scope)
        if not delivering and getattr(hint.get("log_record"), "levelno", 0) >= logging.ERROR:
            return None  # of Sentry's handlers for logging or loguru: LogCapture has taken it
        error = _error_in(hint)
        if delivering:
            texts = hint.pop(_TEXTS, None)  # of conversation.capture_exception, they are noted
            if LATER in hint and error is not None:
                trail = origin.trail(error)
                hint.setdefault(_AUTHOR, trail.author)
                self._look_at_exception(event, hint)
                reword(event, error, trail.texts if texts is None else texts)
            return self._capture_once(event, hint, scope)
        scopes = chain.scopes_elsewhere(error, by_hook=_is_by_hook(event))
        if scopes is not None:
            scope = _merged(scope, *scopes)
        origin.reported_under(error, sentry_sdk.get_current_scope() if scope is None else scope)
        event_id: str | None
        if LATER in hint and scope is not None:
            event_id = self._hand_over(event, hint, scope, scopes)
        else:
            self._look_at_exception(event, hint)
            event_id = self._capture_once(event, hint, scope, scopes)
        if error is not None and event_id is not None and scopes is None:
            _note_call(error, scope)
        return event_id

    def _hand_over(
        self,
        event: Any,
        hint: Any,
        merged: sentry_sdk.Scope,
        scopes: tuple[sentry_sdk.Scope, sentry_sdk.Scope] | None,
    ) -> str:
        """Have an event built by the delivery thread; returns the id that it will have."""
        as_values(merged)
        event_id: str = event.setdefault("event_id", uuid.uuid4().hex)
        isolation, scope = scopes or chain.forked(*chain.sentrys())
        hint = {**hint, _TEXTS: texts_of(hint["exc_info"][1]), _AUTHOR: next(iter(here()), None)}
        self._delivery.outbox.event(event, hint, merged, isolation, scope)
        return event_id

    def _mark_message(self, event: Any) -> None:
        """Note who wrote the message of an event, which is captured here and now."""
        message = event.get("message")
        if type(message) is str and not self._delivery.is_own_thread:
            event["message"] = Written(message, *here())

    def _look_at_exception(self, event: Any, hint: Any) -> None:
        """Add the exception that an event was captured for without looking at it."""
        if hint.pop(LATER, False):
            found, more = event_from_exception(hint["exc_info"], client_options=self.options)
            event.update({**found, **event})
            hint.update(more)

    def _capture_once(
        self,
        event: Any,
        hint: Any,
        scope: Any,
        scopes: tuple[sentry_sdk.Scope, sentry_sdk.Scope] | None = None,
    ) -> str | None:
        """Capture an event now, unless its exception has been reported in the same trace.

        ``scopes`` are those that it happened under, where they aren't the current ones.
        """
        error, author = _error_in(hint), hint.pop(_AUTHOR, None)
        if error is not None:
            mark(event, error, author, self._delivery.policy.errors)
        # Sentry's own memory of the last error is kept in the context, and keeps its frames alive.
        context = contextvars.copy_context()
        if scopes is not None:
            context.run(sentry_sdk.Scope.set_isolation_scope, scopes[0])
            context.run(sentry_sdk.Scope.set_current_scope, scopes[1])
        capture = super().capture_event
        if error is None:
            return context.run(capture, event, hint, scope)
        if self.get_integration(DedupeIntegration) is None:
            return context.run(capture, event, hint, scope)
        trail, trace_id = origin.trail(error), _trace_id(scope)
        if not trail.begin_report(trace_id):
            return None
        event_id = context.run(capture, event, hint, scope)
        if event_id is None:
            trail.undo_report(trace_id)
        return event_id


def _as_value(before: Any) -> Callable[[Any, Any], Any]:
    """``before_breadcrumb``: asks the operator's own; what a breadcrumb says can't change then."""

    def before_breadcrumb(crumb: Any, hint: Any) -> Any:
        kept = crumb
        try:
            if before is not None:
                kept = before(crumb, hint)
        finally:  # Sentry keeps the breadcrumb where its hook raises
            if kept is not None and "data" in kept:
                kept["data"] = frozen(kept["data"])
            if kept is not None and type(kept.get("message")) is str:
                kept["message"] = Written(kept["message"], *here())
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


def _note_call(error: BaseException, scope: Any) -> None:
    """Note that an error of the current call has been reported, in a transaction of somebody's.

    That was begun in the call and is another trace; reported in the call's too, it would be two.
    """
    here = chain.nearest()
    if here is not None and (trace_id := here.conversation.trace_id) != _trace_id(scope):
        origin.trail(error).begin_report(trace_id)


def _trace_id(scope: Any) -> str:
    scope = sentry_sdk.get_current_scope() if scope is None else scope
    span = scope.span or scope.streamed_span
    known: str = (scope.get_active_propagation_context() if span is None else span).trace_id
    return known


def _error_in(hint: Any) -> BaseException | None:
    exc_info = hint.get("exc_info")
    error = exc_info[1] if isinstance(exc_info, tuple) and len(exc_info) == 3 else None
    return error if isinstance(error, BaseException) else None


def _is_by_hook(event: Any) -> bool:
    values = (event.get("exception") or {}).get("values") or ()
    return any((value.get("mechanism") or {}).get("type") in _HOOKS for value in values)
