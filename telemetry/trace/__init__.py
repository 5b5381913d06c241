"""Conversations and their spans, as they are recorded while they run.

===================  =========================================================================
``span``             a span, as a handle and as a block
``transaction``      a unit of work that owns its scopes and its spans
``conversation``     the transaction of a conversation
``orphan``           the transaction of a span that has no conversation
``audio``            files with the audio of a transaction
``span_set``         the spans of one transaction: open, finished, taken by delivery
``registry``         the transactions of a process: running, over, left to a parent process
``binding``          carries a conversation and a span across a boundary
``sink``             the place that transactions and their spans are handed over to
``sentry_span``      Sentry's span objects as markers for ours, so integrations nest both ways
``sentry_streamed``  the same for Sentry's streamed spans
``conversation_scope``  Sentry's scope inside a conversation
``foreign``          spans below somebody else's transaction
===================  =========================================================================
"""

from __future__ import annotations
