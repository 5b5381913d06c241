"""The local trace store: conversations, their spans and errors in one SQLite file.

=================  ===================================================
``trace_store``    conversations: written by one thread, read by anyone
``rows``           conversations and spans as rows
``pieces``         long texts, each piece of them once
``stored_errors``  errors, each whole, by Sentry's id of it
``several``        stores read as one
``unsent``         envelopes that wait for Sentry
``recordings``     files with the audio of conversations
``ogg``            how long such a file is
``leases``         which processes use the store, and which are gone
``lost``           what those that are gone left
``limits``         what is kept, and for how long
``forgetting``     what is past that goes
``deleting``       what somebody asks to be gone goes
``schema``         the tables
``sqlite_file``    the file, and how it is shared
=================  ===================================================
"""

from __future__ import annotations

from .leases import Lease, Observer
from .limits import Limits
from .lost import Left
from .recordings import Recording
from .rows import OPEN, Owed, SpanRow, StoredConversation
from .several import Stores
from .sqlite_file import TraceStoreError
from .stored_errors import StoredError, bounded
from .trace_store import AmbiguousId, TraceStore
from .unsent import InStore, Unsent

__all__ = [
    "OPEN",
    "AmbiguousId",
    "InStore",
    "Lease",
    "Left",
    "Limits",
    "Observer",
    "Owed",
    "Recording",
    "SpanRow",
    "StoredConversation",
    "StoredError",
    "Stores",
    "TraceStore",
    "TraceStoreError",
    "Unsent",
    "bounded",
]
