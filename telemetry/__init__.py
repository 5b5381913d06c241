"""One Sentry transaction per conversation, carried across tasks, threads and callbacks.

The folder stands on its own: its core needs nothing but ``sentry-sdk``, imports nothing of the
application, and is renamed by renaming it. The map:

================  ==============================================================================
``api``           the functions below
``configure``     ``init``: Sentry, set up around our own delivery
``integrations``  one module per framework, imported only when used
``testing``       in-memory delivery for tests
``viewer``        conversations in a browser; imported only when used
``runtime``       the process's runtime: what is open, what is counted, how it ends
``delivery``      the one thread that talks to Sentry and the store
``encoding``      conversations as Sentry's transactions and streamed spans
``store``         the local trace store
``tree``          conversations as text
``trace``         conversations and their spans, while they run
``context``       the spans that are current, in each task, thread and callback
``records``       finished spans and conversations as values
``headers``       trace headers that strangers send
``printable``     text of other people's, as it can be shown
``authority``     the host that a request is for, and is it this machine
``attributes``    every attribute name and op, and which of them are content
``options``       options of ``sentry_sdk.init`` that aren't simply passed on
``comparison``    two runs side by side: what differs by more than noise
``errors``        the errors of telemetry
``frozen``        values that can't change after they are handed over
``written``       texts that know what of them stands in the code
``stats``         the numbers that it counts
``summary``       what is known of a conversation when it ends, and the rules by which it is kept
``fork``          a process that forks
================  ==============================================================================

Arrows run one way, from the top of this list down, typing imports included.
"""

from __future__ import annotations

from .api import (
    bind,
    complete_span_by_op,
    conversation,
    current_conversation,
    current_span,
    extract,
    get_span_by_op,
    inject,
    span,
    trace_headers,
    transaction,
)
from .configure import init
from .errors import MissingConversation, TelemetryError
from .runtime import Runtime
from .stats import Stats
from .summary import Summary
from .trace.conversation import Conversation
from .trace.span import Span, SpanHandle
from .trace.transaction import Transaction

__all__ = [
    "Conversation",
    "MissingConversation",
    "Runtime",
    "Span",
    "SpanHandle",
    "Stats",
    "Summary",
    "TelemetryError",
    "Transaction",
    "bind",
    "complete_span_by_op",
    "conversation",
    "current_conversation",
    "current_span",
    "extract",
    "get_span_by_op",
    "init",
    "inject",
    "span",
    "trace_headers",
    "transaction",
]
