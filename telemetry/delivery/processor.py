"""Makes rows of the local store and envelopes for Sentry of what was handed over.

All of it in the delivery thread, where there is time for encoding and for SQLite.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.scope import use_isolation_scope, use_scope
from sentry_sdk.utils import exc_info_from_error

from ..context.scopes import LATER, OURS, DeliveringScope
from ..encoding import streamed_spans, transactions
from ..encoding.ai_spans import travels_alone
from ..encoding.envelope import MAX_SPANS, batches
from ..encoding.values import paced, size_of
from ..store import StoredError, bounded
from . import log_events
from .content import NOTHING_ELSE, Policy, Projection
from .drops import INTERNAL, OVERFLOW, Drops, events_in
from .messages import (
    Closed,
    Error,
    Event,
    HandedOver,
    Late,
    Logged,
    Opened,
    Refused,
)
from .redaction import Redaction
from .unobserved import unobserved

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..trace.registry import Registry
    from ..trace.span import Span
    from ..trace.transaction import Transaction
    from .lanes import StoreLane
    from .messages import Recorded
    from .send_queue import SendQueue
    from .side_car import SideCar

T = TypeVar("T")

LOGS_AT_ONCE = 500
"""Logs after which the SDK's batch of them is emptied: it holds twice as many, and the SDK's own
thread, which empties it otherwise, may get no turn in a burst."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Encoded:
    """The encoded spans of a transaction that isn't over."""

    own: list[dict[str, Any]] = field(default_factory=list)
    """For its own event, at most what fits one."""
    further: list[dict[str, Any]] = field(default_factory=list)
    """For the next part."""

    @property
    def count(self) -> int:
        """Spans in it."""
        return len(self.own) + len(self.further)


