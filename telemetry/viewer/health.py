"""The health of the telemetry itself: zeros that can be trusted, and whatever isn't zero.

Counted over everything that the stores hold, so a zero says over how many spans it is one. What a
store can't know is said to be unknown: spans that a process dropped before they were written down
are told by that process (its ``/metrics``, its log, :class:`..stats.Stats`), and by other processes
in the reports that their Sentry SDK sends.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from ..store import Observer, TraceStoreError
from ..store.leases import place
from . import pages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

    from ..store import TraceStore
    from .received import Received

_FRESH_SECONDS: Final = 2.0
"""The stores' own health is looked at no more often."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that records into a store."""

    pid: int
    is_here: bool
    """False: of another machine or container."""
    seen_at: float
    is_gone: bool


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """One store."""

    path: str
    conversations: int = 0
    bytes: int = 0
    waiting: int = 0
    """Envelopes that Sentry hasn't acknowledged."""
    waiting_since: float | None = None
    left: int = 0
    """Conversations of killed processes that nobody has taken over yet."""
    processes: tuple[Process, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """All of it."""

    conversations: int
    spans: int
    orphans: int
    late: int
    open_at_finish: int
    cut_off: int
    stores: tuple[StoreHealth, ...]
    pending: int
    """Conversations whose spans aren't counted yet."""
    unread: tuple[str, ...] = ()
    """A line of text for each store of which something can't be read."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """As other processes reported it since the viewer started, by reason."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Envelopes and items that the viewer refused, by reason."""

    @property
    def waiting(self) -> int:
        """Envelopes that wait for Sentry, in all stores."""
        return sum(each.waiting for each in self.stores)

    @property
    def waiting_since(self) -> float | None:
        """The time at which the first of them was recorded."""
        return min((each.waiting_since for each in self.stores if each.waiting_since), default=None)

    @property
    def problems(self) -> list[str]:
        """A line of text for each store that can't be read, or not all of it."""
        told = [each.problem for each in self.stores if each.problem is not None]
        return [*dict.fromkeys([*told, *self.unread])]

    @property
    def is_well(self) -> bool:
        """True if all that is counted is zero, and all is counted."""
        counted = self.orphans, self.late, self.open_at_finish, self.cut_off, self.waiting
        return not (any(counted) or self.problems or self.dropped or self.refused)


class Looks:
    """Looks at the stores' own health, now and then."""

    def __init__(self, stores: tuple[TraceStore, ...]) -> None:
        self._stores = [(store, Observer()) for store in stores]
        self._lock = threading.Lock()
        self._at = -_FRESH_SECONDS
        self._found: tuple[StoreHealth, ...] = ()

    def now(self) -> tuple[StoreHealth, ...]:
        """The health of each store, at most some seconds old."""
        with self._lock:
            if time.monotonic() - self._at > _FRESH_SECONDS:
                self._found = tuple(_look(store, observer) for store, observer in self._stores)
                self._at = time.monotonic()
            return self._found


def _look(store: TraceStore, observer: Observer) -> StoreHealth:
    path = str(store.path)
    try:
        left = store.left()
        with store.reading() as cursor:
            if cursor is None:
                return StoreHealth(path)
            gone, here = {*observer.gone(cursor, None)}, place()
            processes = tuple(
                Process(row["pid"], row["place"] == here, row["seen_at"], row["key"] in gone)
                for row in cursor.execute("SELECT * FROM process ORDER BY seen_at DESC")
            )
            (count,) = cursor.execute("SELECT count(*) FROM conversation").fetchone()
        size = store.path.stat().st_size
    except TraceStoreError as error:
        return StoreHealth(path, problem=str(error))
    except OSError as error:
        return StoreHealth(path, problem=f"{path}: {error.strerror}")
    return StoreHealth(path, count, size, left.unsent, left.since, left.conversations, processes)


def of(app: Starlette) -> Health:
    """The health of what an application shows."""
    state: Any = app.state
    with state.index.reading() as cursor:
        found = cursor.execute(
            "SELECT count(*) AS conversations, coalesce(sum(spans), 0) AS spans, "
            "coalesce(sum(orphans), 0) AS orphans, coalesce(sum(late), 0) AS late, "
            "coalesce(sum(open_at_finish), 0) AS open_at_finish, "
            "coalesce(sum(status = 'aborted' OR (ended_at IS NULL AND NOT runs)), 0) AS cut_off "
            "FROM entry"
        ).fetchone()
    received: Received | None = state.received
    return Health(
        **dict(found),
        stores=state.looks.now(),
        pending=state.index.pending,
        unread=tuple(state.index.problems),
        dropped={} if received is None else received.dropped,
        refused={} if received is None else received.refused,
    )


def health(request: Request) -> Response:
    """``GET /health``: all that is known of it."""
    request.app.state.index.settle()
    return pages.page(request, "health.html", health=of(request.app))


routes = [Route("/health", health)]
