"""A transaction: a unit of work that owns its scopes and its spans; nothing looks them up.

:class:`Transaction` is what crosses a boundary. A function started elsewhere gets it from
:meth:`Transaction.bind` or :meth:`Transaction.attach`, a callback that only has to finish
something gets a :class:`~telemetry.trace.span.Span` handle.

Most transactions are conversations (:mod:`.conversation`).
"""

from __future__ import annotations

import itertools
import logging
import sys
import uuid
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import sentry_sdk

from ..context import chain, origin, surfacing
from ..context.scopes import as_values, snapshot
from ..context.wording import keep_texts
from ..frozen import frozen
from ..headers import valid
from ..records import ConversationRecord
from ..summary import Verdict
from ..written import Written, starter
from .audio import AudioFile
from .binding import Attached, bound
from .conversation_scope import ConversationScope, TaggedScope
from .sentry_span import TransactionMarker
from .sentry_streamed import SegmentMarker
from .span import Span, current_span, nearest_span
from .span_set import SpanSet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from ..context.node import Link
    from ..summary import Keep
    from .sink import Sink

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


class Transaction:
    """A unit of work, open from its creation until :meth:`close`.

    A service's request, a message taken from a queue, a call as its caller sees it; a
    :class:`~.conversation.Conversation`. As a context manager (plain or async) it is current
    inside the block and closed at its end.

    Attributes:
        id: the conversation's id (``gen_ai.conversation.id``), or this transaction's own.
        name: the transaction's name.
        trace_id: Sentry's trace id, 32 hex digits.
        root: the root span.
        transaction: Sentry's transaction; ``scope.transaction`` in every task of this one. In the
            stream lifecycle its segment span.
        base: the isolation and current scope outside of it, which its own were forked from.
        isolation: Sentry's isolation scope of the transaction: its user, tags and contexts.
        scope: the current scope that its blocks are forked from.
        said_by: the scopes that its events are built under: live ones, and once it has ended a
            copy, of what it had then. Late code still runs under the live ones.
        ended: whether it has been closed.
        spans: its spans, until delivery has taken them.
        audio: files with the audio of it.
        sink: the place that it and its spans are handed over to.
        verdict: delivery's decision on whether it is sent, where that falls at its end.
    """

    def __init__(
        self,
        sink: Sink[Transaction],
        name: str,
        *,
        op: str,
        id: str | None = None,
        user: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        attributes: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.sink = sink
        self.id = id or uuid.uuid4().hex
        self.name: str = name if isinstance(name, Written) else Written(name, *starter())
        self.ended = False
        self.verdict: Verdict | None = None
        self.spans = SpanSet(streaming=sink.streaming and not sink.holds, stores=sink.stores)
        self.audio: tuple[AudioFile, ...] = ()
        self._closing = itertools.count()
        self._link: Link | None = None
        self._on_close: list[Callable[[], object]] = []

        # Forked from what is outside any conversation, so that nothing is inherited from another.
        self.base = chain.outermost()
        self.isolation = snapshot(self.base[0])
        self.isolation.__class__ = TaggedScope
        self.isolation.clear_breadcrumbs()  # a process's are of other callers, too
        self.isolation.set_client(sink.client)  # also when a library calls sentry_sdk.init again
        self.scope: sentry_sdk.Scope = self.base[1].fork()
        self.scope.span = None
        self.scope.__class__ = ConversationScope  # a copy of whatever it was, but for its methods
        self.said_by = self.isolation, self.scope

        self.root = Span(self, Written(op, *starter()), self.name, None, None, attributes)
        with (
            sentry_sdk.scope.use_isolation_scope(self.isolation),
            sentry_sdk.scope.use_scope(self.scope),
        ):
            lifecycle = SegmentMarker if sink.streaming else TransactionMarker
            self.transaction = lifecycle.begin(self.root, valid(headers, trusted=True))
        self.trace_id: str = self.transaction.trace_id
        self._user: dict[str, Any] = {}
        self._tags: dict[str, str] = {}
        if user:
            self.set_user(user)
        for key, value in (tags or {}).items():  # said before anybody has spoken
            self.set_tag(key, Written.known(value) if isinstance(value, str) else value)
        self.spans.add(self.root)
        self._began()
        sink.opened(self)
        surfacing.watch_running_loop()

    def _began(self) -> None:
        """Count it, or say more of it, before it is handed over; what kinds differ in."""

    # -- spans -----------------------------------------------------------------------------------

    def start_span(
        self,
        op: str,
        name: str | None = None,
        *,
        parent: Span | None = None,
        started_at: float | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Span:
        """Start a span and return its handle; it isn't current until it is entered.

        The parent is decided here: ``parent``, else the current span if it is one of this
        conversation's, else the root. ``started_at`` is in Unix seconds, now by default.
        """
        if parent is None:
            parent = self.current_span()
        span = Span(self, op, name, parent, started_at, attributes)
        self.spans.add(span)
        tally = self.sink.tally
        tally.spans.add()
        if self.ended:
            span.late = True
            tally.late_spans.add()
        return span

    def span(
        self, op: str, name: str | None = None, *, attributes: Mapping[str, Any] | None = None
    ) -> Span:
        """Start a span to be entered: ``with conversation.span("gen_ai.chat") as span:``."""
        span = self.start_span(op, name, attributes=attributes)
        span.code = sys._getframe(1).f_code
        return span

    def current_span(self) -> Span:
        """The current span if it is one of this conversation's, else its root."""
        here = nearest_span()
        return here if here is not None and here.conversation is self else self.root

    def get_span_by_op(self, op: str) -> Span | None:
        """The newest open span of this op, for spans begun in one task and ended in another."""
        return next((span for span in reversed(self.spans.open()) if span.op == op), None)

    def finished(self, span: Span, ended_at: float | None) -> None:
        """Take a span that ends; called by :meth:`Span.finish`, harmless when repeated."""
        if span is self.root:
            self.close(ended_at=ended_at)
            return
        if self.spans.end(span, ended_at):
            self._hand_over(span)

    def _hand_over(self, span: Span) -> None:
        """Hand over a late span, or the batch that is full with this one."""
        if span.late:
            self.sink.late(self, span)
        elif self.spans.is_sealed:
            # Delivery has taken everything before this one: what is left goes on its own.
            for late in self.spans.take():
                self.sink.late(self, late)
        else:
            self.sink.hand_over(self)

    # -- life ------------------------------------------------------------------------------------

    def close(self, error: BaseException | None = None, *, ended_at: float | None = None) -> None:
        """End the conversation and hand it to delivery. Any task or thread may; once is enough.

        Spans still open are closed with status ``cancelled`` and counted as ``open_at_finish``.
        """
        if next(self._closing):
            return
        if error is not None:
            self.root.fail(error)
        self.ended = True  # what starts from here on is late, so the list below is complete
        for span in self.spans.open():
            if span is not self.root:
                self._cancel(span, ended_at)
        self.spans.end_root(self.root, ended_at)
        self.said_by = chain.forked(self.isolation, self.scope)
        as_values(*self.said_by)
        self.sink.closed(self)
        while self._on_close:
            try:
                self._on_close.pop()()
            except Exception:
                logger.exception("something that waited for conversation %s to close", self.id)

    def cancel_open_spans(self) -> None:
        """Close the spans that are open, such as late ones, as what they belong to is over."""
        for span in self.spans.open():
            if span.is_open:  # closing an orphan's root closes those below it
                self._cancel(span, None)

    def _cancel(self, span: Span, ended_at: float | None) -> None:
        span.status = "cancelled"
        self.sink.tally.open_at_finish.add()
        span.finish(ended_at)

    def left_to_parent(self, sink: Sink[Transaction]) -> None:
        """In a forked child: the parent ends and delivers it; what the child adds is late.

        ``sink`` is the child's own.
        """
        next(self._closing)
        self.ended = True
        self.spans.clear()
        self.sink = sink

    def on_close(self, function: Callable[[], object]) -> None:
        """Call ``function`` when the conversation ends, in whatever ends it."""
        self._on_close.append(function)

    # -- crossing a boundary ---------------------------------------------------------------------

    def attach(self) -> Attached[Self]:
        """Make it current in a task or thread that was born before it: ``with c.attach():``."""
        return Attached(self, self.root)

    def bind(self, function: Callable[P, R]) -> Callable[P, R]:
        """Carry this conversation, and its span that is current now, into another task or thread.

        Works on plain and coroutine functions; the result may be called any number of times, also
        concurrently.
        """
        return bound(function, self.current_span())

    def __enter__(self) -> Self:
        self._link = chain.push(self.root, self.transaction)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(error)
        if self._link is not None:
            chain.pop(self._link, error)
            self._link = None

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    # -- what can be heard of it -----------------------------------------------------------------

    def record_audio(self, *, keep: Keep | None = None) -> AudioFile | None:
        """Get a place for a recording, which the store keeps and deletes with the conversation.

        None where there is no store, or it is over. ``keep`` is asked when it has ended, in the
        store's thread; a recording that it doesn't choose is deleted.
        """
        folder = self.sink.audio_folder
        if folder is None or self.ended:
            return None
        number = f"-{len(self.audio) + 1}" if self.audio else ""
        file = AudioFile(folder / f"{self.trace_id}-{self.root.id}{number}.ogg", keep)
        self.audio = (*self.audio, file)
        return file

    # -- what its events say -----------------------------------------------------------------------

    @property
    def is_sampled(self) -> bool:
        """True if Sentry gets it; the local store does in any case."""
        if self.verdict is not None:
            return self.verdict is not Verdict.LEFT_OUT
        return self.transaction.is_sampled

    def sampling_context(self) -> dict[str, str]:
        """The dynamic sampling context that its events and envelopes carry.

        Sentry counts one that was chosen as one; of the others, as many as the share that is sent
        says.
        """
        context = self.transaction.get_baggage().dynamic_sampling_context()
        if self.verdict is Verdict.CHOSEN:
            context |= {"sampled": "true", "sample_rate": "1"}
        return context

    def rename(self, name: str) -> None:
        """Give its transaction another name, for when that is known late: a request's route."""
        name = name if isinstance(name, Written) else Written(name, *starter())
        self.name = self.root.name = self.transaction.name = name

    def set(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes to its root span."""
        self.root.set(attributes)

    def fail(self, error: BaseException) -> None:
        """Mark it failed: status and ``error.type`` of its root span."""
        self.root.fail(error)

    def set_tag(self, key: str, value: str) -> None:
        """Tag the conversation's transaction and errors."""
        if not self.ended:
            self._tags[key] = value
        self.isolation.set_tag(key, value)

    def set_user(self, user: Mapping[str, Any]) -> None:
        """Say whose conversation it is, on its transaction and errors."""
        if not self.ended:
            self._user = frozen(dict(user))
        self.isolation.set_user(dict(user))

    def set_context(self, key: str, value: Mapping[str, Any]) -> None:
        """Add a structured context to its transaction and errors."""
        self.isolation.set_context(key, dict(value))

    def capture_exception(self, error: BaseException) -> None:
        """Report an error under this conversation's user, tags and trace. Never waits."""
        here = current_span()
        if here is None or here.conversation is not self:
            scopes = chain.forked(self.isolation, self.scope)
        else:
            scopes = chain.scopes_here(None)
        as_values(*scopes)
        keep_texts(error)
        origin.reported_under(error, scopes[1])
        self.sink.captured(error, *scopes)

    def trace_headers(self) -> dict[str, str]:
        """``sentry-trace`` and ``baggage`` of its current span, computed now."""
        return self.current_span().trace_headers()

    def known_as(self) -> tuple[Any, ...]:
        """All that :meth:`record` says that may change, but for its root span: to be compared."""
        root = self.root
        return self.name, root.op, root.status, root.ended_at, self._user, tuple(self._tags.items())

    def record(self) -> ConversationRecord:
        """The conversation as a value, with its root span alone."""
        return ConversationRecord(
            id=self.id,
            trace_id=self.trace_id,
            name=self.name,
            started_at=self.root.started_at,
            ended_at=self.root.ended_at,
            status=self.root.status if self.ended else "open",
            op=self.root.op,
            user=self._user,
            tags=self._tags,
            spans=(self.root.record(),),
        )

    def __repr__(self) -> str:
        state = "ended" if self.ended else "open"
        return f"<{type(self).__name__} {self.name!r} {self.id} {state}>"
