"""Errors that an event loop reports, in the context of the task or callback that they are of.

asyncio calls a loop's exception handler wherever it comes to know: where a task that nobody waited
for is collected, or between two callbacks. Since Python 3.12 a handler of the application's own is
called in the context of the task or callback (https://github.com/python/cpython/issues/96704); so
it is here, in each version and for the default handler too.

What has no such context is nobody's, rather than that of whatever runs then: the error of a plain
future, what a library's finaliser tells the loop, and the end of an async generator that was given
up and that the collector of garbage finds.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import sys
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk

from . import chain
from .place import acting_for, is_collecting

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

_watched: Final[set[type]] = set()
_MAY_HOLD_TASKS: Final = (asyncio.Task, dict, list)


def watch_running_loop() -> None:
    """From now on, report the errors of loops where they are of: of asyncio's, and of the kind of
    the one that runs here.
    """
    _watch(asyncio.BaseEventLoop)
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    _watch(type(loop))
    _watch_generators()


def _watch(kind: type[asyncio.AbstractEventLoop]) -> None:
    """Go around the method of a loop's class, once; there is no hook before the handler."""
    if kind in _watched:
        return
    _watched.add(kind)
    report: Any = kind.call_exception_handler
    if hasattr(report, "reports_in_context"):
        return  # it is inherited

    @functools.wraps(report)
    def call_exception_handler(self: Any, context: dict[str, Any]) -> None:
        found = _context_of(context)
        if found is None:
            report(self, context)
        else:
            with acting_for(found):
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
    """A copy of the context that an error is of; None: the one it is reported in.

    That is the context of its task or callback; of what was gathered, that of the task that failed.
    """
    future, exception = error.get("future"), error.get("exception")
    gathered = None if future is None else _gathered(future, exception)
    for thing in (error.get("task"), gathered, future, error.get("handle")):
        if thing is not None:
            return _own_context(thing) or _nobodys()
    return _nobodys() if is_collecting() else None


def _gathered(future: Any, error: BaseException | None) -> asyncio.Task[Any] | None:
    """The task whose error this is, if the future is of ``asyncio.gather``."""
    if isinstance(future, asyncio.Task):
        return None
    found: list[Any] = [future]
    for _ in range(3):  # its attributes, their values, what those list
        found = [one for one in gc.get_referents(*found) if isinstance(one, _MAY_HOLD_TASKS)]
        for one in found:
            is_over = isinstance(one, asyncio.Task) and one.done() and not one.cancelled()
            if is_over and one.exception() is error:
                task: asyncio.Task[Any] = one
                return task
    return None


def _own_context(thing: Any) -> contextvars.Context | None:
    """A copy of the context that a task or handle runs in, or None."""
    get_context = getattr(thing, "get_context", None)  # since Python 3.12
    if get_context is not None:
        found: contextvars.Context = get_context().copy()
        return found
    referents = gc.get_referents(thing)
    return next((one.copy() for one in referents if isinstance(one, contextvars.Context)), None)


def _nobodys() -> contextvars.Context:
    """A context in which nothing is current, under copies of the process's own scopes."""
    isolation, scope = chain.forked(*chain.outermost())
    context = contextvars.Context()
    context.run(sentry_sdk.Scope.set_isolation_scope, isolation)
    context.run(sentry_sdk.Scope.set_current_scope, scope)
    return context


def _watch_generators() -> None:
    """Go around the hook of the running loop that ends async generators which were given up.

    It starts a task that closes the generator, in the context of whoever comes to find it.
    """
    firstiter, finalizer = sys.get_asyncgen_hooks()
    if finalizer is not None and not hasattr(finalizer, "ends_in_context"):
        sys.set_asyncgen_hooks(firstiter, _ending_in_context(finalizer))


def _ending_in_context(
    end: Callable[[AsyncGenerator[Any, Any]], None],
) -> Callable[[AsyncGenerator[Any, Any]], None]:
    def finalizer(generator: AsyncGenerator[Any, Any]) -> None:
        if is_collecting():
            _nobodys().run(end, generator)
        else:
            end(generator)

    finalizer.ends_in_context = True  # type: ignore[attr-defined]
    return finalizer
