"""The functions of the public API: what is current, and what can be done with it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import sentry_sdk

from . import runtime
from .context.scopes import others_span
from .headers import valid
from .trace import span as spans
from .trace.binding import bound
from .trace.conversation import Conversation
from .trace.foreign import ForeignSpan
from .trace.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from .trace.span import Span, SpanHandle

P = ParamSpec("P")
R = TypeVar("R")


def conversation(
    name: str,
    *,
    id: str | None = None,
    op: str = "conversation",
    user: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    attributes: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Conversation:
    """Open a conversation: its transaction and its scopes.

    Enter it (``with`` or ``async with``) to make it current and to close it at the end of the
    block; or keep it, :meth:`~Conversation.attach` it where it is needed, and ``close()`` it.

    Args:
        name: the transaction's name.
        id: the conversation's id; made up when None.
        op: the transaction's op.
        user: whose conversation it is, as Sentry's user.
        tags: tags of its transaction and errors.
        attributes: attributes of its root span.
        headers: the caller's ``sentry-trace`` and ``baggage``; their trace is continued.
    """
    return Conversation(
        runtime.active().sink,
        name,
        id=id,
        op=op,
        user=user,
        tags=tags,
        attributes=attributes,
        headers=headers,
    )


def transaction(
    op: str,
    name: str,
    *,
    attributes: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Transaction:
    """Open a transaction for work that is a part of somebody's trace and no conversation itself.

    A service's request, a message taken from a queue, a call as its caller sees it: with the
    ``headers`` of whoever asked, it hangs below exactly the span that asked. It has scopes of its
    own and is entered, attached and closed like a conversation; it isn't counted as one.
    """
    return Transaction(runtime.active().sink, name, op=op, attributes=attributes, headers=headers)


def span(
    op: str, name: str | None = None, *, attributes: Mapping[str, Any] | None = None
) -> SpanHandle:
    """A child of the current span, to be entered: ``with telemetry.span("gen_ai.chat"):``.

    Inside a Sentry transaction that is no conversation's (a web service's) it is a child of that
    transaction. Where there is neither, it is recorded in a transaction of its own, counted as an
    orphan and explained in the log.

    Raises:
        MissingConversation: in strict mode, where no conversation is current.
    """
    here = spans.nearest_span()
    if here is not None:
        started = here.start_span(op, name, attributes=attributes)
        started.code = sys._getframe(1).f_code
        return started
    around = others_span(sentry_sdk.get_current_scope())
    if around is not None:
        return ForeignSpan(around, op, name, attributes=attributes)
    return runtime.active().orphan(op, name, attributes)


def current_conversation() -> Conversation | None:
    """The conversation of this task, thread or callback, or None."""
    here = spans.current_span()
    conversation = None if here is None else here.conversation
    return conversation if isinstance(conversation, Conversation) else None


def current_span() -> Span | None:
    """The span that a new one would be a child of, or None."""
    return spans.current_span()


def bind(function: Callable[P, R]) -> Callable[P, R]:
    """Carry the current conversation and span into another task, thread, executor or callback.

    ``tasks.start_soon(telemetry.bind(worker), queue)``. Works on plain and coroutine functions;
    the result may be called any number of times, also concurrently. Outside any conversation it
    carries nothing.
    """
    here = spans.nearest_span()
    return function if here is None else bound(function, here)


def get_span_by_op(op: str) -> Span | None:
    """The newest open span of this op in the current conversation, or None."""
    here = spans.current_span()
    return None if here is None else here.conversation.get_span_by_op(op)


def complete_span_by_op(op: str) -> Span | None:
    """Finish the newest open span of this op in the current conversation, and return it."""
    found = get_span_by_op(op)
    if found is not None:
        found.finish()
    return found


def trace_headers() -> dict[str, str]:
    """``sentry-trace`` and ``baggage`` of the current span, computed now; empty without one."""
    here = spans.nearest_span()
    if here is not None:
        return here.trace_headers()
    scope = sentry_sdk.get_current_scope()
    if scope.span is None and scope.streamed_span is None:
        return {}
    return dict(scope.iter_trace_propagation_headers())


def inject(carrier: MutableMapping[str, Any]) -> None:
    """Write the current span's trace headers into what goes to another process.

    A message for a queue, a job's metadata, a form: any mapping that takes text. Without a current
    span nothing is written.
    """
    carrier.update(trace_headers())


def extract(carrier: object, *, trusted: bool = False) -> dict[str, str]:
    """The trace headers in what came from another process, for ``headers=``; empty without any.

    Names may be in any case, values text or bytes; ``traceparent`` counts where there is no
    ``sentry-trace``. What is malformed or oversized is passed over and counted, never an error; so
    is a carrier that is no mapping at all. Use it for what strangers send: ``headers=`` itself
    takes the word of whoever it is given.

    Args:
        carrier: a mapping of names to values, with whatever else there is.
        trusted: also believe what the sender says of sampling.
    """
    return valid(carrier, trusted=trusted)
