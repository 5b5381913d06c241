"""A process that forks: each of the two delivers its own, and neither waits for the other.

In the child there is one thread, the one that forked. Delivery's isn't there, and a lock that
another thread held stays held for good. So the store is let go of before the fork, and in the
child everything that delivery works with is made anew.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Forked(Protocol):
    """A part of the process that is told of a fork: a :class:`telemetry.runtime.Runtime`."""

    def before_fork(self) -> None:
        """Hold on to nothing that must not be copied."""

    def after_fork(self) -> None:
        """Go on, in both processes."""

    def begin_in_child(self) -> None:
        """Begin anew, in the child only."""


def watch(active: Callable[[], Forked | None]) -> None:
    """From now on, tell what is active whenever the process forks."""
    forking: dict[int, Forked] = {}
    """By thread: what was told, which may be another than is active afterwards."""

    def before() -> None:
        if (forked := active()) is not None:
            forking[threading.get_ident()] = forked
            forked.before_fork()

    def after() -> Forked | None:
        forked = forking.pop(threading.get_ident(), None)
        if forked is not None:
            forked.after_fork()
        return forked

    def after_in_child() -> None:
        forked = after()
        forking.clear()
        if forked is not None:
            forked.begin_in_child()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=after, after_in_child=after_in_child)
