"""The local trace store: conversations, their spans and errors in one SQLite file.

===============  ===================================================
``trace_store``  conversations: written by one thread, read by anyone
``stored_errors``  errors, each whole, by Sentry's id of it
``sqlite_file``  the file, and how it is shared
===============  ===================================================
"""

from __future__ import annotations

from .sqlite_file import TraceStoreError
from .stored_errors import StoredError, bounded
from .trace_store import AmbiguousId, StoredConversation, TraceStore

__all__ = [
    "AmbiguousId",
    "StoredConversation",
    "StoredError",
    "TraceStore",
    "TraceStoreError",
    "bounded",
]
