"""What telemetry has seen, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from .counter import Counter

if TYPE_CHECKING:
    from collections.abc import Mapping


refused_headers: Final = Counter()
"""Trace headers passed over in this process: reading them needs no runtime."""
faults: Final = Counter()
"""What instrumentation got wrong in this process: a framework's callbacks know no runtime."""


class Tally:
    """The running counts behind :class:`Stats`. They change in the call, not at delivery."""

    def __init__(self) -> None:
        self.refused_headers_before = refused_headers.read()
        self.faults_before = faults.read()
        self.conversations = Counter()
        self.spans = Counter()
        self.orphan_spans = Counter()
        self.late_spans = Counter()
        self.open_at_finish = Counter()


@dataclass(frozen=True, slots=True)
class Stats:
    """What telemetry has seen since ``init``, in a forked child since the fork. Zero orphans and
    zero drops is the promise."""

    conversations: int
    """Conversations opened."""
    spans: int
    """Spans started, the conversations' own root spans aside."""
    orphan_spans: int
    """Spans started where no conversation was current."""
    late_spans: int
    """Spans started after their conversation had ended."""
    dropped_spans: int
    """Spans that will not arrive: the sum over ``dropped``."""
    open_at_finish: int
    """Spans that were still open when their conversation ended, or when the runtime closed."""
    refused_headers: int
    """Trace headers that somebody sent and that were passed over: malformed, of another trace."""
    faults: int
    """What instrumentation got wrong and passed over, so that calls went on: a bug of telemetry's,
    which the log tells."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """What was given up, by reason: spans of lost conversations, errors, envelopes."""
