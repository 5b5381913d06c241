"""Sentry's client of this process: every error comes through it, whoever reports it.

An integration, a hook of the interpreter, plain ``sentry_sdk``: each takes the scopes that are
current where it reports. Where the error comes from another conversation than that, it is reported
under that one's; and once in each trace, however often it is reported there.
"""

from __future__ import annotations

import contextvars
import gc
import logging
import threading
import uuid
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.unraisablehook import UnraisablehookIntegration
from sentry_sdk.utils import event_from_exception

from ..context import chain, origin
from ..context.node import Marker
from ..context.scopes import LATER, OURS, as_values, snapshot

if TYPE_CHECKING:
    from .thread import Delivery

_HOOKS: Final = frozenset({"excepthook", "threading", "unraisablehook"})
"""Mechanisms that report what nobody caught: where they do so says nothing about whose it is."""
_collecting: Final[set[int]] = set()
"""Threads in which garbage is collected: what fails then is no affair of whatever runs there."""


class Client(sentry_sdk.Client):
    """Sentry's client, which asks an error where it comes from.

    Args:
        delivery: builds the events that can't be built in the call.
        options: those of ``sentry_sdk.init``.
    """

    def __init__(self, delivery: Delivery, **options: Any) -> None:
        self._delivery = delivery
        super().__init__(**options)
        if self.get_integration(UnraisablehookIntegration) is not None:
            gc.callbacks.append(_note_collection)

    def close(self, timeout: float | None = None, callback: Any = None) -> None:
        """Close it; errors after that are nobody's affair."""
        if _note_collection in gc.callbacks:
            gc.callbacks.remove(_note_collection)
        super().close(timeout, callback)

    def capture_event(self, event: Any, hint: Any = None, scope: Any = None) -> str | None:
        """Capture an event; returns its id, None if it is dropped."""
        hint = {} if hint is None else hint
        delivering = self._delivery.is_own_thread
        if delivering and not hint.pop(OURS, False):
            return None  # of a hook, which is being asked: delivered, it would be asked again
        if event.get("type") is not None:
            return super().capture_event(event, hint, scope)
        error = hint.get("exc_info", (None, None, None))[1]
        if not delivering and getattr(hint.get("log_record"), "levelno", 0) >= logging.ERROR:
            return None  # of Sentry's handlers for logging or loguru: LogCapture has taken it
        if not delivering:
            scope = _scope_of(error, scope, by_hook=_is_by_hook(event))
            if LATER in hint and scope is not None:
                return self._hand_over(event, hint, scope)
        self._look_at_exception(event, hint)
        trace_id = _trace_id(scope)
        once = error is not None and self.get_integration(DedupeIntegration) is not None
        if once and trace_id in origin.trail(error).reported:
            return None
        # Sentry's own memory of the last error is kept in the context, and keeps its frames alive.
        capture = super().capture_event
        event_id = contextvars.copy_context().run(capture, event, hint, scope)
        if once and event_id is not None:
            origin.trail(error).reported.add(trace_id)
        return event_id

    def _hand_over(self, event: Any, hint: Any, scope: sentry_sdk.Scope) -> str:
        """Have an event built by the delivery thread; returns the id that it will have."""
        as_values(scope)
        event_id: str = event.setdefault("event_id", uuid.uuid4().hex)
        scopes = chain.scopes_elsewhere(hint["exc_info"][1]) or (
            snapshot(sentry_sdk.get_isolation_scope()),
            sentry_sdk.get_current_scope().fork(),
        )
        self._delivery.outbox.event(event, hint, scope, *scopes)
        return event_id

    def _look_at_exception(self, event: Any, hint: Any) -> None:
        """Add the exception that an event was captured for without looking at it."""
        if hint.pop(LATER, False):
            found, more = event_from_exception(hint["exc_info"], client_options=self.options)
            event.update({**found, **event})
            hint.update(more)


def _note_collection(phase: str, _: Any) -> None:
    (_collecting.add if phase == "start" else _collecting.discard)(threading.get_ident())


def _scope_of(error: BaseException | None, given: Any, *, by_hook: bool) -> Any:
    """The scope that an error is reported under: as it was given, unless it is another's."""
    found = chain.scopes_elsewhere(error, by_hook=by_hook)
    if found is None and by_hook and threading.get_ident() in _collecting:
        found = chain.outermost()
    if found is None:
        return given
    scope = given
    if scope is None or chain.nearest() is not None:
        scope = sentry_sdk.get_global_scope().fork()  # nothing of the conversation that is current
    else:
        scope.clear_breadcrumbs()  # those of a process are nobody's
    scope.update_from_scope(found[0])
    scope.update_from_scope(found[1])
    return scope


def _trace_id(scope: Any) -> str | None:
    scope = sentry_sdk.get_current_scope() if scope is None else scope
    span = scope.span or scope.streamed_span
    return span.span.conversation.trace_id if isinstance(span, Marker) else None


def _is_by_hook(event: Any) -> bool:
    values = (event.get("exception") or {}).get("values") or ()
    return any((value.get("mechanism") or {}).get("type") in _HOOKS for value in values)
