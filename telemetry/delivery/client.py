"""Sentry's client of this process: every error comes through it, whoever reports it.

An integration, a hook of the interpreter, plain ``sentry_sdk``: each takes the scopes that are
current where it reports. Where the error comes from another conversation than that, it is reported
under that one's; and once in each trace, however often it is reported there.
"""

from __future__ import annotations

import contextvars
import gc
import threading
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.unraisablehook import UnraisablehookIntegration

from ..context import chain, origin
from ..context.scopes import shown_on

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
        if event.get("type") is not None:
            return super().capture_event(event, hint, scope)
        error = (hint or {}).get("exc_info", (None, None, None))[1]
        if not self._is_delivering():
            scope = _scope_of(error, scope, by_hook=_is_by_hook(event))
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


_collecting: Final[set[int]] = set()
"""Threads in which garbage is collected: what fails then is no affair of whatever runs there."""


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
    marker = shown_on(sentry_sdk.get_current_scope() if scope is None else scope)
    return None if marker is None else marker.span.conversation.trace_id


def _is_by_hook(event: Any) -> bool:
    values = (event.get("exception") or {}).get("values") or ()
    return any((value.get("mechanism") or {}).get("type") in _HOOKS for value in values)
