"""Threads that do delivery's waiting for it, and the lanes of requests to Sentry.

The delivery thread waits for no lane: it gives one work, and is told by a message what came of it.
The store has a lane of its own (:mod:`.store_lane`); neither waits for the other.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING, Protocol

from .drops import INTERNAL
from .messages import Answered
from .sender import Dropped
from .unobserved import unobserved

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentry_sdk.envelope import Envelope

    from .messages import Message
    from .sender import Sent
    from .waiting import Waiting

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
    """Sends envelopes, several at a time.

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
        self._jobs: queue.SimpleQueue[tuple[Waiting, float | None] | None] = queue.SimpleQueue()
        self._started = 0
        self._busy = 0

    def send(self, waiting: Waiting, timeout: float | None = None) -> None:
        """Have an envelope sent; ``timeout`` (seconds) is this request's, at most."""
        self._busy += 1
        if self._busy > self._started and self._started < self._at_once:
            self._started += 1
            self._threads.start(f"send-{self._started}", self._work)
        self._jobs.put((waiting, timeout))

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
            waiting, timeout = job
            try:
                sent = self.outlet.send(waiting.envelope, timeout=timeout)
            except Exception:
                sent = Dropped(INTERNAL)
                with unobserved():
                    logger.warning("telemetry could not send", exc_info=True)
            self._messages.put(Answered(waiting, sent))
