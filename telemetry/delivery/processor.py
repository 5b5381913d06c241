"""Makes envelopes for Sentry of what was handed over.

All of it in the delivery thread, where there is time for encoding. The store takes spans for itself
(:mod:`.pulse`); from here it gets what they became.
"""

from __future__ import annotations

import contextvars
import functools
import logging
from contextlib import nullcontext
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
from ..stats import Counter
from ..summary import Verdict
from . import log_events
from .drops import INTERNAL, OVERFLOW, Drops, events_in
from .given import Late as LateRow
from .given import Put
from .messages import (
    Closed,
    Error,
    Event,
    HandedOver,
    Late,
    LeftBehind,
    Logged,
    Refused,
)
from .recovered import Recovered
from .unobserved import unobserved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from ..store import Left
    from ..trace.registry import Registry
    from ..trace.span import Span
    from ..trace.transaction import Transaction
    from .dispatch import Dispatch
    from .messages import Recorded
    from .recovered import RecoveredSpan
    from .store_lane import StoreLane
    from .tail import Tail

    Given = Transaction | Recovered
    AnySpan = Span | RecoveredSpan

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
    """Has what was handed over sent.

    Args:
        store: writes to the local trace store, or None.
        dispatch: passes envelopes on.
        drops: where what can't be encoded is counted.
        registry: the transactions of the process; those that are done with leave it.
        streaming: whether Sentry gets spans instead of transactions.
        tail: decides on transactions when they end; None if that is done when they begin.
    """

    def __init__(
        self,
        *,
        store: StoreLane | None,
        dispatch: Dispatch,
        drops: Drops,
        registry: Registry,
        streaming: bool,
        tail: Tail | None = None,
    ) -> None:
        self._store = store
        self._dispatch = dispatch
        self._drops = drops
        self._registry = registry
        self._streaming = streaming
        self._tail = tail
        if tail is not None:
            dispatch.heard_error = tail.error
        self.left_out = Counter()
        """Transactions that aren't sent: by the decision on them, not for want of anything."""
        self._logs = 0
        """Logs that were captured since the SDK's batch was emptied."""
        self._encoded: dict[int, _Encoded] = {}
        """By ``id()`` of their transaction."""

    def handle(self, message: Recorded) -> None:
        """Have it sent; whatever goes wrong with it is counted, and costs it alone."""
        try:
            match message:
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
                    self._dispatch.send(message)
                case LeftBehind(left):
                    self._deliver_left(left)
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
            with self._held(transaction, spans):
                self._take(transaction, spans)
        else:
            for span in spans:
                self._deliver_late(transaction, span)

    def _take(
        self, transaction: Given, spans: Sequence[AnySpan], *, last: bool = False
    ) -> _Encoded:
        encoded = self._encoded.setdefault(id(transaction), _Encoded())
        with_root = [*spans, transaction.root] if last else [*spans]
        self._hear(transaction, with_root)
        if not self.sends(transaction):
            return encoded
        if self._is_streamed(transaction):
            self._send_spans(transaction, with_root, last=last)
            return encoded
        if sentry_sdk.get_client().options["stream_gen_ai_spans"]:
            alone = [span for span in spans if travels_alone(span)]
            self._send_spans(transaction, alone, last=last)
            spans = [span for span in spans if not travels_alone(span)]
        content = self._dispatch.rule.content
        new = [
            transactions.encode_span(transaction, span, content=content) for span in paced(spans)
        ]
        room = MAX_SPANS - len(encoded.own)
        encoded.own += new[:room]
        encoded.further += new[room:]
        while len(encoded.further) >= MAX_SPANS:
            part, encoded.further = encoded.further[:MAX_SPANS], encoded.further[MAX_SPANS:]
            with self._copied(transaction, [span["span_id"] for span in part], last=last):
                self._send_parts(transaction, part)
        return encoded

    def _held(
        self, transaction: Transaction, spans: Sequence[Span]
    ) -> AbstractContextManager[None]:
        """Keep what is sent in the block until the transaction ends, if it is decided on then."""
        if self._tail is None:
            return nullcontext()
        self._tail.note(transaction, spans)
        return self._dispatch.held(functools.partial(self._tail.hold, transaction))

    def _deliver(self, transaction: Transaction) -> None:
        with self._dispatch.copied(Put(of=transaction, settles=True, rows=1)):
            try:
                spans = transaction.spans.seal()
                if self._tail is not None:
                    for envelope, events in self._tail.decide(transaction, spans):
                        self._dispatch.pass_on(envelope, events=events)
                if self._dispatch.delivers and not transaction.is_sampled:
                    self.left_out.add()
                self._send_whole(transaction, spans)
            finally:
                self._done_with(id(transaction), transaction.trace_id)

    def _send_whole(self, transaction: Given, spans: Sequence[AnySpan]) -> None:
        """Send the last spans of a transaction, and what they complete."""
        encoded = self._take(transaction, spans, last=True)
        if self._is_streamed(transaction) or not self.sends(transaction):
            return
        content = self._dispatch.rule.content
        own, *rest = [*batches(encoded.own, size_of)] or [[]]
        self._capture(
            transaction, transactions.transaction_event(transaction, own, content=content)
        )
        for batch in rest:
            self._capture(transaction, transactions.part_event(transaction, batch))
        self._send_parts(transaction, encoded.further)

    def _send_parts(self, transaction: Given, spans: list[dict[str, Any]]) -> None:
        for batch in batches(spans, size_of):
            self._capture(transaction, transactions.part_event(transaction, batch))

    def _send_spans(self, transaction: Given, spans: Sequence[AnySpan], *, last: bool) -> None:
        if not spans:
            return
        anew = self._dispatch.anew(transaction.trace_id)
        make = None if anew is None else anew.span
        with self._copied(transaction, [span.id for span in spans], last=last):
            for envelope in streamed_spans.envelopes(
                transaction, spans, content=self._dispatch.rule.content, make=make
            ):
                self._dispatch.pass_on(envelope if anew is None else anew.envelope(envelope))

    def _copied(
        self, transaction: Given, handed: list[str], *, last: bool
    ) -> AbstractContextManager[None]:
        """Tell the store that these spans are in an envelope, where not all will be at once."""
        if last or self._tail is not None or isinstance(transaction, Recovered):
            return nullcontext()
        return self._dispatch.copied(Put(of=transaction, handed=tuple(handed)))

    def _deliver_late(self, transaction: Transaction, span: Span) -> None:
        self._hear(transaction, [span])
        if self._store is not None:
            self._store.give(LateRow(transaction, span))
        if not self.sends(transaction):
            return
        alone = travels_alone(span) and sentry_sdk.get_client().options["stream_gen_ai_spans"]
        if self._streaming or alone:
            self._send_spans(transaction, [span], last=True)
        else:
            content = self._dispatch.rule.content
            self._capture(transaction, transactions.late_event(transaction, span, content=content))

    def _deliver_left(self, left: Left) -> None:
        """Make envelopes of a conversation that another process left, by the stricter rule."""
        dispatch = self._dispatch
        with dispatch.copied(Put(left=left)):
            recovered = Recovered(left, sentry_sdk.get_client())
            if recovered.was_held and self._tail is not None and not self._tail.wants(recovered):
                self.left_out.add()
                return
            with dispatch.by(dispatch.rule.with_other(recovered.rule)):
                try:
                    self._hear(recovered, recovered.all)
                    self._send_whole(recovered, recovered.spans)
                finally:
                    self._done_with(id(recovered), recovered.trace_id)

    def sends(self, transaction: Given) -> bool:
        """True if Sentry gets it; the local store does in any case."""
        undecided = self._tail is not None and transaction.verdict is None
        return self._dispatch.delivers and (undecided or transaction.is_sampled)

    def _is_streamed(self, transaction: Given) -> bool:
        return transaction.streaming if isinstance(transaction, Recovered) else self._streaming

    def _capture(self, transaction: Given, event: dict[str, Any]) -> None:
        if isinstance(transaction, Recovered):
            event.update(transaction.event_facts())
        _under(*transaction.said_by, transactions.capture, event)

    def _done_with(self, key: int, trace_id: str) -> _Encoded:
        """Forget a transaction that is over: its encoded spans, which weren't sent."""
        self._registry.done(key)
        if self._tail is not None:
            self._tail.forget(key, trace_id)
        if self._dispatch.redaction is not None:
            self._dispatch.redaction.ended(trace_id)
        return self._encoded.pop(key, None) or _Encoded()

    def _hear(self, transaction: Given, spans: Sequence[AnySpan]) -> None:
        if self._dispatch.redaction is not None:
            self._dispatch.redaction.heard(transaction.trace_id, spans)

    # -- what there is no time or room for ---------------------------------------------------------

    def weigh(self, message: Recorded) -> int:
        """Count the spans and events that a message would come to."""
        match message:
            case HandedOver(transaction) if self.sends(transaction):
                return transaction.spans.finished
            case Closed(transaction) if self.sends(transaction):
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
                self._give_up(id(transaction), transaction.trace_id)
            case Refused(key, trace_id):
                self._give_up(key, trace_id)

    def _give_up(self, key: int, trace_id: str) -> None:
        """A transaction that is over isn't sent; the store has it."""
        transaction = self._registry.find(key)
        if self._tail is not None and transaction is not None:
            transaction.verdict = Verdict.LEFT_OUT  # what comes late would be half of it
        self._done_with(key, trace_id)
        if self._store is not None and transaction is not None:
            self._store.give(Put(of=transaction, settles=True))


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
