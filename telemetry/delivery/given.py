"""Changes that delivery gives the store, bounded while that is busy with those before."""

from __future__ import annotations

import queue
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..store import Left, StoredError, Unsent
    from ..trace.span import Span
    from ..trace.transaction import Transaction

ROWS: Final = 50_000
"""Spans and errors waiting to be written."""
BYTES: Final = 64_000_000
"""Of envelopes waiting to be written."""


@dataclass(slots=True)
class Put:
    """Envelopes that Sentry hasn't acknowledged yet."""

    unsent: tuple[Unsent, ...] = ()
    of: Transaction | None = None
    """The transaction they are of."""
    handed: tuple[str, ...] = ()
    """Ids of its spans that are in them."""
    settles: bool = False
    """True if that is all of it."""
    left: Left | None = None
    """The conversation of another process that they are of: all of it."""
    rows: int = 0
    """1 for the end of a transaction."""


@dataclass(slots=True)
class Late:
    """A span that ended after its transaction."""

    transaction: Transaction
    span: Span
    rows: int = 1


@dataclass(slots=True)
class Error:
    """An error, with its event as JSON."""

    error: StoredError
    event: str
    rows: int = 1


@dataclass(slots=True)
class Forget:
    """Envelopes that Sentry has, or will never take."""

    keys: tuple[str, ...]
    rows: int = 0


Change = Put | Late | Error | Forget


class Given:
    """Changes that haven't been taken. One thread adds, another takes; neither waits."""

    def __init__(self) -> None:
        self._changes: queue.SimpleQueue[tuple[int, int, Change]] = queue.SimpleQueue()
        self._rows_added = self._rows_taken = 0
        self._bytes_added = self._bytes_taken = 0

    @property
    def rows(self) -> int:
        """Spans and errors in it."""
        return self._rows_added - self._rows_taken

    @property
    def is_filling(self) -> bool:
        """True if there is less room left than is taken."""
        return self.rows > ROWS // 2 or self._bytes > BYTES // 2

    @property
    def _bytes(self) -> int:
        return self._bytes_added - self._bytes_taken

    def add(self, change: Change, *, besides: int) -> bool:
        """Add something; False if there is no room, with so many rows that wait besides."""
        rows, size = change.rows, 0
        if change.rows and besides + self.rows + rows > ROWS:
            return False
        if isinstance(change, Put):
            size = sum(len(one.envelope) for one in change.unsent)
            if size and self._bytes + size > BYTES:
                change.unsent, size = (), 0
            if change.of is not None and change.settles:
                rows += change.of.spans.unstored
        self._rows_added += rows
        self._bytes_added += size
        self._changes.put((rows, size, change))
        return True

    def take(self) -> list[Change]:
        """Take all of it."""
        taken: list[Change] = []
        while True:
            try:
                rows, size, change = self._changes.get_nowait()
            except queue.Empty:
                return taken
            self._rows_taken += rows
            self._bytes_taken += size
            taken.append(change)
