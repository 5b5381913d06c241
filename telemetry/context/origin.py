"""The conversation that an exception comes from, however late and wherever it surfaces.

An exception is often reported by somebody who no longer is where it was raised: a server logs what
its application let through, a thread's or the interpreter's hook is the last to see it, an object
is finalised in whatever call runs then. So a block of ours that is left by an exception notes
itself on the exception. Whoever reports it where nothing is current, or as a hook does, reports it
under that block's conversation.

The note is an attribute of the exception, which nothing else could be: exceptions of builtin types
can't be referred to weakly. In a pickle or a copy it is an empty text, so that an exception travels
as it did without it.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .node import Link, Node

_NOTE: Final = "telemetry_trail"
_MOST: Final = 8
"""Tasks and threads noted on one exception, and exceptions looked at that it was raised from."""


class Trail:
    """The note on an exception."""

    __slots__ = ("left", "reported")

    def __init__(self) -> None:
        self.left: list[tuple[int, Link]] = []
        """Tasks or threads, and the innermost block that the exception left in each."""
        self.reported: set[str | None] = set()
        """Traces in which it has been reported."""

    def __reduce__(self) -> tuple[type[str], tuple[()]]:
        return str, ()


def trail(error: BaseException) -> Trail:
    """The note on an exception; a new one if there is none."""
    found = error.__dict__.get(_NOTE)
    if not isinstance(found, Trail):
        found = error.__dict__[_NOTE] = Trail()
    return found


def place() -> int:
    """A number that tells this task, or thread outside of any, from the others."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        task = None
    return threading.get_ident() if task is None else id(task)


def left_by(error: BaseException, link: Link) -> None:
    """Note on an exception that it leaves this block."""
    here, left = place(), trail(error).left
    for index, (where, inner) in enumerate(left):
        if where == here:
            if not _is_inside(inner, link):
                left[index] = here, link  # it was raised again
            return
    if len(left) < _MOST:
        left.append((here, link))


def origin(error: BaseException | None, here: Node | None, *, entered_here: bool) -> Link | None:
    """The innermost block of a conversation that the exception has left, if it is that one's.

    Args:
        error: the exception, or whatever it was raised from or stands for.
        here: the current span where it is reported. It goes first, unless this task or thread has
            only inherited it, and is where the exception left that other conversation.
        entered_here: whether this task or thread has itself entered the conversation of ``here``.
    """
    where = place()
    if here is not None:
        found = _noted(error)
        link = next((link for at, link in found.left if at == where), None) if found else None
        if link is None or entered_here or link.span.conversation is here.conversation:
            return None
        return link
    for one in _stands_for(error):
        if (found := _noted(one)) is not None and found.left:
            return next((link for at, link in found.left if at == where), found.left[0][1])
    return None


def _noted(error: BaseException | None) -> Trail | None:
    found = None if error is None else error.__dict__.get(_NOTE)
    return found if isinstance(found, Trail) else None


def _stands_for(error: BaseException | None) -> Iterator[BaseException]:
    """The exception, those it was raised from and those it groups."""
    known: list[BaseException] = [] if error is None else [error]
    for one in known:
        yield one
        for other in (one.__cause__, one.__context__, *getattr(one, "exceptions", ())):
            if isinstance(other, BaseException) and other not in known and len(known) < _MOST:
                known.append(other)


def _is_inside(inner: Link, block: Link) -> bool:
    """True if a block was left on the way out of another, or of one of its conversation."""
    link: Link | None = inner
    while link is not None:
        if link.span.conversation is block.span.conversation:
            return True
        link = link.outer
    return False