class Processor:
    """Stores what was handed over and has it sent.

    Args:
        store: writes to the local trace store, or None.
        queue: the envelopes that wait for Sentry, or None.
        drops: where what can't be stored or encoded is counted.
        registry: the transactions of the process; those that are done with leave it.
        content: whether what people said goes to Sentry.
        policy: what else may be sent, where it doesn't.
        streaming: whether Sentry gets spans instead of transactions.
    """

    def __init__(
        self,
        *,
        store: StoreLane | None,
        queue: SendQueue | None,
        drops: Drops,
        registry: Registry,
        content: bool,
        streaming: bool,
        policy: Policy = NOTHING_ELSE,
    ) -> None:
        self._store = store
        self._queue = queue
        self._drops = drops
        self._registry = registry
        self._content = content
        self._streaming = streaming
        self._redaction = None if content else Redaction(registry)
        self._projection = (
            None if self._redaction is None else Projection(policy, self._redaction, drops)
        )
        self.side_car: SideCar | None = None
        """Gets a copy of each envelope."""
        self._logs = 0
        """Logs that were captured since the SDK's batch was emptied."""
        self._encoded: dict[int, _Encoded] = {}
        """By ``id()`` of their transaction."""

    def handle(self, message: Recorded) -> None:
        """Store it, have it sent; whatever goes wrong with it is counted, and costs it alone."""
        try:
            match message:
                case Opened(transaction):
                    if self._store is not None:
                        show = self._store.store.open_conversation
                        self._store.write(0, show, transaction.record())
                case HandedOver(transaction):
                    self._take_some(transaction)
                case Closed(transaction):
                    self._deliver(transaction)
                case Refused():
                    self.drop(message, OVERFLOW)
                case Late(transaction, span):
                    self._deliver_late(transaction, span)
                case Error(error, isolation, scope):
                    hint = {"exc_info": exc_info_from_error(error), LATER: True, OURS: True}
                    capture = functools.partial(sentry_sdk.capture_event, hint=hint)
                    _apart(_under, isolation, scope, capture, {"level": "error"})
                case Event(event, hint, merged, isolation, scope):
                    capture = functools.partial(
                        sentry_sdk.get_client().capture_event,
                        hint={**hint, OURS: True},
                        scope=merged,
                    )
                    _apart(_under, isolation, scope, capture, event)
                case Logged(log, isolation, scope):
                    _apart(_under, isolation, scope, log_events.send, log)
                    self._logs += 1
                    if self._logs >= LOGS_AT_ONCE:
                        self._logs = 0
                        collect()
                case Envelope():
                    self.send(message)
        except Exception:
            self._drops.add(INTERNAL)
            with unobserved():
                logger.warning(
                    "telemetry dropped %s, which it could not deliver",
                    type(message).__name__,
                    exc_info=True,
                )

    # -- transactions ------------------------------------------------------------------------------

    def _take_some(self, transaction: Transaction) -> None:
        """Take what a transaction has handed over, which by now may be over itself."""
        spans = transaction.spans.take()
        if self._registry.awaits_delivery(transaction):
            self._take(transaction, spans)
        else:
            for span in spans:
                self._deliver_late(transaction, span)

    def _take(self, transaction: Transaction, spans: list[Span], *, last: bool = False) -> _Encoded:
        encoded = self._encoded.setdefault(id(transaction), _Encoded())
        with_root = [*spans, transaction.root] if last else spans
        self._hear(transaction, with_root)
        self._store_spans(transaction, spans)
        if not self._sends(transaction):
            return encoded
        if self._streaming:
            self._send_spans(transaction, with_root)
            return encoded
        if sentry_sdk.get_client().options["stream_gen_ai_spans"]:
            self._send_spans(transaction, [span for span in spans if travels_alone(span)])
            spans = [span for span in spans if not travels_alone(span)]
        new = [
            transactions.encode_span(transaction, span, content=self._content)
            for span in paced(spans)
        ]
        room = MAX_SPANS - len(encoded.own)
        encoded.own += new[:room]
        encoded.further += new[room:]
        while len(encoded.further) >= MAX_SPANS:
            part, encoded.further = encoded.further[:MAX_SPANS], encoded.further[MAX_SPANS:]
            self._send_parts(transaction, part)
        return encoded

    def _deliver(self, transaction: Transaction) -> None:
        try:
            encoded = self._take(transaction, transaction.spans.seal(), last=True)
        finally:
            self._done_with(id(transaction), transaction.trace_id)
        if self._store is not None:
            self._store.write(1, self._store.store.close_conversation, transaction.record())
        if self._streaming or not self._sends(transaction):
            return
        own, *rest = [*batches(encoded.own, size_of)] or [[]]
        self._capture(
            transaction, transactions.transaction_event(transaction, own, content=self._content)
        )
        for batch in rest:
            self._capture(transaction, transactions.part_event(transaction, batch))
        self._send_parts(transaction, encoded.further)

    def _send_parts(self, transaction: Transaction, spans: list[dict[str, Any]]) -> None:
        for batch in batches(spans, size_of):
            self._capture(transaction, transactions.part_event(transaction, batch))

    def _send_spans(self, transaction: Transaction, spans: list[Span]) -> None:
        anew = None if self._projection is None else self._projection.spans(transaction.trace_id)
        make = None if anew is None else anew.span
        for envelope in streamed_spans.envelopes(
            transaction, spans, content=self._content, make=make
        ):
            self._pass_on(envelope if anew is None else anew.envelope(envelope))

    def _deliver_late(self, transaction: Transaction, span: Span) -> None:
        self._hear(transaction, [span])
        self._store_spans(transaction, [span])
        if not self._sends(transaction):
            return
        alone = travels_alone(span) and sentry_sdk.get_client().options["stream_gen_ai_spans"]
        if self._streaming or alone:
            self._send_spans(transaction, [span])
        else:
            event = transactions.late_event(transaction, span, content=self._content)
            self._capture(transaction, event)

    def _sends(self, transaction: Transaction) -> bool:
        delivers = self._queue is not None or self.side_car is not None
        return delivers and transaction.is_sampled

    def _capture(self, transaction: Transaction, event: dict[str, Any]) -> None:
        _under(*transaction.said_by, transactions.capture, event)

    def _done_with(self, key: int, trace_id: str) -> _Encoded:
        """Forget a transaction that is over: its encoded spans, which weren't sent."""
        self._registry.done(key)
        if self._redaction is not None:
            self._redaction.ended(trace_id)
        return self._encoded.pop(key, None) or _Encoded()

    def _hear(self, transaction: Transaction, spans: list[Span]) -> None:
        if self._redaction is not None:
            self._redaction.heard(transaction.trace_id, spans)

    # -- storing -----------------------------------------------------------------------------------

    def _store_spans(self, transaction: Transaction, spans: list[Span]) -> None:
        if self._store is not None and spans:
            records = [span.record() for span in paced(spans)]
            add = self._store.store.add_spans
            self._store.write(len(records), add, transaction.trace_id, transaction.id, records)

    def _store_error(self, event: dict[str, Any]) -> None:
        trace = (event.get("contexts") or {}).get("trace") or {}
        values = (event.get("exception") or {}).get("values") or [{}]
        message = (event.get("logentry") or {}).get("formatted") or event.get("message")
        assert self._store is not None
        self._store.write(
            1,
            self._store.store.add_error,
            None,
            StoredError(
                trace.get("trace_id"),
                trace.get("span_id"),
                time.time(),
                str(values[-1].get("type") or event.get("level") or "error"),
                str(values[-1].get("value") or message or ""),
                event.get("event_id"),
            ),
            bounded(event),  # here and now: sending may cut it
        )

    # -- sending -----------------------------------------------------------------------------------

    def send(self, envelope: Envelope) -> None:
        """Store the error in it, and have it sent without what people said."""
        event = envelope.get_event()
        if event is not None and self._store is not None:
            self._store_error(dict(event))
        if self._queue is None and self.side_car is None:
            return
        sent = envelope if self._projection is None else self._projection.of(envelope)
        if sent is not None:
            self._pass_on(sent)

    def _pass_on(self, envelope: Envelope) -> None:
        """Have it sent as it is: nobody's words are in it."""
        if self.side_car is not None:
            self.side_car.copy(envelope)
        if self._queue is not None:
            self._queue.add(envelope)

    def weigh(self, message: Recorded) -> int:
        """Count the spans and events that a message would come to."""
        match message:
            case HandedOver(transaction) if self._sends(transaction):
                return transaction.spans.finished
            case Closed(transaction) if self._sends(transaction):
                encoded = self._encoded.get(id(transaction))
                return transaction.spans.finished + 1 + (encoded.count if encoded else 0)
            case Refused(key) if key in self._encoded:
                return self._encoded[key].count
            case Late() | Error() | Event() | Logged():
                return 1
            case Envelope():
                return events_in(message)
            case _:
                return 0

    def drop(self, message: Recorded, reason: str) -> None:
        """Drop a message, and count what it would have come to."""
        self._drops.add(reason, self.weigh(message))
        match message:
            case HandedOver(transaction):
                transaction.spans.take()
            case Closed(transaction):
                transaction.spans.seal()
                self._done_with(id(transaction), transaction.trace_id)
            case Refused(key, trace_id):
                self._done_with(key, trace_id)


def collect() -> None:
    """Take what the SDK's own batches (logs, metrics, its spans) still hold."""
    sentry_sdk.get_client().flush(timeout=0)


def _apart(function: Callable[..., None], *arguments: Any) -> None:
    """Call it in a context of its own: Sentry remembers the last error in each, and keeps it."""
    contextvars.copy_context().run(function, *arguments)


def _under(
    isolation: sentry_sdk.Scope,
    scope: sentry_sdk.Scope,
    capture: Callable[[T], object],
    what: T,
) -> None:
    """Capture something under the scopes that it happened under."""
    scope = scope.fork()
    scope.__class__ = DeliveringScope
    with use_isolation_scope(isolation), use_scope(scope):
        capture(what)
