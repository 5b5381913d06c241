"""Takes what a call hands over to delivery: bounded, counted, and never waited for.

A call only appends to a :class:`queue.SimpleQueue`. Its ``put`` is one C call that takes no lock
Python code can see, and it may be re-entered from a signal, a destructor or a logging handler. So
no lock that a profiler wraps, a handler holds or the SDK takes can stand between a call and its
telemetry.

What overflows is dropped and counted by reason. Conversations and errors go before everything else.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from logging import ERROR
from typing import TYPE_CHECKING, Any

from ..stats import Tally
from ..trace.registry import Registry
from .drops import OVERFLOW, SHUTDOWN, Drops, events_in
from .frames import have_locals
from .messages import (
    Closed,
    Error,
    Event,
    Flush,
    HandedOver,
    Late,
    Logged,
    Message,
    Refused,
    Stop,
    answer,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import sentry_sdk
    from sentry_sdk.client import BaseClient
    from sentry_sdk.envelope import Envelope

    from ..trace.span import Span
    from ..trace.transaction import Transaction
    from .log_events import Log

LIMIT = 20_000
"""Messages waiting to be processed; logs and envelopes of the SDK are refused at half of that."""


class Outbox:
    """The sink of a process that delivers: no method ever waits.

    Args:
        drops: where what is refused is counted.
        streaming: whether Sentry gets spans (the stream lifecycle) instead of transactions.
        audio_folder: the folder of the store's recordings; None if there is no store, which takes
            spans for itself.
        holds: whether nothing of a transaction is sent before it has ended.

    Attributes:
        messages: those that delivery hasn't taken yet; lanes put theirs there, too.
        taken: those that delivery has taken and not worked on yet, in their order.
        registry: the transactions of the process.
        client: Sentry's client, once that is made.
        shut: whether it takes no more of calls: what comes now is dropped.
        wake_store: has the store look at what is open, where there is one: one more ``put``.
        takes_envelopes: whether it takes those of the SDK, whose own threads make some of what was
            logged before the end.
    """

    def __init__(
        self,
        drops: Drops,
        *,
        streaming: bool,
        audio_folder: Path | None,
        holds: bool = False,
    ) -> None:
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.registry = Registry()
        self.streaming = streaming
        self.tally = Tally()
        self.client: BaseClient | None = None
        self.taken: deque[Message] = deque()
        self.shut = False
        self.takes_envelopes = True
        self.wake_store: Callable[[], None] = lambda: None
        self._drops = drops
        self.stores = audio_folder is not None
        self.holds = holds
        self.audio_folder = audio_folder

    def opened(self, transaction: Transaction) -> None:
        """A transaction began."""
        self.registry.opened(transaction)
        self.wake_store()

    def hand_over(self, transaction: Transaction) -> None:
        """A running transaction has a batch of finished spans."""
        self._put(HandedOver(transaction), first=True)  # refused, they go with the next batch

    def closed(self, transaction: Transaction) -> None:
        """A transaction ended."""
        self.registry.closed(transaction)
        if not self._put(Closed(transaction), first=True):
            self._drops.add(self._refusal, len(transaction.spans.seal()) + 1)
            # a few bytes: always room for these
            self.messages.put(Refused(id(transaction), transaction.trace_id))

    def late(self, transaction: Transaction, span: Span) -> None:
        """A span finished after its transaction was delivered."""
        self._put_or_drop(Late(transaction, span))

    def captured(
        self, error: BaseException, isolation: sentry_sdk.Scope, scope: sentry_sdk.Scope
    ) -> None:
        """An error was reported."""
        self._look_at(error)
        self._put_or_drop(Error(error, isolation, scope))

    def event(
        self,
        event: Any,
        hint: Any,
        merged: sentry_sdk.Scope,
        isolation: sentry_sdk.Scope,
        scope: sentry_sdk.Scope,
    ) -> None:
        """The SDK captured an error."""
        self._look_at(hint["exc_info"][1])
        self._put_or_drop(Event(event, hint, merged, isolation, scope))

    def logged(self, log: Log, isolation: sentry_sdk.Scope, scope: sentry_sdk.Scope) -> None:
        """The application logged something."""
        self._look_at(log.error)
        self._put_or_drop(Logged(log, isolation, scope), first=log.record.levelno >= ERROR)

    def envelope(self, envelope: Envelope) -> None:
        """The SDK has an envelope to send."""
        if self.shut and self.takes_envelopes:
            self.messages.put(envelope)
        elif not self._put(envelope, first=False):
            self._drops.add(self._refusal, events_in(envelope))

    def flush(self, timeout: float) -> bool:
        """Wait until everything handed over so far has been delivered; False: it hasn't."""
        flush = Flush(time.monotonic() + timeout)
        self.messages.put(flush)
        return answer(flush.done, timeout)

    def stop(self, timeout: float) -> bool:
        """Take no more, and have the rest delivered; False when delivery didn't get to its end."""
        self.shut = True
        stop = Stop(time.monotonic() + timeout)
        self.messages.put(stop)
        return answer(stop.done, timeout + 0.2)

    def _look_at(self, error: BaseException | None) -> None:
        """Look at what of an error is to be sent and can't be looked at later."""
        if self.client is not None and self.client.options["include_local_variables"]:
            have_locals(error)

    @property
    def _refusal(self) -> str:
        """The reason for which it takes no more."""
        return SHUTDOWN if self.shut else OVERFLOW

    def _put_or_drop(self, message: Late | Error | Event | Logged, *, first: bool = True) -> None:
        if not self._put(message, first=first):
            self._drops.add(self._refusal)

    def _put(self, message: Message, *, first: bool) -> bool:
        limit = LIMIT if first else LIMIT // 2
        if self.shut or self.messages.qsize() + len(self.taken) >= limit:
            return False
        self.messages.put(message)
        return True
