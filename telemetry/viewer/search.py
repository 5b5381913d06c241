"""Full-text search over what was said, and over ids, names, users and tags.

All words of a query have to be there, in any order, the last one at least begun; ``"…"`` is a
phrase. Case and accents don't matter.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from markupsafe import Markup, escape

from ..printable import printable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

LONGEST: Final = 200
"""Characters of a query."""
_WORD: Final = re.compile(r'"([^"]+)"?|([^\s"]+)')
_BEGIN, _END = "\x02", "\x03"
"""Marks around what was found; no text in the index has them."""
BETWEEN: Final = "\ue000"
"""Stands between what two people said, as a word: no phrase goes over it, no query has it."""
_BEFORE, _AFTER = 8, 16
"""Words shown of where it was found: before it, and from it on."""
_CHARACTERS: Final = 200
"""Of the words before it at most, and half of those after it."""
MOST_SECONDS: Final = 2.0
"""A search that takes longer is given up: nobody else's page is made meanwhile."""
_EXCERPTS_SECONDS: Final = 1.0


def expression(query: str) -> str | None:
    """The FTS5 expression of a query; None if there is no word in it.

    Syntax: https://sqlite.org/fts5.html#full_text_query_syntax
    """
    found = [
        (phrase or word, bool(word))
        for phrase, word in _WORD.findall(printable(query, LONGEST))
        if any(map(str.isalnum, phrase or word))
    ]
    parts = [f'"{text}"' for text, _ in found]
    if found and found[-1][1]:
        parts[-1] += " *"
    return " ".join(parts) or None


def excerpts(cursor: sqlite3.Cursor, expression: str, numbers: Sequence[int]) -> dict[int, Markup]:
    """The places where it was found in what was said, by entry, as markup. Those that there is no
    time for are left out."""
    until = time.monotonic() + _EXCERPTS_SECONDS
    marks = ", ".join("?" * len(numbers))
    rows = cursor.execute(
        # its snippet() takes a time that grows with the square of what was found
        f"SELECT rowid, highlight(words, 0, ?, ?) FROM words "  # noqa: S608 - marks
        f"WHERE words MATCH ? AND rowid IN ({marks})",
        (_BEGIN, _END, expression, *numbers),
    )
    found: dict[int, Markup] = {}
    for number, text in rows:
        if _BEGIN in text:
            found[number] = _marked(_around(text))
        if time.monotonic() > until:
            break
    return found


def _around(text: str) -> str:
    """The part of a text around the first place that is marked in it."""
    at = text.index(_BEGIN)
    before = text[max(at - _CHARACTERS, 0) : at]
    after = text[at : at + 2 * _CHARACTERS]
    first, last = before.split()[-_BEFORE:], after.split()[:_AFTER]
    left = " ".join(first) + (" " if before[-1:].isspace() else "")
    right = " ".join(last)
    if right.count(_BEGIN) > right.count(_END):
        right += _END
    begins = at <= _CHARACTERS and len(before.split()) <= _BEFORE
    ends = at + 2 * _CHARACTERS >= len(text) and len(after.split()) <= _AFTER
    return f"{'' if begins else '…'}{left}{right}{'' if ends else '…'}"


def _marked(text: str) -> Markup:
    """Text as markup, what was found marked."""
    escaped = str(escape(" ".join(text.replace(BETWEEN, "·").split())))
    return Markup(  # noqa: S704 - escaped above
        escaped.replace(_BEGIN, "<mark>").replace(_END, "</mark>")
    )
