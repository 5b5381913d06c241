"""A conversation: the transaction, its scopes and its spans. It owns them; nothing looks them up.

:class:`Conversation` is what crosses a boundary. A function started elsewhere gets it from
:meth:`Conversation.bind` or :meth:`Conversation.attach`, a callback that only has to finish
something gets a :class:`~telemetry.span.Span` handle.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import logging
import math
import sys
import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import sentry_sdk

from . import context
from .ambient import ConversationTransaction
from .attributes import GEN_AI_CONVERSATION_ID, OP_CONVERSATION
from .headers import valid
from .records import ConversationRecord
from .span import Span
from .streamed import ConversationSegment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from .context import Link
    from .runtime import Runtime

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__package__)

HAND_OVER = 1_000
"""A running conversation hands its finished spans to delivery in batches of this many."""
STREAM_EVERY = 5.0
"""Seconds after which the stream lifecycle doesn't wait for a batch to fill, as Sentry doesn't."""


class Conversation:
    """One conversation, open from its creation until :meth:`close`.

    As a context manager (plain or async) it is current inside the block and closed at its end.

    Attributes:
        id: the conversation's id (``gen_ai.conversation.id``).
        name: the transaction's name.
        trace_id: Sentry's trace id, 32 hex digits.
        transaction: Sentry's transaction; ``scope.transaction`` in every task of the conversation.
            In the stream lifecycle its segment span.
        isolation: Sentry's isolation scope of the conversation: its user, tags and contexts.
        ended: whether it has been closed.
        role: a conversation; the ``transaction`` of something else, see
            :func:`telemetry.transaction`; or what stands for a span that had neither.
    """

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        *,
        id: str | None = None,
        op: str = OP_CONVERSATION,
        user: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        attributes: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        role: Literal["conversation", "transaction", "orphan"] = "conversation",
    ) -> None:
        self.runtime = runtime
        self.id = id or uuid.uuid4().hex
        self.name = name
        self.ended = False
        self.role = role
        self._finished: deque[Span] = deque()
        self._open: dict[str, Span] = {}
        self._sealed = False
        self._count = itertools.count(1)
        self._handed_over = time.time()
        self._hand_over_after = STREAM_EVERY if runtime.streaming else math.inf
        self._closing = itertools.count()
        self._link: Link | None = None
        self._on_close: list[Callable[[], object]] = []

        # Forked from what is outside any conversation, so that nothing is inherited from another.
        self.base = context.outermost()
        self.isolation = context.snapshot(self.base[0])
        self.scope: sentry_sdk.Scope = self.base[1].fork()
        self.scope.span = None
        self.said_by = self.isolation, self.scope
        """The scopes that its events are built under: live ones, and once it has ended a copy, of
        what it had then. Late code still runs under the live ones."""

        self.root = Span(self, op, name, None, None, attributes)
        with (
            sentry_sdk.scope.use_isolation_scope(self.isolation),
            sentry_sdk.scope.use_scope(self.scope),
        ):
            lifecycle = ConversationSegment if runtime.streaming else ConversationTransaction
            self.transaction = lifecycle.begin(self.root, valid(headers, trusted=True))
        self.trace_id: str = self.transaction.trace_id
        if role == "conversation":
            self.root.attributes[GEN_AI_CONVERSATION_ID] = self.id
        self._user: dict[str, Any] = {}
        self._tags: dict[str, str] = {}
        if user:
            self.set_user(user)
        for key, value in (tags or {}).items():
            self.set_tag(key, value)
        self._open[self.root.id] = self.root
        runtime.opened(self)

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
        self._open[span.id] = span
        self.runtime.tally.spans.add()
        if self.ended:
            span.late = True
            self.runtime.tally.late_spans.add()
        return span

    def span(
        self, op: str, name: str | None = None, *, attributes: Mapping[str, Any] | None = None
    ) -> Span:
        """Start a span to be entered: ``with conversation.span("gen_ai.chat") as span:``."""
        return self.start_span(op, name, attributes=attributes)

    def current_span(self) -> Span:
        """The current span if it is one of this conversation's, else its root."""
        here = context.nearest()
        return here[1] if here is not None and here[0] is self else self.root

    def get_span_by_op(self, op: str) -> Span | None:
        """The newest open span of this op, for spans begun in one task and ended in another."""
        for span in reversed(list(self._open.values())):
            if span.op == op:
                return span
        return None

    def finished(self, span: Span, ended_at: float | None) -> None:
        """Take a span that ends; called by :meth:`Span.finish`, harmless when repeated."""
        if span is self.root:
            self.close(ended_at=ended_at)
            return
        if self._open.pop(span.id, None) is None:
            return
        now = time.time() if ended_at is None else ended_at
        span.ended_at = max(now, span.started_at)
        if span.late:
            self.runtime.late(self, span)
            return
        self._finished.append(span)
        if self._sealed:
            # Delivery has taken everything before this one: what is left goes on its own.
            for late in self.take_finished():
                self.runtime.late(self, late)
        elif next(self._count) % HAND_OVER == 0 or now - self._handed_over > self._hand_over_after:
            self._handed_over = now
            self.runtime.hand_over(self)

    def take_finished(self) -> list[Span]:
        """Take the spans finished since the last call; safe from several threads at once."""
        taken: list[Span] = []
        while True:
            try:
                taken.append(self._finished.popleft())
            except IndexError:
                return taken

    def seal(self) -> list[Span]:
        """Take the last spans; those that finish from now on are delivered as late ones.

        The flag is set before the queue is emptied, and :meth:`finished` appends before it looks
        at the flag: whichever comes first, each span is taken exactly once.
        """
        self._sealed = True
        return self.take_finished()

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
        left_open = [span for span in list(self._open.values()) if span is not self.root]
        for span in left_open:
            span.status = "cancelled"
            self.runtime.tally.open_at_finish.add()
            self.finished(span, ended_at)
        self._open.pop(self.root.id, None)
        self.root.ended_at = max(
            time.time() if ended_at is None else ended_at, self.root.started_at
        )
        self.said_by = context.snapshot(self.isolation), self.scope.fork()
        self.runtime.closed(self)
        while self._on_close:
            try:
                self._on_close.pop()()
            except Exception:
                logger.exception("something that waited for conversation %s to close", self.id)

    def left_to_parent(self) -> None:
        """In a forked child: the parent ends and delivers it; what the child adds is late."""
        next(self._closing)
        self.ended = self._sealed = True
        self._open.clear()
        self._finished.clear()

    def on_close(self, function: Callable[[], object]) -> None:
        """Call ``function`` when the conversation ends, in whatever ends it."""
        self._on_close.append(function)

    def attach(self) -> Attached:
        """Make it current in a task or thread that was born before it: ``with c.attach():``."""
        return Attached(self, self.root)

    def bind(self, function: Callable[P, R]) -> Callable[P, R]:
        """Carry this conversation, and its span that is current now, into another task or thread.

        Works on plain and coroutine functions; the result may be called any number of times, also
        concurrently.
        """
        return _bound(function, self, self.current_span())

    def __enter__(self) -> Self:
        self._link = context.push(self, self.root, self.transaction)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(error)
        if self._link is not None:
            context.pop(self._link)
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

    # -- what its events say -----------------------------------------------------------------------

    def rename(self, name: str) -> None:
        """Give its transaction another name, for when that is known late: a request's route."""
        self.name = self.root.name = name

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
            self._user = dict(user)
        self.isolation.set_user(dict(user))

    def set_context(self, key: str, value: Mapping[str, Any]) -> None:
        """Add a structured context to its transaction and errors."""
        self.isolation.set_context(key, dict(value))

    def capture_exception(self, error: BaseException) -> None:
        """Report an error under this conversation's user, tags and trace. Never waits."""
        here = context.current()
        inside = here is not None and here[0] is self
        scope = sentry_sdk.get_current_scope() if inside else self.scope
        self.runtime.captured(error, context.snapshot(self.isolation), scope.fork())

    def trace_headers(self) -> dict[str, str]:
        """``sentry-trace`` and ``baggage`` of its current span, computed now."""
        return self.current_span().trace_headers()

    def record(self, spans: list[Span] | None = None) -> ConversationRecord:
        """The conversation as a value, with these of its spans behind the root."""
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
            spans=(self.root.record(), *(span.record() for span in spans or ())),
        )

    def __repr__(self) -> str:
        return f"<Conversation {self.name!r} {self.id} {'ended' if self.ended else 'open'}>"


