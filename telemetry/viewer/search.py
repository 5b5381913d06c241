"""Full-text search over what was said, and over ids, names, users and tags.

All words of a query have to be there, in any order, the last one at least begun; ``"…"`` is a
phrase. Case and accents don't matter.
"""

from __future__ import annotations

import re
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
_AROUND: Final = 24
"""Words shown of where it was found."""


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
    """The places where it was found in what was said, by entry, as markup."""
    marks = ", ".join("?" * len(numbers))
    rows = cursor.execute(
        f"SELECT rowid, snippet(words, 0, ?, ?, '…', {_AROUND}) FROM words "  # noqa: S608 - marks
        f"WHERE words MATCH ? AND rowid IN ({marks})",
        (_BEGIN, _END, expression, *numbers),
    )
    return {number: _marked(text) for number, text in rows if _BEGIN in text}


def _marked(text: str) -> Markup:
    """Text as markup, what was found marked."""
    escaped = str(escape(" ".join(text.replace(BETWEEN, "·").split())))
    return Markup(  # noqa: S704 - escaped above
        escaped.replace(_BEGIN, "<mark>").replace(_END, "</mark>")
    )
