"""Errors that an event loop reports, in the context of the task or callback that they are of.

asyncio calls a loop's exception handler wherever it comes to know: where a task that nobody waited
for is collected, or between two callbacks. Since Python 3.12 a handler of the application's own is
called in the context of the task or callback (https://github.com/python/cpython/issues/96704); so
it is here, in each version and for the default handler too. An error whose context isn't known is
reported in an empty one: it is nobody's, rather than that of whatever runs then.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
from typing import Any

_watched: set[type] = set()


def watch_running_loop() -> None:
    """From now on, report the errors of the loop that runs here, if one does, where they are of."""
    try:
        kind = type(asyncio.get_running_loop())
    except RuntimeError:
        return
    if kind not in _watched:
        _watched.add(kind)
        _watch(kind)


def _watch(kind: type[asyncio.AbstractEventLoop]) -> None:
    """Go around the method of a loop's class, once; there is no hook before the handler."""
    report: Any = kind.call_exception_handler
    if hasattr(report, "reports_in_context"):
        return  # it is inherited

    @functools.wraps(report)
    def call_exception_handler(self: Any, context: dict[str, Any]) -> None:
        found = _context_of(context)
        if found is None:
            report(self, context)
        else:
            found.run(report, self, context)

    call_exception_handler.reports_in_context = True  # type: ignore[attr-defined]
    owner = next(base for base in kind.__mro__ if "call_exception_handler" in vars(base))
    for target in (owner, kind):
        try:
            target.call_exception_handler = call_exception_handler  # type: ignore[attr-defined]
        except TypeError:  # a compiled class; one below it may not be
            continue
        return


def _context_of(error: dict[str, Any]) -> contextvars.Context | None:
    """A copy of the context of the task, future or handle that an error is of; None without one."""
    for key in ("task", "future", "handle"):
        thing = error.get(key)
        if thing is None:
            continue
        get_context = getattr(thing, "get_context", None)  # since Python 3.12
        if get_context is not None:
            found: contextvars.Context = get_context().copy()
            return found
        for referent in gc.get_referents(thing):
            if isinstance(referent, contextvars.Context):
                return referent.copy()
        return contextvars.Context()
    return None
