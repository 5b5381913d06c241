"""What a call hands over to delivery: bounded, counted, and never waited for.

A call only appends to a :class:`queue.SimpleQueue`. Its ``put`` is one C call that takes no lock
Python code can see, and it may be re-entered from a signal, a destructor or a logging handler. So
no lock that a profiler wraps, a handler holds or the SDK takes can stand between a call and its
telemetry.

What overflows is counted by reason. Conversations and errors go before everything else.
"""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass, field
from logging import ERROR, LogRecord
from typing import TYPE_CHECKING, Final

from sentry_sdk.envelope import Envelope

from .counter import Counter

if TYPE_CHECKING:
    import sentry_sdk
    from sentry_sdk.envelope import Item

    from .conversation import Conversation
    from .span import Span

LIMIT = 20_000
"""Items waiting to be processed; logs and envelopes of the SDK are refused at half of that."""

OVERFLOW: Final = "queue_overflow"
SHUTDOWN: Final = "shutdown"
STORE: Final = "store_error"
INTERNAL: Final = "internal_error"


@dataclass(slots=True)
class Opened:
    """A conversation began."""

    conversation: Conversation


@dataclass(slots=True)
class HandedOver:
    """A running conversation has a batch of finished spans."""

    conversation: Conversation


@dataclass(slots=True)
class Closed:
    """A conversation ended."""

    conversation: Conversation


@dataclass(slots=True)
class Refused:
    """A conversation ended for which there was no room: what delivery has of it is lost too."""

    key: int
    """Its ``id()``; the conversation itself must not wait here."""
    trace_id: str


@dataclass(slots=True)
class Late:
    """A span finished after its conversation was delivered."""

    conversation: Conversation
    span: Span


@dataclass(slots=True)
class Error:
    """An error was reported, under these scopes."""

    error: BaseException
    isolation: sentry_sdk.Scope
    scope: sentry_sdk.Scope


@dataclass(slots=True)
class Log:
    """Something was logged, under these scopes."""

    record: LogRecord
    isolation: sentry_sdk.Scope
    scope: sentry_sdk.Scope


@dataclass(slots=True)
class Flush:
    """Somebody waits until all that was handed over before this has been delivered."""

    deadline: float
    """Until when it is waited for, in monotonic seconds."""
    number: int = 0
    """The last envelope that it waits for; known once everything before it is an envelope."""
    done: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue)


@dataclass(slots=True)
class Stop:
    """The last item: what can't be delivered before the deadline is given up."""

    deadline: float
    done: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue)


Handed = Opened | HandedOver | Closed | Refused | Late | Error | Log | Envelope | Flush | Stop


class Losses:
    """Spans and events that were given up, by reason. Any thread may add to them."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter] = {}

    def add(self, reason: str, count: int = 1) -> None:
        """Count what is given up."""
        counter = self._counts.get(reason) or self._counts.setdefault(reason, Counter())
        for _ in range(count):
            counter.add()

    def read(self) -> dict[str, int]:
        """The counts so far, without reasons that never occurred."""
        counts = {reason: counter.read() for reason, counter in list(self._counts.items())}
        return {reason: count for reason, count in counts.items() if count}


class Outbox:
    """What calls have handed over and delivery hasn't taken yet. All methods never wait."""

    def __init__(self, losses: Losses) -> None:
        self.items: queue.SimpleQueue[Handed] = queue.SimpleQueue()
        self.shut = False
        """Whether it takes no more: what comes now is counted as lost."""
        self.running: dict[int, Conversation] = {}
        """Conversations from their beginning until delivery is done with them, by ``id()``."""
        self._losses = losses

    def opened(self, conversation: Conversation) -> None:
        """A conversation began."""
        self.running[id(conversation)] = conversation

    def show(self, conversation: Conversation) -> None:
        """The store is to show it while it runs."""
        self._put(Opened(conversation), first=False)  # its end says all of this again

    def hand_over(self, conversation: Conversation) -> None:
        """A running conversation has a batch of finished spans."""
        self._put(HandedOver(conversation), first=True)  # refused, they go with the next batch

    def closed(self, conversation: Conversation) -> None:
        """A conversation ended."""
        if not self._put(Closed(conversation), first=True):
            self._losses.add(self._refusal, len(conversation.seal()) + 1)
            # a few bytes: always room for these
            self.items.put(Refused(id(conversation), conversation.trace_id))

    def late(self, conversation: Conversation, span: Span) -> None:
        """A span finished after its conversation was delivered."""
        self._put_or_lose(Late(conversation, span))

    def captured(
        self, error: BaseException, isolation: sentry_sdk.Scope, scope: sentry_sdk.Scope
    ) -> None:
        """An error was reported."""
        self._put_or_lose(Error(error, isolation, scope))

    def logged(
        self, record: LogRecord, isolation: sentry_sdk.Scope, scope: sentry_sdk.Scope
    ) -> None:
        """Something was logged."""
        self._put_or_lose(Log(record, isolation, scope), first=record.levelno >= ERROR)

    def envelope(self, envelope: Envelope) -> None:
        """The SDK has an envelope to send."""
        if not self._put(envelope, first=False):
            self._losses.add(self._refusal, events_in(envelope))

    def flush(self, timeout: float) -> bool:
        """Wait until everything handed over so far has been delivered; False: it hasn't."""
        flush = Flush(time.monotonic() + timeout)
        self.items.put(flush)
        return answer(flush.done, timeout)

    def stop(self, timeout: float) -> bool:
        """Take no more, and have the rest delivered; False when delivery didn't get to its end."""
        self.shut = True
        stop = Stop(time.monotonic() + timeout)
        self.items.put(stop)
        return answer(stop.done, timeout + 0.2)

    @property
    def _refusal(self) -> str:
        """Why it takes no more."""
        return SHUTDOWN if self.shut else OVERFLOW

    def _put_or_lose(self, item: Late | Error | Log, *, first: bool = True) -> None:
        if not self._put(item, first=first):
            self._losses.add(self._refusal)

    def _put(self, item: Handed, *, first: bool) -> bool:
        limit = LIMIT if first else LIMIT // 2
        if self.shut or self.items.qsize() >= limit:
            return False
        self.items.put(item)
        return True


def answer(done: queue.SimpleQueue[bool], timeout: float) -> bool:
    """What is put there within so many seconds, or False."""
    try:
        return done.get(timeout=max(0.0, timeout))
    except queue.Empty:
        return False


def events_in(envelope: Envelope) -> int:
    """Spans, logs and events of an envelope."""
    return sum(map(events_of, envelope))


def events_of(item: Item) -> int:
    """Spans of an item, logs of it, or 1."""
    transaction = item.get_transaction_event()
    if transaction is None:
        return int(item.headers.get("item_count", 1))
    spans = transaction.get("spans")
    return 1 + len(spans) if isinstance(spans, list) else 1
