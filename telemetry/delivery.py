"""The one thread that talks to Sentry and to the local store.

A call only appends to a :class:`queue.SimpleQueue`. Its ``put`` is one C call that takes no lock
Python code can see, and it may be re-entered from a signal, a destructor or a logging handler. So
no lock that a profiler wraps, a handler holds or the SDK takes can stand between a call and its
telemetry. Everything slow (encoding, SQLite, HTTP) happens here.

What is waiting is bounded twice, and what overflows is counted by reason: the intake by number of
items, the outbox by number of envelopes. Conversations and errors go before everything else.
"""

from __future__ import annotations

import contextvars
import itertools
import logging
import queue
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import sentry_sdk
from sentry_sdk.envelope import Envelope, Item
from sentry_sdk.scope import use_isolation_scope, use_scope
from sentry_sdk.transport import Transport

from . import encode, items, logs
from .counter import Counter
from .transport import RATE_LIMITED, Delivered, Dropped, Retry, Sent, unobserved

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conversation import Conversation
    from .span import Span
    from .store import TraceStore

T = TypeVar("T")

logger = logging.getLogger(__name__)

INTAKE_LIMIT = 20_000
"""Items waiting to be processed; logs and envelopes of the SDK are refused at half of that."""
OUTBOX_LIMIT = 500
"""Envelopes waiting to be sent."""
BACKOFF = (0.5, 30.0)
"""Seconds before the first and at most before a later attempt, when the server doesn't say."""

CONTEXTS = 256
"""Traces whose errors were captured last: what is repeated in one of them is captured once."""

OVERFLOW = "queue_overflow"
SHUTDOWN = "shutdown"
STORE = "store_error"
INTERNAL = "internal_error"


class Outlet(Protocol):
    """Where envelopes go: :class:`telemetry.transport.Sender`, or a test's memory."""

    def send(self, envelope: Envelope, *, timeout: float | None = None) -> Sent:
        """Send once and say what came of it."""

    def close(self) -> None:
        """Release connections."""


@dataclass(slots=True)
class _Opened:
    conversation: Conversation


@dataclass(slots=True)
class _HandedOver:
    conversation: Conversation


@dataclass(slots=True)
class _Closed:
    conversation: Conversation


@dataclass(slots=True)
class _Refused:
    """A conversation ended for which there was no room."""

    key: int


@dataclass(slots=True)
class _Late:
    conversation: Conversation
    span: Span


@dataclass(slots=True)
class _Error:
    error: BaseException
    isolation: sentry_sdk.Scope
    scope: sentry_sdk.Scope


@dataclass(slots=True)
class _Log:
    record: logging.LogRecord
    isolation: sentry_sdk.Scope
    scope: sentry_sdk.Scope


@dataclass(slots=True)
class _Flush:
    done: queue.SimpleQueue[bool]


@dataclass(slots=True)
class _Stop:
    deadline: float
    done: queue.SimpleQueue[bool]


@dataclass(slots=True)
class _Waiting:
    envelope: Envelope
    events: int
    """Spans in it, or 1."""
    first: bool
    """A conversation or an error: goes before the rest when there isn't room for all."""
    attempts: int = 0
    not_before: float = 0.0
    """A rate limit holds it back until then (monotonic seconds)."""


@dataclass(slots=True)
class _Running:
    """What a conversation that isn't over has handed in so far."""

    held: list[dict[str, Any]] = field(default_factory=list)
    """Encoded spans for its own transaction, at most what fits one."""
    further: list[dict[str, Any]] = field(default_factory=list)
    """Encoded spans for the next part."""


_Item = (
    _Opened | _HandedOver | _Closed | _Refused | _Late | _Error | _Log | Envelope | _Flush | _Stop
)


