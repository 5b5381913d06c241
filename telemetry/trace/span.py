"""A span: something that took time in a conversation.

Starting one touches no scope, no lock and no clock but the wall's, so it costs a few
microseconds; entering it (``with``) makes it current, for us and for Sentry.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from .. import context
from ..attributes import ERROR_TYPE
from ..context import chain
from ..context.generators import GENERATOR, generator_frame
from ..context.node import Marker
from ..frozen import freeze
from ..records import SpanRecord
from ..written import Written, by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from sentry_sdk.tracing_utils import Baggage

    from ..context.node import Link, Node


sentrys: list[Callable[[Span], object]] = []
"""Functions told of each span that was started through Sentry, by one of its integrations or by
``sentry_sdk`` itself, just before it ends: a framework that has timed the same says so."""

_ids = random.Random()  # noqa: S311 - ids need not be secret; the application may seed its own
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.seed)


def new_id() -> str:
    """A span id: 16 hex digits, unique across processes and forks."""
    return _ids.randbytes(8).hex()


def status_of(error: BaseException) -> str:
    """Sentry's span status for an exception."""
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return "cancelled"
    if isinstance(error, TimeoutError):
        return "deadline_exceeded"
    return "internal_error"


class SpanHandle(Protocol):
    """A span that has been started, in a conversation or below somebody else's transaction."""

    op: str
    name: str

    @property
    def id(self) -> str:
        """Sentry's span id, 16 hex digits."""

    def set(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes, replacing those of the same name."""

    def fail(self, error: BaseException) -> None:
        """Mark it failed: status by the kind of error, and its type as ``error.type``."""

    def finish(self, ended_at: float | None = None) -> None:
        """End it, now or at ``ended_at`` (Unix seconds)."""

    def start_span(
        self,
        op: str,
        name: str | None = None,
        *,
        started_at: float | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> SpanHandle:
        """A child of this span, whatever is current."""

    def trace_headers(self) -> dict[str, str]:
        """``sentry-trace`` and ``baggage`` that make whoever receives them this span's child."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class RootMarker(Marker):
    """A marker for a root span, which makes the markers of the spans below it."""

    __slots__ = ()

    span: Span

    @property
    def is_sampled(self) -> bool:
        """True if Sentry gets the transaction; the local store does in any case."""
        raise NotImplementedError

    def get_baggage(self) -> Baggage:
        """The dynamic sampling context, which goes along with the transaction's requests."""
        raise NotImplementedError

    def marker(self, span: Span) -> Marker:
        """A marker for another span of the transaction."""
        raise NotImplementedError


class Owner(context.node.Owner, Protocol):
    """The conversation, or other transaction, that a span belongs to: see :mod:`.transaction`."""

    id: str
    trace_id: str

    @property
    def root(self) -> Span:
        """Its root span."""

    @property
    def transaction(self) -> RootMarker:
        """Sentry's view of it."""

    def start_span(
        self,
        op: str,
        name: str | None = None,
        *,
        parent: Span | None = None,
        started_at: float | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Span:
        """Start a span in it."""

    def get_span_by_op(self, op: str) -> Span | None:
        """The newest open span of this op in it."""

    def finished(self, span: Span, ended_at: float | None) -> None:
        """Take a span that ends."""

    def close(self, error: BaseException | None = None, *, ended_at: float | None = None) -> None:
        """End it."""


class Span:
    """A handle on a span: finish it from any task or thread; finishing twice is harmless.

    As a context manager it is current inside the block, and finished at its end, failed when the
    block raises.

    Attributes:
        conversation: the conversation that it is in, or another transaction.
        id: Sentry's span id, 16 hex digits.
        parent: the span above it in the conversation; None for the root.
        parent_id: the id of its parent, decided when it started.
        op: what kind of thing it is, e.g. ``gen_ai.chat``.
        name: what it was, for people to read.
        started_at: Unix seconds.
        ended_at: Unix seconds, None while open.
        status: Sentry's span status.
        attributes: names to values; see :mod:`telemetry.attributes`.
        code: the code that started it, which knows its name; see :mod:`telemetry.written`.
        origin: Sentry's name for who made it.
        late: whether it started after its conversation had ended.
    """

    __slots__ = (
        "_link",
        "attributes",
        "code",
        "conversation",
        "ended_at",
        "id",
        "late",
        "name",
        "op",
        "origin",
        "parent",
        "parent_id",
        "started_at",
        "status",
    )

    def __init__(
        self,
        conversation: Owner,
        op: str,
        name: str | None,
        parent: Span | None,
        started_at: float | None,
        attributes: Mapping[str, Any] | None,
    ) -> None:
        self.conversation = conversation
        self.id = new_id()
        self.parent = parent
        self.parent_id = parent.id if parent is not None else None
        self.op = op
        self.name = name or op
        self.started_at = time.time() if started_at is None else started_at
        self.ended_at: float | None = None
        self.status = "ok"
        self.attributes: dict[str, Any] = dict(attributes) if attributes else {}
        self.code = sys._getframe(2).f_code
        self.origin = "manual"
        self.late = False
        self._link: Link | None = None

    @property
    def is_open(self) -> bool:
        """True until it is finished."""
        return self.ended_at is None

    def set(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes, replacing those of the same name."""
        if self.ended_at is None:
            self.attributes.update(attributes)
        else:  # delivery may be reading the former
            late = dict(attributes)
            freeze(late)
            self.attributes = {**self.attributes, **late}

    def fail(self, error: BaseException) -> None:
        """Mark it failed: status by the kind of error, and its type as ``error.type``."""
        self.status = status_of(error)
        self.set({ERROR_TYPE: type(error).__qualname__})

    def finish(self, ended_at: float | None = None) -> None:
        """End it, now or at ``ended_at`` (Unix seconds; never before it started)."""
        self.conversation.finished(self, ended_at)

    def start_span(
        self,
        op: str,
        name: str | None = None,
        *,
        started_at: float | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Span:
        """A child of this span, whatever is current."""
        span = self.conversation.start_span(
            op, name, parent=self, started_at=started_at, attributes=attributes
        )
        span.code = sys._getframe(1).f_code
        return span

    def trace_headers(self) -> dict[str, str]:
        """``sentry-trace`` and ``baggage`` that make whoever receives them this span's child."""
        root = self.conversation.transaction
        sampled = "1" if root.is_sampled else "0"
        headers = {"sentry-trace": f"{self.conversation.trace_id}-{self.id}-{sampled}"}
        baggage = root.get_baggage().serialize()
        if baggage:
            headers["baggage"] = baggage
        return headers

    def finish_sentrys(self, ended_at: float | None = None) -> None:
        """End a span that was started through Sentry; see :data:`sentrys`."""
        if self.is_open:
            for told in sentrys:
                told(self)
        self.finish(ended_at)

    def marker(self) -> Marker:
        """The object that stands for this span in Sentry's scope."""
        root = self.conversation.transaction
        return root if root.span is self else root.marker(self)

    def written(self) -> tuple[str, str]:
        """Its op and its name, which know whether the code that started it says them."""
        op = self.op if isinstance(self.op, Written) else by(self.code, self.op)
        name = self.name if isinstance(self.name, Written) else by(self.code, self.name)
        return op, name

    def descends_from(self, other: Node) -> bool:
        """True if ``other`` is among its ancestors."""
        span = self.parent
        while span is not None:
            if span is other:
                return True
            span = span.parent
        return False

    def __enter__(self) -> Self:
        frame = sys._getframe(1)
        generator = None
        if frame.f_code.co_flags & GENERATOR or frame.f_globals["__name__"] == "contextlib":
            generator = generator_frame(frame)
        self._link = chain.push(self, self.marker(), frame=generator)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.fail(error)
        self.finish()
        if self._link is not None:
            chain.pop(self._link, error)
            self._link = None

    def record(self) -> SpanRecord:
        """The span as a value. Call it once the span has ended."""
        return SpanRecord(
            span_id=self.id,
            parent_span_id=self.parent_id,
            op=self.op,
            name=self.name,
            started_at=self.started_at,
            ended_at=self.started_at if self.ended_at is None else self.ended_at,
            status=self.status,
            origin=self.origin,
            attributes=dict(self.attributes),
        )

    def __repr__(self) -> str:
        return f"<Span {self.op!r} {self.name!r} {self.id} of {self.conversation.id!r}>"


# A chain holds nothing but these spans; it doesn't know, to know no conversation.


def current_span() -> Span | None:
    """The current span, or None; its conversation is ``span.conversation``."""
    return chain.current()  # type: ignore[return-value]  # see above


def nearest_span() -> Span | None:
    """The span that one started here belongs below: the current one, or the last that was."""
    return chain.nearest()  # type: ignore[return-value]  # see above
