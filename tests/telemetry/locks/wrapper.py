"""Every lock made from now on logs an ERROR when it is used.

It is built like ddtrace's lock profiler: ``threading.Lock`` and ``threading.RLock``, and the same
names wherever they were imported already, make a Python object around the real lock, and a
thread-local flag keeps a thread from logging about the locks that its own logging uses. It guards
against nothing else.
"""

from __future__ import annotations

import enum
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("lock_profiler")


class Moment(enum.StrEnum):
    """When a lock logs."""

    ACQUIRE = "acquire"
    """Having been acquired, and so held."""
    BEFORE = "before"
    """Before it is released, and so held."""
    AFTER = "after"
    """After it was released."""


class _Saying(threading.local):
    now = False


_saying: Final = _Saying()


class LoggingLock:
    """A lock that logs at one :class:`Moment`; what else it can do is its real lock's."""

    def __init__(self, lock: Any, moment: Moment) -> None:
        self._lock = lock
        self._moment = moment

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Acquire the real lock, and say so while it is held."""
        acquired: bool = self._lock.acquire(blocking, timeout)
        if acquired:
            self._say(Moment.ACQUIRE)
        return acquired

    def release(self) -> None:
        """Release the real lock, and say so before or after."""
        self._say(Moment.BEFORE)
        self._lock.release()
        self._say(Moment.AFTER)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)

    def _say(self, moment: Moment) -> None:
        if moment is not self._moment or _saying.now:
            return
        _saying.now = True
        try:
            logger.error("%s: %r", moment, self._lock)
        finally:
            _saying.now = False


def install(moment: Moment) -> None:
    """Wrap every lock that is made after this."""
    for name in ("Lock", "RLock"):
        original = getattr(threading, name)
        wrapped = _maker(original, moment)
        for module in list(sys.modules.values()):
            if getattr(module, "__dict__", {}).get(name) is original:
                setattr(module, name, wrapped)


def _maker(original: Callable[[], Any], moment: Moment) -> Callable[[], LoggingLock]:
    def make() -> LoggingLock:
        return LoggingLock(original(), moment)

    return make
