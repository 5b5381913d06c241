"""Words, placed in time within the speech they are of.

Nobody says when each word was said: a trace knows the speech, from its first sound to its last, and
its text. A word's share of the letters is its share of the time in which a voice can be heard; and
where the voice pauses, a word ends. Without a recording all of the speech counts as voice. The
first word begins with the first sound, the last one ends with the last: those are exact.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypedDict

if TYPE_CHECKING:
    from collections.abc import Sequence

_EACH: Final = 1.5
"""Letters that the end of a word is as long as."""
_PAUSE_SECONDS: Final = 0.12
"""Silence of this length lies between two words, rather than in one."""
_AFTER: Final = frozenset(".,;:!?…—")
"""Characters at which people pause."""
_NEAR: Final = 0.12
"""The share of a speech by which a word's end may be moved to a pause."""
_MOST_WORDS: Final = 2000
"""Words of one speech that are placed; the rest go with the last of them."""

Span = tuple[float, float]
"""Two moments, in seconds: from the first to the second."""


class Word(TypedDict):
    """A word where it was said; in seconds from the start of the conversation."""

    text: str
    at: float
    until: float


def placed(text: str, voiced: Sequence[Span]) -> list[Word]:
    """The words of a speech, where they were said.

    Args:
        text: all of it.
        voiced: when a voice was heard, in order, not empty.
    """
    words = text.split(maxsplit=_MOST_WORDS - 1)
    if not words or not voiced:
        return []
    weights = [sum(map(str.isalnum, word)) + _EACH for word in words]
    total = sum(weights)
    ends: list[float] = []
    reached = 0.0
    for weight in weights:
        reached += weight
        ends.append(reached / total)
    voice = sum(until - at for at, until in voiced)
    ends = _at_pauses(words, ends, _pauses(voiced, voice))
    found: list[Word] = []
    share = 0.0
    for word, end in zip(words, ends, strict=True):
        at, until = _moment(share, voiced, voice, begins=True), _moment(end, voiced, voice)
        found.append({"text": word, "at": round(at, 3), "until": round(max(at, until), 3)})
        share = end
    return found


def _pauses(voiced: Sequence[Span], voice: float) -> list[float]:
    """The shares of the voice that are over where it pauses."""
    found, heard = [], 0.0
    for (at, until), (onward, _) in pairwise(voiced):
        heard += until - at
        if onward - until >= _PAUSE_SECONDS and voice > 0:
            found.append(heard / voice)
    return found


def _at_pauses(words: Sequence[str], ends: Sequence[float], pauses: Sequence[float]) -> list[float]:
    """Move words' ends to the pauses that they are near to, those before a pause in the text
    first; what lies between moves along."""
    moved: dict[int, float] = {len(ends) - 1: 1.0, -1: 0.0}
    for pause in pauses:
        near = [
            (abs(end - pause) - (_NEAR / 2 if words[index][-1] in _AFTER else 0.0), index)
            for index, end in enumerate(ends[:-1])
            if abs(end - pause) <= _NEAR and index not in moved
        ]
        before = max(index for index, share in moved.items() if share <= pause)
        after = min(index for index, share in moved.items() if share >= pause)
        for _, index in sorted(near):
            if before < index < after:
                moved[index] = pause
                break
    whole = [0.0, *ends]
    anchors = sorted(moved.items())
    found: list[float] = []
    for (first, low), (last, high) in pairwise(anchors):
        start, end = whole[first + 1], whole[last + 1]
        for index in range(first + 1, last + 1):
            part = (ends[index] - start) / (end - start) if end > start else 1.0
            found.append(low + part * (high - low))
    return found


def _moment(share: float, voiced: Sequence[Span], voice: float, *, begins: bool = False) -> float:
    """The moment at which this share of the voice has been heard; at a pause its end, for a word
    that begins, else its start."""
    left = share * voice
    for at, until in voiced:
        length = until - at
        if left < length - 1e-9 or (not begins and left <= length + 1e-9):
            return at + max(left, 0.0)
        left -= length
    return voiced[-1][1]
