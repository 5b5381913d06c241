"""Gaps at the caller's ear: what a caller's own end says it waited, held against what is known.

Whoever plays the sound knows best when it was heard: the way through network and buffers, both
ways, is in the caller's figure and not in ours. But it comes from outside. So it is a number beside
telemetry's own, of the response that we know of, and one that cannot be is left out. Pure functions
of time stamps (Unix seconds).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from ... import attributes as names

if TYPE_CHECKING:
    from .latency import Marks
    from .turns import Turns

APART_SECONDS: Final = 0.2
"""Difference allowed between the caller and us on when a sound begins or ends: each finds that in
samples of its own."""


def note(turns: Turns, gap: object, now: float) -> bool:
    """Put down what the caller says, at ``now``, that they waited for the newest response.

    Which response that is we decide; it is told once. False if the figure can't be, or comes when
    its turn is over.
    """
    for turn in turns.newest_first():
        limits = bounds(turn.marks, now)
        if limits is None:
            continue
        seconds = _number(gap)
        if names.CALLER_GAP in turn.facts or not limits[0] <= seconds <= limits[1]:
            return False
        # nobody measures finer, and digits are room for other things than a time
        turn.facts[names.CALLER_GAP] = round(seconds, 3)
        return True
    return False


def bounds(marks: Marks, now: float) -> tuple[float, float] | None:
    """The least and the most seconds that a caller can have waited; None if no answer was heard.

    They can't have heard it before it was sent, and can't tell of it before they have heard it.
    """
    silent_at, sent_at = marks.voiced_until, marks.audible_at or marks.first_frame_at
    if silent_at is None or sent_at is None or sent_at < silent_at:
        return None
    least = sent_at - silent_at - APART_SECONDS
    return max(0.0, least), max(now, sent_at) - silent_at + APART_SECONDS


def _number(gap: object) -> float:
    """What was received as a number; NaN, which is between no limits, for anything else."""
    if isinstance(gap, bool) or not isinstance(gap, (int, float)):
        return math.nan
    try:
        return float(gap)
    except OverflowError:  # JSON's integers have no end
        return math.inf
