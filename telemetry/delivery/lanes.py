"""Threads that do delivery's waiting for it: requests to Sentry, and writing to the store.

Neither waits for the other, and the delivery thread waits for none of them: it gives a lane work,
and a lane tells it what came of that by a message.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from .drops import INTERNAL, STORE
from .messages import Answered, Wake, answer
from .sender import Dropped
from .unobserved import unobserved

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentry_sdk.envelope import Envelope

    from ..store import TraceStore
    from .drops import Drops
    from .messages import Message
    from .send_queue import Waiting
    from .sender import Sent

logger = logging.getLogger(__name__)

ROWS: Final = 50_000
"""Spans and errors waiting to be written."""


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


class StoreLane:
    """Writes to the store, in the order given.

    Args:
        store: the local trace store.
        messages: where :class:`.messages.Wake` is put for who waits.
        threads: the threads of delivery.
        drops: where what can't be written is counted.
    """

    def __init__(
        self,
        store: TraceStore,
        messages: queue.SimpleQueue[Message],
        threads: Threads,
        drops: Drops,
    ) -> None:
        self.store = store
        self.given = 0
        """Writes that it was given so far."""
        self.done = 0
        """Writes that are done, or were dropped."""
        self._awaited: float = math.inf
        self._messages = messages
        self._threads = threads
        self._drops = drops
        self._jobs: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """One True for each write, and False to end."""
        self._writes: deque[tuple[int, Callable[..., None], tuple[Any, ...]]] = deque()
        self._in_hand: deque[int] = deque(maxlen=1)
        self._rows_given = 0
        self._rows_done = 0
        self._ended: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = self._threads.start("store", self._work)

    def write(self, rows: int, write: Callable[..., None], *arguments: Any) -> None:
        """Have something written; ``rows`` is what is dropped if it can't be."""
        waiting = self._rows_given - self._rows_done
        if waiting and waiting + rows > ROWS:
            self._drops.add(STORE, rows)
            return
        self.given += 1
        self._rows_given += rows
        self._writes.append((rows, write, arguments))
        self._jobs.put(True)

    def wake_at(self, given: int) -> None:
        """Put a message when so many writes are done."""
        self._awaited = given
        if self.done >= given:
            self._wake()

    def end(self, deadline: float) -> bool:
        """Write what is waiting, until the deadline (monotonic seconds); the rest is dropped.

        False when something was.
        """
        if self._thread is None or not self._thread.is_alive():
            return not self.drop_all()
        self._jobs.put(False)
        if answer(self._ended, deadline - time.monotonic()):
            return True
        dropped = self.drop_all()
        with unobserved():
            logger.warning(
                "telemetry dropped %d spans and errors that the trace store at %s did not take in "
                "time: see who holds the file, or give telemetry more time to close",
                dropped,
                self.store.path,
            )
        return False

    def drop_all(self) -> int:
        """Drop all that isn't written; returns the spans and errors in it."""
        dropped = 0
        with suppress(IndexError):
            dropped += self._in_hand.popleft()
        while self._writes:
            with suppress(IndexError):
                dropped += self._writes.popleft()[0]
        self._drops.add(STORE, dropped)
        return dropped

    def _work(self) -> None:
        while self._jobs.get():
            self._write_one()
        self.store.close()
        self._ended.put(True)

    def _write_one(self) -> None:
        try:
            rows, write, arguments = self._writes.popleft()
        except IndexError:
            return  # it was dropped meanwhile
        self._in_hand.append(rows)
        failed: Exception | None = None
        try:
            write(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the store's alone
            failed = error
        try:
            self._in_hand.popleft()
        except IndexError:
            return  # it was dropped meanwhile
        if failed is not None:
            self._drops.add(STORE, rows)
            with unobserved():
                logger.warning("telemetry could not store: %s", failed)
        self._rows_done += rows
        self.done += 1
        if self.done >= self._awaited:
            self._wake()

    def _wake(self) -> None:
        self._awaited = math.inf
        self._messages.put(Wake())