class Attached:
    """A block in which a conversation is current though it was opened elsewhere."""

    def __init__(self, conversation: Conversation, span: Span) -> None:
        self._conversation = conversation
        self._span = span
        self._link: Link | None = None

    def __enter__(self) -> Conversation:
        self._link = context.push(self._conversation, self._span, self._span.ambient())
        return self._conversation

    def __exit__(self, *_: object) -> None:
        if self._link is not None:
            context.pop(self._link)
            self._link = None


def _bound(function: Callable[P, R], conversation: Conversation, span: Span) -> Callable[P, R]:
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose call is a coroutine
    ):

        @functools.wraps(function)
        async def bound_coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
            with Attached(conversation, span):
                return await function(*args, **kwargs)  # type: ignore[misc]  # it is a coroutine's

        return bound_coroutine  # type: ignore[return-value]  # R is the coroutine

    @functools.wraps(function)
    def bound(*args: P.args, **kwargs: P.kwargs) -> R:
        with Attached(conversation, span):
            return function(*args, **kwargs)

    return bound


def caller(depth: int) -> str:
    """``file:line`` of the first frame outside telemetry, from ``depth`` frames up."""
    package = __name__.rpartition(".")[0]
    frame = sys._getframe(depth)
    while frame.f_back is not None and _within(frame.f_globals.get("__name__", ""), package):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
