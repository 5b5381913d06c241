"""The numbers that telemetry counts, and the count itself, which any thread may raise."""

from __future__ import annotations

import itertools
import operator
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Counter:
    """Counts calls of :attr:`add`, exactly, from any number of threads and without a lock.

    A ``repeat`` gives away one of many in one C call, so no increment is lost and nothing waits.
    How many are left it tells without giving any away. No lock: a fork can't copy one that is held.
    """

    __slots__ = ("_left", "add")

    def __init__(self) -> None:
        self._left = itertools.repeat(None, sys.maxsize)
        self.add: Callable[[], None] = self._left.__next__

    def read(self) -> int:
        """The number of calls of :attr:`add`."""
        return sys.maxsize - operator.length_hint(self._left)


refused_headers: Final = Counter()
"""Trace headers passed over in this process: reading them needs no runtime."""
refused_gaps: Final = Counter()
"""Gaps at the caller's ear passed over in this process: a framework's callbacks know no runtime."""
faults: Final = Counter()
"""Faults of instrumentation in this process: a framework's callbacks know no runtime."""


class Tally:
    """The running counts behind :class:`Stats`. They change in the call, not at delivery."""

    def __init__(self) -> None:
        self.refused_headers_before = refused_headers.read()
        self.refused_gaps_before = refused_gaps.read()
        self.faults_before = faults.read()
        self.conversations = Counter()
        self.spans = Counter()
        self.orphan_spans = Counter()
        self.late_spans = Counter()
        self.open_at_finish = Counter()

    def stats(self, dropped: Mapping[str, int], delivery: Delivered) -> Stats:
        """The counts so far, with those of delivery."""
        return Stats(
            conversations=self.conversations.read(),
            spans=self.spans.read(),
            orphan_spans=self.orphan_spans.read(),
            late_spans=self.late_spans.read(),
            dropped_spans=sum(dropped.values()),
            open_at_finish=self.open_at_finish.read(),
            refused_headers=refused_headers.read() - self.refused_headers_before,
            refused_gaps=refused_gaps.read() - self.refused_gaps_before,
            faults=faults.read() - self.faults_before,
            dropped=dropped,
            waiting=delivery.waiting,
            waiting_since=delivery.waiting_since,
            recovered=delivery.recovered,
            left_out=delivery.left_out,
        )


@dataclass(frozen=True, slots=True)
class Delivered:
    """Delivery's counts of what it hasn't done yet."""

    waiting: int = 0
    waiting_since: float | None = None
    recovered: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Stats:
    """The counts since ``init``, in a forked child since the fork. Zero orphans and zero drops is
    the promise."""

    conversations: int
    """Conversations opened."""
    spans: int
    """Spans started, the conversations' own root spans aside."""
    orphan_spans: int
    """Spans started where no conversation was current."""
    late_spans: int
    """Spans started after their conversation had ended."""
    dropped_spans: int
    """Spans that will not arrive: the sum over ``dropped``. What Sentry has got and the collector
    hasn't is among them, under reasons that begin with ``otlp_``."""
    open_at_finish: int
    """Spans that were still open when their conversation ended, or when the runtime closed."""
    refused_headers: int
    """Trace headers that somebody sent and that were passed over: malformed, of another trace."""
    refused_gaps: int
    """Gaps that callers say they heard and that were passed over: they can't be, or came late."""
    faults: int
    """Faults of instrumentation that were passed over, so that calls went on: bugs of telemetry's,
    which the log tells."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Everything that was dropped, by reason: spans of conversations, errors, envelopes."""
    waiting: int = 0
    """Envelopes that Sentry hasn't acknowledged: in the local store or, without one, in memory."""
    waiting_since: float | None = None
    """The time at which the oldest of them was recorded, in Unix seconds; None if none waits."""
    recovered: int = 0
    """Conversations that processes which were killed had left open: closed, and to be sent."""
    left_out: int = 0
    """Transactions that ended and weren't sent to Sentry, as neither ``keep`` nor ``sample_rate``
    chose them. The local store has them."""
