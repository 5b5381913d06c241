"""What becomes of what was handed over: rows of the local store, envelopes for Sentry.

All of it in the delivery thread, where there is time for encoding and for SQLite.
"""

from __future__ import annotations

import contextvars
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.scope import use_isolation_scope, use_scope

from . import encode, items, logs
from .outbox import (
    INTERNAL,
    OVERFLOW,
    STORE,
    Closed,
    Error,
    Flush,
    HandedOver,
    Late,
    Log,
    Opened,
    Refused,
    Stop,
    events_in,
)
from .quotes import Quotes
from .transport import unobserved

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conversation import Conversation
    from .dispatch import Dispatch
    from .outbox import Handed, Losses
    from .span import Span
    from .store import TraceStore

T = TypeVar("T")

logger = logging.getLogger(__name__)

CONTEXTS = 256
"""Traces whose errors were captured last: what is repeated in one of them is captured once."""


@dataclass(slots=True)
class _Running:
    """What a conversation that isn't over has handed in so far."""

    held: list[dict[str, Any]] = field(default_factory=list)
    """Encoded spans for its own transaction, at most what fits one."""
    further: list[dict[str, Any]] = field(default_factory=list)
    """Encoded spans for the next part."""


class Recorder:
    """Stores things and has them sent.

    Args:
        store: the local trace store, or None.
        dispatch: what envelopes are sent by.
        losses: where what can't be stored or encoded is counted.
        running: conversations that aren't done with, by ``id()``; those that are leave it.
        content: whether what people said goes to Sentry.
        streaming: whether Sentry gets spans instead of transactions.
    """

    def __init__(
        self,
        *,
        store: TraceStore | None,
        dispatch: Dispatch,
        losses: Losses,
        running: dict[int, Conversation],
        content: bool,
        streaming: bool,
    ) -> None:
        self._store = store
        self._dispatch = dispatch
        self._losses = losses
        self._not_over = running
        self._content = content
        self._streaming = streaming
        self._quotes = None if content or dispatch.outlet is None else Quotes(running)
        self._running: dict[int, _Running] = {}
        self._contexts: dict[str | None, contextvars.Context] = {}

    def handle(self, item: Handed) -> None:
        """Store it, have it sent; whatever goes wrong with it is counted, and costs it alone."""
        try:
            match item:
                case Opened(conversation):
                    if self._store is not None:
                        self._keep(0, self._store.open_conversation, conversation.record())
                case HandedOver(conversation):
                    self._take_some(conversation)
                case Closed(conversation):
                    self._deliver(conversation)
                case Refused():
                    self.forget(item, OVERFLOW)
                case Late(conversation, span):
                    self._deliver_late(conversation, span)
                case Error(error, isolation, scope):
                    capture = sentry_sdk.capture_exception
                    self._apart(scope).run(_under, isolation, scope, capture, error)
                case Log(record, isolation, scope):
                    self._apart(scope).run(_under, isolation, scope, logs.send, record)
                case Envelope():
                    self.send(item)
        except Exception:
            self._losses.add(INTERNAL)
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

    # -- conversations -----------------------------------------------------------------------------

    def _take_some(self, conversation: Conversation) -> None:
        """Take what a conversation has handed over, which by now may be over itself."""
        spans = conversation.take_finished()
        if id(conversation) in self._not_over:
            self._take(conversation, spans)
        else:
            for span in spans:
                self._deliver_late(conversation, span)

    def _take(
        self, conversation: Conversation, spans: list[Span], *, last: bool = False
    ) -> _Running:
        running = self._running.setdefault(id(conversation), _Running())
        self._hear(conversation, [*spans, conversation.root] if last else spans)
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
        if self._streaming:
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
            self._done_with(id(conversation), conversation.trace_id)
        if self._store is not None:
            self._keep(1, self._store.close_conversation, conversation.record())
        if self._streaming or not self._sends(conversation):
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
            self.send(envelope)

    def _deliver_late(self, conversation: Conversation, span: Span) -> None:
        self._hear(conversation, [span])
        if self._store is not None:
            records = [span.record()]
            self._keep(1, self._store.add_spans, conversation.trace_id, conversation.id, records)
        if not self._sends(conversation):
            return
        if self._streaming:
            self._send_spans(conversation, [span])
        else:
            event = encode.late_event(conversation, span, content=self._content)
            self._capture(conversation, event)

    def _sends(self, conversation: Conversation) -> bool:
        return self._dispatch.outlet is not None and bool(conversation.transaction.sampled)

    def _capture(self, conversation: Conversation, event: dict[str, Any]) -> None:
        _under(*conversation.said_by, encode.capture, event)

    def _done_with(self, key: int, trace_id: str) -> _Running:
        """A conversation is over: what it had handed in and wasn't sent."""
        self._not_over.pop(key, None)
        if self._quotes is not None:
            self._quotes.ended(trace_id)
        return self._running.pop(key, None) or _Running()

    def _hear(self, conversation: Conversation, spans: list[Span]) -> None:
        if self._quotes is not None:
            self._quotes.heard(conversation.trace_id, spans)

    def _keep(self, count: int, write: Callable[..., None], *arguments: Any) -> None:
        """Write to the store. When that fails, Sentry gets what there is all the same."""
        try:
            write(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the store's alone
            self._losses.add(STORE, count)
            with unobserved():
                logger.warning("telemetry could not store: %s", error)

    # -- sending -----------------------------------------------------------------------------------

    def send(self, envelope: Envelope) -> None:
        """Store the error in it, and have it sent without what people said."""
        event = envelope.get_event()
        if event is not None and self._store is not None:
            self._store_error(dict(event))
        if self._quotes is not None:
            self._quotes.leave_out(envelope)
        self._dispatch.add(envelope)

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

    def forget(self, item: Handed, reason: str) -> None:
        """Count what an item would have come to."""
        match item:
            case HandedOver(conversation) if self._sends(conversation):
                self._losses.add(reason, len(conversation.take_finished()))
            case Closed(conversation):
                handed_in = self._done_with(id(conversation), conversation.trace_id)
                if self._sends(conversation):
                    lost = len(conversation.seal()) + 1
                    self._losses.add(reason, lost + len(handed_in.held) + len(handed_in.further))
            case Refused(key, trace_id):
                handed_in = self._done_with(key, trace_id)
                self._losses.add(reason, len(handed_in.held) + len(handed_in.further))
            case Late() | Error() | Log():
                self._losses.add(reason)
            case Envelope():
                self._losses.add(reason, events_in(item))
            case Flush() | Stop():
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
