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

from typing import TYPE_CHECKING, Final

from .node import Link
from .place import place
from .scopes import shown_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sentry_sdk

    from ..written import Author
    from .node import Node

_NOTE: Final = "telemetry_trail"
_MOST: Final = 8
"""Tasks and threads noted on one exception, and exceptions looked at that it was raised from."""
_MOST_REPORTED: Final = 1_000
"""Traces noted on one exception; one that is kept and raised again and again has no end of them."""


class Trail:
    """The note on an exception."""

    __slots__ = ("_reported", "author", "is_cut", "left", "of", "texts")

    def __init__(self, of: int) -> None:
        self.of = of
        """The exception's ``id()``: a copy has the note of the original, and is another one."""
        self.left: list[tuple[object, Link]] = []
        """Tasks or threads, and the innermost block that the exception left in each."""
        self.is_cut = False
        """True once the oldest of them have been forgotten."""
        self.texts: list[str] = []
        """The texts of its event when it was handed over, see :mod:`.wording`."""
        self.author: Author | None = None
        """Whoever handed it over."""
        self._reported: dict[str, object] = {}
        """Traces in which it has been reported, or is about to be."""

    def begin_report(self, trace_id: str) -> bool:
        """Note that it is reported in this trace; False if it has been, whoever asks at once."""
        mine = object()
        if self._reported.setdefault(trace_id, mine) is not mine:
            return False
        if len(self._reported) > _MOST_REPORTED:
            for oldest in list(self._reported)[:-_MOST_REPORTED]:
                self._reported.pop(oldest, None)
        return True

    def undo_report(self, trace_id: str) -> None:
        """Forget :meth:`begin_report`: it wasn't reported after all."""
        self._reported.pop(trace_id, None)

    def add(self, where: object, link: Link) -> None:
        """Note a block that was left in a task or thread that nothing is noted of."""
        self.left.append((where, link))
        if len(self.left) > _MOST:
            self.is_cut = True
            del self.left[0]

    def at(self, where: object) -> Link | None:
        """The block that it left in this task or thread."""
        return next((link for place, link in self.left if place is where), None)

    def __reduce__(self) -> tuple[type[str], tuple[()]]:
        return str, ()


def trail(error: BaseException) -> Trail:
    """The note on an exception; a new one if there is none."""
    found = _noted(error)
    if found is None:
        found = error.__dict__[_NOTE] = Trail(id(error))
    return found


def left_by(error: BaseException, link: Link) -> None:
    """Note on an exception, and on those that it groups, that it leaves this block."""
    here = place()
    for one in _members(error):
        left = trail(one).left
        for index, (where, inner) in enumerate(left):
            if where is here:
                if not _is_inside(inner, link):
                    left[index] = here, link  # it was raised again
                break
        else:
            trail(one).add(here, link)


def reported_under(error: BaseException | None, scope: sentry_sdk.Scope) -> None:
    """Note the span that an exception is reported in, if it has left none.

    Who sees it next may be where nothing is current: a thread's hook, whoever waits for a task.
    """
    marker = shown_on(scope)
    if error is not None and marker is not None and not trail(error).left:
        trail(error).add(place(), Link(marker.span, None, None))


def origin(error: BaseException | None, here: Node | None, *, entered_here: bool) -> Link | None:
    """The innermost block of a conversation that the exception has left, if it is that one's.

    Args:
        error: the exception, or whatever it was raised from or stands for.
        here: the current span where it is reported. It goes first, unless this task or thread has
            only inherited it, and is where the exception left that other conversation.
        entered_here: whether this task or thread has itself entered the conversation of ``here``.
    """
    if here is None:
        for one in _raised_from(error):
            if found := _innermost(one):
                # A group with errors of several calls is nobody's: no call is told the others'.
                owners = {id(link.span.conversation) for link in found}
                return found[0] if len(owners) == 1 else None
        return None
    if entered_here:
        return None
    where = place()
    for one in _raised_from(error):
        noted = _noted(one)
        link = None if noted is None else noted.at(where)
        if link is not None:
            return None if link.span.conversation is here.conversation else link
    return None


def _innermost(error: BaseException) -> list[Link]:
    """The innermost block that an exception has left; those of its members if a group left none."""
    noted = _noted(error)
    if noted is not None and noted.left:
        link = noted.at(place())
        if link is None and not noted.is_cut:
            link = noted.left[0][1]
        return [] if link is None else [link]
    if isinstance(error, BaseExceptionGroup):
        return [link for one in error.exceptions[:_MOST] for link in _innermost(one)]
    return []


def _noted(error: BaseException) -> Trail | None:
    found = error.__dict__.get(_NOTE)
    return found if isinstance(found, Trail) and found.of == id(error) else None


def _members(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those in it if it is a group."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions[:_MOST]:
            yield from _members(one)


def _raised_from(error: BaseException | None) -> Iterator[BaseException]:
    """The exception, and those that it was raised from."""
    known: list[BaseException] = [] if error is None else [error]
    for one in known:
        yield one
        for other in (one.__cause__, one.__context__):
            if other is not None and len(known) < _MOST and all(other is not one for one in known):
                known.append(other)


def _is_inside(inner: Link, block: Link) -> bool:
    """True if a block was left on the way out of another, or of one of its conversation."""
    link: Link | None = inner
    while link is not None:
        if link.span.conversation is block.span.conversation:
            return True
        link = link.outer
    return False
