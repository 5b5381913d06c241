"""The things that calls hand over to delivery."""

from __future__ import annotations

import queue
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sentry_sdk.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sentry_sdk

    from ..store import InStore, Left, Unsent
    from ..trace.span import Span
    from ..trace.transaction import Transaction
    from .log_events import Log
    from .sender import Sent
    from .waiting import Waiting


@dataclass(slots=True)
class HandedOver:
    """A running transaction has a batch of finished spans."""

    transaction: Transaction


@dataclass(slots=True)
class Closed:
    """A transaction ended."""

    transaction: Transaction


@dataclass(slots=True)
class Refused:
    """A transaction ended for which there was no room: its spans so far are dropped, too."""

    key: int
    """Its ``id()``; the transaction itself must not wait here."""
    trace_id: str


@dataclass(slots=True)
class Late:
    """A span finished after its transaction was delivered."""

    transaction: Transaction
    span: Span


@dataclass(slots=True)
class Error:
    """An error was reported, under these scopes."""

    error: BaseException
    isolation: sentry_sdk.Scope
    scope: sentry_sdk.Scope


@dataclass(slots=True)
class Event:
    """The SDK captured an error, which is still to be looked at, under these scopes."""

    event: Any
    hint: Any
    merged: sentry_sdk.Scope
    """The scopes as the SDK has put them together, with what was given in the call."""
    isolation: sentry_sdk.Scope
    scope: sentry_sdk.Scope


@dataclass(slots=True)
class Logged:
    """The application logged something, under these scopes."""

    log: Log
    isolation: sentry_sdk.Scope
    scope: sentry_sdk.Scope


@dataclass(slots=True)
class Answered:
    """A request is over."""

    waiting: Waiting
    sent: Sent


@dataclass(slots=True)
class Kept:
    """The store has envelopes, which needn't be in memory any more."""

    keys: tuple[str, ...]
    waiting: InStore
    """All that it has of this process."""


@dataclass(slots=True)
class NotKept:
    """The store has no room for envelopes, or doesn't have them any more."""

    events: Mapping[str, int] | None
    """The spans and events in each, by key; None for all envelopes."""
    reason: str


@dataclass(slots=True)
class Loaded:
    """Envelopes that waited in the store: the next to be sent."""

    unsent: list[Unsent]


@dataclass(slots=True)
class Looked:
    """The store has been looked through for what others left; what waits there has been said."""


@dataclass(slots=True)
class LeftBehind:
    """A conversation that a process which is gone didn't send."""

    left: Left


@dataclass(slots=True)
class Wake:
    """Somebody waits for something that is done now."""


@dataclass(slots=True)
class Flush:
    """Somebody waits until all that was handed over before this has been delivered."""

    deadline: float
    """The end of the wait, in monotonic seconds."""
    number: int = 0
    """The last envelope that it waits for; known once everything before it is an envelope."""
    writes: int = 0
    """The writes to the store that it waits for."""
    copies: int = 0
    """The last envelope for the collector that it waits for."""
    done: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue)


@dataclass(slots=True)
class Stop:
    """The last message: what can't be delivered before the deadline is dropped."""

    deadline: float
    done: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue)


Recorded = HandedOver | Closed | Refused | Late | Error | Event | Logged | Envelope | LeftBehind
"""Messages that say what was recorded, here or by a process that is gone."""
FromStore = Kept | NotKept | Loaded | Looked
"""Messages of the store's lane."""
Message = Recorded | FromStore | Answered | Wake | Flush | Stop


def answer(done: queue.SimpleQueue[bool], timeout: float) -> bool:
    """The answer that is put there within so many seconds, or False."""
    try:
        return done.get(timeout=max(0.0, timeout))
    except queue.Empty:
        return False
