"""The one thread that talks to Sentry and to the local store.

Everything slow happens here: encoding, SQLite, HTTP. A call only puts things into the
:class:`~.outbox.Outbox`; the envelopes that they become wait in a :class:`~.send_queue.SendQueue`
until Sentry takes them. Both are bounded, and what overflows is counted by reason.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import sentry_sdk
from sentry_sdk.scope import use_isolation_scope
from sentry_sdk.transport import Transport

from ..errors import TelemetryError
from . import outbox
from .drops import SHUTDOWN, Drops
from .messages import Flush, Stop
from .outbox import Outbox
from .processor import Processor
from .send_queue import SendQueue
from .unobserved import unobserved

if TYPE_CHECKING:
    from sentry_sdk.client import BaseClient
    from sentry_sdk.envelope import Envelope

    from ..store import TraceStore
    from .messages import Message
    from .send_queue import Outlet

logger = logging.getLogger(__name__)


class Delivery:
    """Owns the thread.

    Args:
        store: the local trace store, or None.
        sender: where envelopes go, or None for nowhere.
        send_content: whether what people said goes to Sentry.
        streaming: whether Sentry gets spans (the stream lifecycle) instead of transactions.

    Attributes:
        outbox: where calls put what is to be delivered.
    """

    def __init__(
        self,
        *,
        store: TraceStore | None,
        sender: Outlet | None,
        send_content: bool = False,
        streaming: bool = False,
    ) -> None:
        self.streaming = streaming
        self._store = store
        self._content = send_content
        self._client: BaseClient | None = None
        self._begin(sender)

    def _begin(self, sender: Outlet | None) -> None:
        self._drops = Drops()
        self.outbox = Outbox(self._drops, streaming=self.streaming, shows=self._store is not None)
        self.outbox.client = self._client
        self._queue = SendQueue(sender, self._drops)
        self._processor = Processor(
            store=self._store,
            queue=self._queue,
            drops=self._drops,
            registry=self.outbox.registry,
            content=self._content,
            streaming=self.streaming,
        )
        self._flushes: list[Flush] = []
        self._abandoned = False
        self._thread: threading.Thread | None = None

    # -- called from anywhere ----------------------------------------------------------------------

    def use(self, client: BaseClient) -> None:
        """Take Sentry's client, before :meth:`start`: errors and transactions go through it."""
        self._client = self.outbox.client = client

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="telemetry-delivery", daemon=True)
        self._thread.start()

    def begin_anew(self) -> None:
        """In a forked child, before :meth:`start`: what was waiting, and dropped, is the parent's.

        Nothing of the parent's is used: its thread may have held whatever it was busy with.
        """
        self._begin(self._queue.outlet)

    def before_fork(self) -> None:
        """In a process that is about to fork: its connection to the store must not be copied."""
        if self._store is not None:
            with suppress(TelemetryError):
                self._store.pause()

    def after_fork(self) -> None:
        """In both processes: the store may be written to again."""
        if self._store is not None:
            self._store.resume()

    @property
    def is_own_thread(self) -> bool:
        """True if the caller is a thread of delivery's."""
        return self._thread is not None and threading.get_ident() == self._thread.ident

    def flush(self, timeout: float) -> bool:
        """Wait until what has been handed over by now is stored and sent, whatever comes later."""
        if self._thread is None or not self._thread.is_alive() or self.is_own_thread:
            return self._queue.is_empty
        return self.outbox.flush(timeout)

    def stop(self, timeout: float) -> bool:
        """Deliver what can be within ``timeout`` seconds, then end the thread.

        False when something was dropped; it is counted under ``shutdown``.
        """
        if self._thread is not None and self._thread.is_alive():
            if self.outbox.stop(timeout):
                self._thread.join(timeout)
            else:
                # It sits in a request that has no answer. It is a daemon; nothing waits for it.
                self._abandoned = True
        self.outbox.shut = True
        self._drop_all()
        return SHUTDOWN not in self.dropped()

    def send(self, envelope: Envelope) -> None:
        """The SDK has an envelope to send."""
        if self.is_own_thread:
            self._processor.send(envelope)
        else:
            self.outbox.envelope(envelope)

    def dropped(self) -> dict[str, int]:
        """The number of spans and events that were dropped, by reason."""
        return self._drops.read()

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        scope = sentry_sdk.Scope()
        scope.set_client(self._client)
        with use_isolation_scope(scope):
            self._work()

    def _work(self) -> None:
        while not self._abandoned:
            try:
                if self._step():
                    return
            except Exception:
                with unobserved():
                    logger.warning("telemetry failed to deliver", exc_info=True)
        self._drop_all()  # what it was busy with when it was abandoned

    def _step(self) -> bool:
        """Handle the next message or send an envelope; True when that was the last."""
        message = self._next()
        match message:
            case Stop():
                self._finish(message)
                return True
            case Flush():
                _collect()
                message.number = self._queue.number
                self._flushes.append(message)
            case None:
                self._queue.send_one()
            case _:
                self._processor.handle(message)
        if self._flushes:
            self._answer_flushes()
        return False

    def _answer_flushes(self) -> None:
        """Tell those whose envelopes are all gone; forget those that wait no longer."""
        oldest, now = self._queue.oldest(), time.monotonic()
        for flush in self._flushes:
            if flush.number < oldest:
                flush.done.put(True)
        self._flushes = [
            flush for flush in self._flushes if flush.number >= oldest and flush.deadline > now
        ]

    def _next(self) -> Message | None:
        """The next message; None when there is none and an envelope may be sent."""
        intake = self.outbox.messages
        try:
            wait = self._queue.due()
            if wait > 0:
                return intake.get(timeout=None if wait == math.inf else wait)
            # A burst waits in the outbox, rather than overflow what is to be sent; and steady
            # traffic doesn't keep back what somebody is waiting for.
            crowded = self._queue.is_crowded or bool(self._flushes)
            if crowded and intake.qsize() < outbox.LIMIT // 10:
                return None
            return intake.get_nowait()
        except queue.Empty:
            return None

    # -- ending ------------------------------------------------------------------------------------

    def _finish(self, stop: Stop) -> None:
        """Deliver what there is time for; ignore pauses that a server asked for, once."""
        while not self.outbox.messages.empty() and time.monotonic() < stop.deadline:
            message = self.outbox.messages.get()
            if isinstance(message, (Flush, Stop)):
                message.done.put(False)
            else:
                self._processor.handle(message)
        _collect()
        self._queue.send_all(stop.deadline)
        self._drop_all()
        if self._store is not None:
            self._store.close()
        self._queue.close()
        for flush in self._flushes:
            flush.done.put(False)
        stop.done.put(True)

    def _drop_all(self) -> None:
        """Drop all that is waiting. Two threads may: each thing is counted once."""
        self._queue.drop_all()
        while not self.outbox.messages.empty():
            with suppress(queue.Empty):
                self._processor.drop(self.outbox.messages.get_nowait(), SHUTDOWN)


class QueueTransport(Transport):
    """The SDK's way to :class:`Delivery`: an envelope is queued and nothing else happens.

    The DSN is for the sampling context in headers, which names its public key; the organization,
    if its host doesn't say, for telling whose traces may be continued.
    """

    def __init__(
        self, delivery: Delivery, *, dsn: str | None = None, org_id: str | None = None
    ) -> None:
        super().__init__({"dsn": dsn, "org_id": org_id})
        self._delivery = delivery

    def capture_envelope(self, envelope: Envelope) -> None:
        """Queue it."""
        self._delivery.send(envelope)

    def flush(self, timeout: float, callback: object = None) -> None:
        """Wait for delivery."""
        self._delivery.flush(timeout)


def _collect() -> None:
    """Take what the SDK's own batches (logs, metrics, its spans) still hold."""
    sentry_sdk.get_client().flush(timeout=0)
