"""The places that code runs in: a task, or a thread outside of any.

What runs somewhere isn't always that place's own. While garbage is collected, finalisers of other
calls run in whatever call the collector was started by; and what an event loop has to say of a task
it says wherever it comes to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextvars import Context


class _Thread(threading.local):
    """The things to know of each thread."""

    def __init__(self) -> None:
        self.place = object()
        self.acting_for: object | None = None
        self.is_collecting = False


_thread: Final = _Thread()
_is_delivering: Callable[[], bool] | None = None

_task: ContextVar[tuple[object, weakref.ref[Any]] | None] = ContextVar(
    "telemetry_task", default=None
)
"""The place of the task that this context is of, and the task; a child's copy has its parent's."""


def current_task() -> asyncio.Task[Any] | None:
    """The task that this runs in, if it is one."""
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None


def place() -> object:
    """The object that stands for this task, or thread outside of any, and for no other.

    Unlike an ``id()`` it isn't given to another one later.
    """
    if _thread.acting_for is not None:
        return _thread.acting_for
    task = current_task()
    if task is None:
        return _thread.place
    known = _task.get()
    if known is None or known[1]() is not task:
        known = object(), weakref.ref(task)
        _task.set(known)
    return known[0]


@contextlib.contextmanager
def acting_for(context: Context) -> Iterator[None]:
    """A block that says what there is to say of the task that this context is of."""
    before, known = _thread.acting_for, context.get(_task)
    _thread.acting_for = object() if known is None else known[0]
    try:
        yield
    finally:
        _thread.acting_for = before


def is_acting() -> bool:
    """True if this runs in the context of what it speaks of, wherever it was called."""
    return _thread.acting_for is not None


def is_collecting() -> bool:
    """True if this is called by a finaliser: what is current here has nothing to do with it."""
    return _thread.is_collecting and _thread.acting_for is None


def is_aside() -> bool:
    """True in delivery's thread, where no call runs: the scopes current there are of an event."""
    return _is_delivering is not None and _is_delivering()


def watch(is_delivering: Callable[[], bool]) -> None:
    """Take note of when garbage is collected, and of which thread is delivery's."""
    global _is_delivering
    if _note not in gc.callbacks:
        gc.callbacks.append(_note)
    _is_delivering = is_delivering


def unwatch() -> None:
    """Take note no longer."""
    global _is_delivering
    if _note in gc.callbacks:
        gc.callbacks.remove(_note)
    _is_delivering = None


def _note(phase: str, _: Any) -> None:
    _thread.is_collecting = phase == "start"
