"""One Sentry transaction per conversation, carried across tasks, threads and callbacks.

The folder stands on its own: its core needs nothing but ``sentry-sdk``, imports nothing of the
application, and is renamed by renaming it. The map:

========================  =======================================================================
``api``                   the functions below
``configure``             ``init``: Sentry, set up around our own delivery
``runtime``               the process's runtime: what is open, what is counted, how it ends
``stats``                 what it has seen, in numbers
``conversation``          a conversation: its transaction, scopes and spans
``span``                  a span, as a handle and as a block
``context``               what is current where; the only place that knows
``ambient``               Sentry's span objects as markers for ours, so integrations nest both ways
``headers``               what strangers' trace headers are worth
``streamed``              the same for Sentry's streamed spans
``foreign``               spans below somebody else's
``outbox``                what calls hand over to delivery, bounded and counted
``delivery``              the one thread that talks to Sentry and the store
``recorder``              what becomes of what was handed over: rows and envelopes
``quotes``                keeps what people said out of errors and logs
``dispatch``              envelopes that wait for Sentry: paced, tried again
``fork``                  a process that forks
``encode``, ``items``     conversations as Sentry's transactions, and as its streamed spans
``transport``, ``route``  envelopes over HTTP, and by which proxy and certificates
``logs``                  errors the application logs
``store``, ``tracefile``  the local trace store, and the SQLite file it is in
``tree``                  conversations as text
``counter``               a count that any thread may raise without a lock
``records``               finished spans and conversations as values
``attributes``            every attribute name and op, and which of them are content
``integrations``          one module per framework, imported only when used
``testing``               in-memory delivery for tests
========================  =======================================================================
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
from .conversation import Conversation
from .errors import MissingConversation, TelemetryError
from .runtime import Runtime
from .span import Span
from .stats import Stats

__all__ = [
    "Conversation",
    "MissingConversation",
    "Runtime",
    "Span",
    "Stats",
    "TelemetryError",
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
