"""A transaction that delivery isn't done with, and what of it is stored. In the store's thread."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ..frozen import freeze
from ..store import SpanRow

if TYPE_CHECKING:
    from collections.abc import Container

    from ..records import AudioRecord
    from ..trace.span import Span
    from ..trace.transaction import Transaction
    from .recovered import Notes

NOTES_SECONDS: Final = 2.0
"""Between two looks at what a running conversation's scopes say."""


@dataclass(slots=True)
class News:
    """News of a transaction, to be written."""

    known_as: tuple[Any, ...]
    """What its row says."""
    notes: str | None
    finished: list[Span]
    opened: dict[str, tuple[Any, ...]]
    """Open spans that aren't stored as they are now, by id: what they are known by."""
    spans: list[Span]
    """Those; at the end also the root. Rows are made of them one by one: many objects at once would
    have garbage collected, which stops every loop of the process."""
    audio: tuple[AudioRecord, ...]
    """Its recordings."""
    is_over: bool
    key: int = 0
    """Of its row, once that is written."""


class Running:
    """A transaction that delivery isn't done with, and what of it is stored."""

    def __init__(self, transaction: Transaction, *, owed: bool) -> None:
        self.transaction = transaction
        self.owed = owed
        self.finished: deque[Span] = deque()
        self.is_over = False
        """Its end is stored."""
        self.key = 0
        """Of its row; 0 while there is none."""
        self.known_as: tuple[Any, ...] = ()
        """What its row says."""
        self.notes: str | None = None
        self.audio: tuple[AudioRecord, ...] = ()
        self._noted_at = float("-inf")
        self._noted: str | None = None
        """The last notes, stored or not."""
        self._heard: tuple[Any, ...] = ()
        """What they are made of."""
        self._open: dict[str, tuple[Any, ...]] = {}

    @property
    def rows(self) -> int:
        """Spans that have ended and aren't stored."""
        return len(self.finished)

    def take(self) -> None:
        """Take what has ended."""
        self.finished.extend(self.transaction.spans.take_unstored())

    def forget_what_is_stored(self) -> None:
        """Have all of it written that is still known."""
        self.key = 0
        self.known_as = self.audio = ()
        self.notes = None
        self.is_over = False
        self._open.clear()
        self.finished.extend(span for span in self.transaction.spans.all() if not span.is_open)

    def news(self, notes: Notes, most: int) -> News | None:
        """Take stock of what isn't stored yet, at most so many spans; None if all is."""
        transaction, root = self.transaction, self.transaction.root
        is_over = transaction.ended and root.ended_at is not None
        if not is_over and transaction.ended and not self.key:
            return None  # it is just ending, in another thread
        finished = [*islice(self.finished, most)]
        opened = {} if is_over else self._opened()
        ends = is_over and not self.is_over
        noted = self._notes(notes, is_over=is_over)
        news = News(
            transaction.known_as() if is_over or not transaction.ended else self.known_as,
            noted,
            finished,
            opened,
            [*finished, *self._still(opened), *([root] if ends else ())],
            tuple(file.record for file in transaction.audio if file.record is not None),
            is_over,
        )
        is_known = not news.spans and not self.says_more(news) and news.audio == self.audio
        return None if is_known else news

    def says_more(self, news: News) -> bool:
        """True if its row doesn't say all of this yet."""
        return not self.key or news.known_as != self.known_as or news.notes != self.notes

    def written(self, news: News) -> None:
        """All of it is stored now."""
        for span in news.finished:
            self.finished.popleft()
            self._open.pop(span.id, None)
        self._open |= news.opened
        self.key, self.known_as, self.notes = news.key, news.known_as, news.notes
        self.audio, self.is_over = news.audio, news.is_over

    def _still(self, opened: Container[str]) -> list[Span]:
        """Spans of these that are open."""
        return [span for span in self.transaction.spans.open() if span.id in opened]

    def _opened(self) -> dict[str, tuple[Any, ...]]:
        found = {}
        for span in self.transaction.spans.open():
            if span.late:
                continue
            known = (
                span.status,
                span.name,
                tuple(span.attributes),
                *map(id, span.attributes.values()),
            )
            if self._open.get(span.id) != known:
                found[span.id] = known
        return found

    def _notes(self, notes: Notes, *, is_over: bool) -> str | None:
        """Notes for whoever has to send it."""
        if not self.owed:
            return None
        if self.is_over:
            return self.notes
        now = time.monotonic()
        if is_over or now - self._noted_at > NOTES_SECONDS:
            self._noted_at = now
            if (heard := notes.heard(self.transaction)) != self._heard:
                self._heard, self._noted = heard, notes.of(self.transaction)
        return self._noted

    def row(self, span: Span) -> SpanRow:
        """A span as a row."""
        record = span.record()
        is_open = span.ended_at is None
        if is_open:
            freeze(record.attributes)  # type: ignore[arg-type]  # a dict of its own
        if not self.owed:
            return SpanRow(record, is_open=is_open)
        op, name = span.written()
        return SpanRow(record, is_open=is_open, code=(_code(op), _code(name)))


def _code(written: Any) -> str:
    return str.__str__(written.code)