class Delivery:
    """Owns the thread, the intake and the outbox.

    Args:
        store: the local trace store, or None.
        sender: where envelopes go, or None for nowhere.
        send_content: whether attributes that hold what people said go to Sentry.
        streaming: whether Sentry gets spans (the stream lifecycle) instead of transactions.
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
        self._sender = sender
        self._content = send_content
        self._intake: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._outbox: deque[_Waiting] = deque()
        self._running: dict[int, _Running] = {}
        self._contexts: dict[str | None, contextvars.Context] = {}
        self._flushes: list[_Flush] = []
        self._sending: deque[_Waiting] = deque(maxlen=1)
        self._not_before = 0.0
        self._stopping = False
        self._abandoned = False
        self._lost: dict[str, Counter] = {
            reason: Counter() for reason in (OVERFLOW, SHUTDOWN, STORE, INTERNAL)
        }
        self._thread: threading.Thread | None = None

    # -- called from anywhere ----------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="telemetry-delivery", daemon=True)
        self._thread.start()

    def restart_after_fork(self) -> None:
        """In a forked child: what was waiting is the parent's to deliver."""
        self._intake = queue.SimpleQueue()
        self._outbox.clear()
        self._running.clear()
        self._flushes.clear()
        self._sending.clear()
        self.start()

    def before_fork(self) -> None:
        """In a process that is about to fork: its connection to the store must not be copied."""
        if self._store is not None:
            self._store.pause()

    def after_fork(self) -> None:
        """In both processes: the store may be written to again."""
        if self._store is not None:
            self._store.resume()

    @property
    def is_current_thread(self) -> bool:
        """Whether the caller is the delivery thread."""
        return self._thread is not None and threading.get_ident() == self._thread.ident

    def opened(self, conversation: Conversation) -> None:
        """A conversation began."""
        if self._store is not None:
            self._put(_Opened(conversation), first=False)

    def hand_over(self, conversation: Conversation) -> None:
        """A running conversation has a batch of finished spans."""
        self._put(_HandedOver(conversation), first=True)

    def closed(self, conversation: Conversation) -> None:
        """A conversation ended."""
        if not self._put(_Closed(conversation), first=True):
            self._lose(self._refusal, len(conversation.take_finished()) + 1)
            self._intake.put(_Refused(id(conversation)))  # a few bytes: always room for these

    def late(self, conversation: Conversation, span: Span) -> None:
        """A span finished after its conversation was delivered."""
        if not self._put(_Late(conversation, span), first=True):
            self._lose(self._refusal)

    def captured(
        self, error: BaseException, isolation: sentry_sdk.Scope, scope: sentry_sdk.Scope
    ) -> None:
        """An error was reported."""
        if not self._put(_Error(error, isolation, scope), first=True):
            self._lose(self._refusal)

    def logged(
        self, record: logging.LogRecord, isolation: sentry_sdk.Scope, scope: sentry_sdk.Scope
    ) -> None:
        """Something was logged."""
        first = record.levelno >= logging.ERROR
        if not self._put(_Log(record, isolation, scope), first=first):
            self._lose(self._refusal)

    def envelope(self, envelope: Envelope) -> None:
        """The SDK has an envelope to send."""
        if self.is_current_thread:
            self._enqueue(envelope)
        elif not self._put(envelope, first=False):
            self._lose(self._refusal)

    def flush(self, timeout: float) -> bool:
        """Wait until everything that is waiting now is stored and sent."""
        if self._thread is None or not self._thread.is_alive() or self.is_current_thread:
            return not self._outbox
        done: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._intake.put(_Flush(done))
        return _answer(done, timeout)

    def stop(self, timeout: float) -> bool:
        """Deliver what can be within ``timeout`` seconds, then end the thread.

        False when something was given up; it is counted under ``shutdown``.
        """
        if self._thread is None or not self._thread.is_alive():
            self._give_up()
            return not self._lost[SHUTDOWN].read()
        self._stopping = True
        done: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._intake.put(_Stop(time.monotonic() + timeout, done))
        if _answer(done, timeout + 0.2):
            self._thread.join(timeout)
        else:
            # It sits in a request that has no answer. It is a daemon; nothing waits for it.
            self._abandoned = True
        self._give_up()
        return not self._lost[SHUTDOWN].read()

    def dropped(self) -> dict[str, int]:
        """How many spans and events were given up, by reason."""
        counts = {reason: counter.read() for reason, counter in list(self._lost.items())}
        return {reason: count for reason, count in counts.items() if count}

    @property
    def _refusal(self) -> str:
        """Why the intake takes no more."""
        return SHUTDOWN if self._stopping else OVERFLOW

    def _put(self, item: _Item, *, first: bool) -> bool:
        limit = INTAKE_LIMIT if first else INTAKE_LIMIT // 2
        if self._stopping or self._intake.qsize() >= limit:
            return False
        self._intake.put(item)
        return True

    def _lose(self, reason: str, count: int = 1) -> None:
        counter = self._lost.setdefault(reason, Counter())
        for _ in itertools.repeat(None, count):
            counter.add()

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._abandoned:
            try:
                if self._step():
                    return
            except Exception:
                self._lose(INTERNAL, self._lost_in_flight())
                with unobserved():
                    logger.warning("telemetry could not send", exc_info=True)
        self._give_up()  # what it was busy with when it was abandoned

    def _step(self) -> bool:
        """Handle the next item or send an envelope; True when that was the last."""
        item = self._next()
        match item:
            case _Stop():
                self._finish(item)
                return True
            case _Flush():
                _collect()
                self._flushes.append(item)
            case None if self._outbox:  # another thread may have given it up meanwhile
                self._send_one()
            case None:
                pass
            case _:
                self._handle(item)
        if not self._outbox and self._intake.empty():
            while self._flushes:
                self._flushes.pop().done.put(True)
        return False

    def _lost_in_flight(self) -> int:
        """Forget the envelope that could not even be tried; how many spans or events it had."""
        return sum(self._sending.pop().events for _ in list(self._sending))

    def _next(self) -> _Item | None:
        """The next item; None when there is none and an envelope may be sent."""
        try:
            if not self._outbox:
                return self._intake.get()
            due = min(waiting.not_before for waiting in self._outbox)
            wait = max(self._not_before, due) - time.monotonic()
            if wait > 0:
                return self._intake.get(timeout=wait)
            if len(self._outbox) > OUTBOX_LIMIT // 2 and self._intake.qsize() < INTAKE_LIMIT // 10:
                return None  # a burst waits in the intake, rather than overflow the outbox
            return self._intake.get_nowait()
        except queue.Empty:
            return None

    def _handle(self, item: _Item) -> None:
        try:
            match item:
                case _Opened(conversation):
                    if self._store is not None:
                        self._keep(0, self._store.open_conversation, conversation.record())
                case _HandedOver(conversation):
                    self._take(conversation, conversation.take_finished())
                case _Closed(conversation):
                    self._deliver(conversation)
                case _Refused():
                    self._forget(item, OVERFLOW)
                case _Late(conversation, span):
                    self._deliver_late(conversation, span)
                case _Error(error, isolation, scope):
                    capture = sentry_sdk.capture_exception
                    self._apart(scope).run(_under, isolation, scope, capture, error)
                case _Log(record, isolation, scope):
                    self._apart(scope).run(_under, isolation, scope, logs.send, record)
                case Envelope():
                    self._enqueue(item)
        except Exception:
            self._lose(INTERNAL)
            with unobserved():
                logger.warning("telemetry could not deliver %s", type(item).__name__, exc_info=True)

    def _apart(self, scope: sentry_sdk.Scope) -> contextvars.Context:
        """A context for each trace: Sentry drops what it has just seen *in the same context*, and
        the same exception in two conversations is two errors."""
        span = scope.span or scope.streamed_span
        key = None if span is None else span.trace_id
        apart = self._contexts.pop(key, None) or contextvars.copy_context()
        self._contexts[key] = apart
        if len(self._contexts) > CONTEXTS:
            del self._contexts[next(iter(self._contexts))]
        return apart

    def _take(
        self, conversation: Conversation, spans: list[Span], *, last: bool = False
    ) -> _Running:
        running = self._running.setdefault(id(conversation), _Running())
        if self._store is not None and spans:
            records = [span.record() for span in encode.paced(spans)]
            self._keep(
                len(records),
                self._store.add_spans,
                conversation.trace_id,
                conversation.id,
                records,
            )
        if not self._sends(conversation):
            return running
        if self.streaming:
            self._send_spans(conversation, [*spans, conversation.root] if last else spans)
            return running
        encoded = [
            encode.encode_span(conversation, span, content=self._content)
            for span in encode.paced(spans)
        ]
        room = encode.MAX_SPANS - len(running.held)
        running.held += encoded[:room]
        running.further += encoded[room:]
        while len(running.further) >= encode.MAX_SPANS:
            part, running.further = (
                running.further[: encode.MAX_SPANS],
                running.further[encode.MAX_SPANS :],
            )
            self._send_parts(conversation, part)
        return running

    def _deliver(self, conversation: Conversation) -> None:
        try:
            running = self._take(conversation, conversation.seal(), last=True)
        finally:
            self._running.pop(id(conversation), None)
        if self._store is not None:
            self._keep(1, self._store.close_conversation, conversation.record())
        if self.streaming or not self._sends(conversation):
            return
        own, *rest = [*encode.batches(running.held, encode.size_of)] or [[]]
        self._capture(
            conversation, encode.conversation_event(conversation, own, content=self._content)
        )
        for batch in rest:
            self._capture(conversation, encode.part_event(conversation, batch))
        self._send_parts(conversation, running.further)

    def _send_parts(self, conversation: Conversation, spans: list[dict[str, Any]]) -> None:
        for batch in encode.batches(spans, encode.size_of):
            self._capture(conversation, encode.part_event(conversation, batch))

    def _send_spans(self, conversation: Conversation, spans: list[Span]) -> None:
        for envelope in items.envelopes(conversation, spans, content=self._content):
            self._enqueue(envelope)

    def _deliver_late(self, conversation: Conversation, span: Span) -> None:
        if self._store is not None:
            records = [span.record()]
            self._keep(1, self._store.add_spans, conversation.trace_id, conversation.id, records)
        if not self._sends(conversation):
            return
        if self.streaming:
            self._send_spans(conversation, [span])
        else:
            event = encode.late_event(conversation, span, content=self._content)
            self._capture(conversation, event)

    def _sends(self, conversation: Conversation) -> bool:
        return self._sender is not None and bool(conversation.transaction.sampled)

    def _capture(self, conversation: Conversation, event: dict[str, Any]) -> None:
        _under(*conversation.said_by, encode.capture, event)

    def _keep(self, count: int, write: Callable[..., None], *arguments: Any) -> None:
        """Write to the store. When that fails, Sentry gets what there is all the same."""
        try:
            write(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the store's alone
            self._lose(STORE, count)
            with unobserved():
                logger.warning("telemetry could not store: %s", error)

    # -- sending -----------------------------------------------------------------------------------

    def _enqueue(self, envelope: Envelope) -> None:
        event = envelope.get_event()
        if event is not None and self._store is not None:
            self._store_error(dict(event))
        if self._sender is None:
            return
        waiting = _Waiting(
            envelope,
            events=sum(map(_events_in, envelope)),
            first=any(item.type in ("transaction", "span", "event") for item in envelope),
        )
        if len(self._outbox) >= OUTBOX_LIMIT and not self._make_room(waiting):
            self._lose(OVERFLOW, waiting.events)
            return
        self._outbox.append(waiting)

    def _make_room(self, newcomer: _Waiting) -> bool:
        if not newcomer.first:
            return False
        for waiting in self._outbox:
            if not waiting.first:
                self._outbox.remove(waiting)
                self._lose(OVERFLOW, waiting.events)
                return True
        return False

    def _store_error(self, event: dict[str, Any]) -> None:
        trace = (event.get("contexts") or {}).get("trace") or {}
        values = (event.get("exception") or {}).get("values") or [{}]
        message = (event.get("logentry") or {}).get("formatted") or event.get("message")
        assert self._store is not None
        self._keep(
            1,
            self._store.add_error,
            None,
            trace.get("trace_id"),
            trace.get("span_id"),
            time.time(),
            str(values[-1].get("type") or event.get("level") or "error"),
            str(values[-1].get("value") or message or ""),
        )

    def _send_one(self) -> None:
        """Send the first envelope that no rate limit holds back, else the first."""
        now = time.monotonic()
        self._send(next((w for w in self._outbox if w.not_before <= now), self._outbox[0]))

    def _send(self, waiting: _Waiting, timeout: float | None = None) -> None:
        assert self._sender is not None
        self._outbox.remove(waiting)
        self._sending.append(waiting)
        sent = self._sender.send(waiting.envelope, timeout=timeout)
        try:
            self._sending.pop()
        except IndexError:
            return  # it was given up meanwhile
        match sent:
            case Delivered(left_out):
                if left_out:
                    self._lose(RATE_LIMITED, sum(map(_events_in, left_out)))
            case Dropped(reason):
                self._lose(reason, waiting.events)
            case Retry(after=float() as seconds, reason=reason) if reason == RATE_LIMITED:
                # Others may not be limited: it goes to the back.
                waiting.not_before = time.monotonic() + seconds
                self._outbox.append(waiting)
            case Retry(after, _):
                first, longest = BACKOFF
                delay = min(first * 2**waiting.attempts, longest) if after is None else after
                waiting.attempts += 1
                self._not_before = time.monotonic() + delay
                self._outbox.appendleft(waiting)

    # -- ending ------------------------------------------------------------------------------------

    def _finish(self, stop: _Stop) -> None:
        """Deliver what there is time for; ignore pauses that a server asked for, once."""
        while not self._intake.empty() and time.monotonic() < stop.deadline:
            item = self._intake.get()
            if isinstance(item, (_Flush, _Stop)):
                item.done.put(False)
            else:
                self._handle(item)
        _collect()
        for waiting in list(self._outbox):
            left = stop.deadline - time.monotonic()
            if left <= 0 or self._abandoned:
                break
            self._send(waiting, timeout=left)
        self._give_up()
        if self._store is not None:
            self._store.close()
        if self._sender is not None:
            self._sender.close()
        for flush in self._flushes:
            flush.done.put(False)
        stop.done.put(True)

    def _give_up(self) -> None:
        """Count and forget all that is waiting. Two threads may: each thing is counted once."""
        for envelopes in (self._sending, self._outbox):
            while envelopes:
                with suppress(IndexError):
                    self._lose(SHUTDOWN, envelopes.popleft().events)
        while not self._intake.empty():
            with suppress(queue.Empty):
                self._forget(self._intake.get_nowait(), SHUTDOWN)

    def _forget(self, item: _Item, reason: str) -> None:
        """Count what an item would have come to."""
        match item:
            case _HandedOver(conversation) if self._sends(conversation):
                self._lose(reason, len(conversation.take_finished()))
            case _Closed(conversation) if self._sends(conversation):
                self._lose(reason, len(conversation.seal()) + 1)
                self._forget(_Refused(id(conversation)), reason)
            case _Refused(key):
                held = self._running.pop(key, _Running())
                self._lose(reason, len(held.held) + len(held.further))
            case _Late() | _Error() | _Log():
                self._lose(reason)
            case Envelope():
                self._lose(reason, sum(map(_events_in, item)))
            case _Flush() | _Stop():
                item.done.put(False)


def _under(
    isolation: sentry_sdk.Scope,
    scope: sentry_sdk.Scope,
    capture: Callable[[T], object],
    what: T,
) -> None:
    """Capture something under the scopes that it happened under."""
    with use_isolation_scope(isolation), use_scope(scope):
        capture(what)


class QueueTransport(Transport):
    """The SDK's way to :class:`Delivery`: an envelope is queued and nothing else happens.

    The DSN is for the sampling context in headers, which names its public key.
    """

    def __init__(self, delivery: Delivery, *, dsn: str | None = None) -> None:
        super().__init__({"dsn": dsn})
        self._delivery = delivery

    def capture_envelope(self, envelope: Envelope) -> None:
        """Queue it."""
        self._delivery.envelope(envelope)

    def flush(self, timeout: float, callback: object = None) -> None:
        """Wait for delivery."""
        self._delivery.flush(timeout)


def _collect() -> None:
    """Take what the SDK's own batches (logs, metrics, its spans) still hold."""
    sentry_sdk.get_client().flush(timeout=0)


def _answer(done: queue.SimpleQueue[bool], timeout: float) -> bool:
    try:
        return done.get(timeout=max(0.0, timeout))
    except queue.Empty:
        return False


def _events_in(item: Item) -> int:
    """Spans of an item, logs of it, or 1."""
    transaction = item.get_transaction_event()
    if transaction is None:
        return int(item.headers.get("item_count", 1))
    spans = transaction.get("spans")
    return 1 + len(spans) if isinstance(spans, list) else 1
