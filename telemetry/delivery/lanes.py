"""Threads that do delivery's waiting for it, and the lanes of requests to Sentry.

The delivery thread waits for no lane: it gives one work, and is told by a message what came of it.
The store has a lane of its own (:mod:`.store_lane`); neither waits for the other.
"""

from __future__ import annotations

import itertools
import logging
import math
import queue
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from .drops import INTERNAL, NETWORK_ERROR
from .messages import Answered
from .sender import Dropped, Retry
from .unobserved import unobserved

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentry_sdk.envelope import Envelope

    from .messages import Message
    from .sender import Sent
    from .waiting import Waiting

REQUEST_SECONDS = 30.0
"""For a whole request: a name to be resolved, a connection, an answer that comes byte by byte.
Nothing can interrupt these, so the thread of one that takes longer is left alone with it."""
LEFT_ALONE = 16
"""Threads that may be left so; while there are as many, requests fail before they begin."""
_NO_ANSWER: Final = Retry(None, NETWORK_ERROR, f"no whole answer within {REQUEST_SECONDS:g} s")

logger = logging.getLogger(__name__)


class Outlet(Protocol):
    """The end of an envelope's way: :class:`.sender.Sender`, or a test's memory."""

    def send(self, envelope: Envelope, *, timeout: float | None = None) -> Sent:
        """Send once and say what came of it; from several threads, if several may be under way."""

    def close(self) -> None:
        """Release connections."""


class Threads:
    """The threads of delivery, which are never observed."""

    def __init__(self) -> None:
        self._idents: set[int] = set()

    @property
    def is_current(self) -> bool:
        """True if the caller is one of them."""
        return threading.get_ident() in self._idents

    def start(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Start one, which does this work and ends."""

        def run() -> None:
            self._idents.add(threading.get_ident())
            try:
                work()
            finally:
                self._idents.discard(threading.get_ident())

        thread = threading.Thread(target=run, name=f"telemetry-{name}", daemon=True)
        thread.start()
        return thread


class SendLanes:
    """Sends envelopes, several at a time, each within :data:`REQUEST_SECONDS`.

    Args:
        outlet: where they go.
        messages: where :class:`.messages.Answered` is put.
        threads: the threads of delivery.
        at_once: requests that may be under way together, each in a thread of its own.
    """

    def __init__(
        self,
        outlet: Outlet,
        messages: queue.SimpleQueue[Message],
        threads: Threads,
        *,
        at_once: int,
    ) -> None:
        self.outlet = outlet
        self._messages = messages
        self._threads = threads
        self._at_once = at_once
        self._jobs: queue.SimpleQueue[tuple[int, Waiting, float | None] | None]
        self._jobs = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._under_way: dict[int, tuple[Waiting, float]] = {}
        """Requests by number, each with its deadline (monotonic seconds)."""
        self._overdue: set[int] = set()
        """Numbers of requests that took too long, and that a thread is still in."""
        self._started = 0
        self._busy = 0

    def send(self, waiting: Waiting, timeout: float | None = None) -> None:
        """Have an envelope sent; ``timeout`` (seconds) is this request's, at most."""
        self._busy += 1
        if len(self._overdue) >= LEFT_ALONE:
            self._messages.put(Answered(waiting, _NO_ANSWER))
            return
        if self._busy > self._started and self._started < self._at_once:
            self._started += 1
            self._threads.start(f"send-{self._started}", self._work)
        number = next(self._numbers)
        self._under_way[number] = waiting, time.monotonic() + REQUEST_SECONDS
        self._jobs.put((number, waiting, timeout))

    def due(self) -> float:
        """Seconds until a request has taken too long; infinite if none is under way."""
        under_way = list(self._under_way.values())  # at once: their threads take them out
        earliest = min((deadline for _, deadline in under_way), default=math.inf)
        return max(0.0, earliest - time.monotonic())

    def give_up_overdue(self) -> None:
        """Say of requests that take too long that they failed, and leave their threads alone.

        What one of them may still come to is that Sentry gets the same envelope twice.
        """
        now = time.monotonic()
        for number, (waiting, deadline) in [*self._under_way.items()]:
            if deadline > now:
                continue
            self._overdue.add(number)
            if self._under_way.pop(number, None) is None:
                self._overdue.discard(number)  # it has just been answered
            else:
                self._started -= 1
                self._messages.put(Answered(waiting, _NO_ANSWER))

    def answered(self) -> None:
        """Note that a request is over."""
        self._busy -= 1

    def close(self) -> None:
        """End the threads, when they have sent what they were given, and release connections."""
        for _ in range(self._started):
            self._jobs.put(None)
        self.outlet.close()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            number, waiting, timeout = job
            try:
                sent = self.outlet.send(waiting.envelope, timeout=timeout)
            except Exception:
                sent = Dropped(INTERNAL)
                with unobserved():
                    logger.warning("telemetry could not send", exc_info=True)
            if self._under_way.pop(number, None) is None:
                self._overdue.discard(number)
                return  # it took too long: another thread is in the place of this one
            self._messages.put(Answered(waiting, sent))
