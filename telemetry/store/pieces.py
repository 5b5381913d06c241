"""Long texts, each piece of them stored once for a conversation.

Every request to a model says all that was said before, and two spans of a turn may record it: as
they are, 120 turns of 4 kB are 60 MB. A text that is long is divided where one member of a list of
structures ends and the next begins, wherever that may be in it; each piece is a row, and the text
becomes their numbers. Put together again it is the same, letter by letter.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

LONG: Final = 2_000
"""Characters of a text from which on it is divided."""
_SHORT: Final = 100
"""Characters of a piece up to which it stands where it is."""
_MARK: Final = "\0pieces"
"""The name under which the pieces of a text stand in its place."""
_END: Final = re.compile(r"(?<=[}\]]),\s*(?=[{\[])")


def divided(attributes: Mapping[str, Any], pieces: dict[int, str]) -> Mapping[str, Any]:
    """The attributes with numbers for what is long; what those stand for is added to ``pieces``."""
    if not any(type(value) is str and len(value) >= LONG for value in attributes.values()):
        return attributes
    return {
        name: _divided(value, pieces) if type(value) is str and len(value) >= LONG else value
        for name, value in attributes.items()
    }


def _divided(value: str, pieces: dict[int, str]) -> dict[str, list[int | str]]:
    found: list[int | str] = []
    start = 0
    for end in [*(match.end() for match in _END.finditer(value)), len(value)]:
        piece = value[start:end]
        start = end
        if len(piece) <= _SHORT:
            found.append(piece)
            continue
        digest = hashlib.blake2b(piece.encode("utf-8", "replace"), digest_size=8).digest()
        number = int.from_bytes(digest) >> 1  # SQLite's numbers have a sign
        pieces[number] = piece
        found.append(number)
    return {_MARK: found}


def put(cursor: sqlite3.Cursor, conversation: int, pieces: Mapping[int, str]) -> None:
    """Store pieces, but for those that are there."""
    cursor.executemany(
        "INSERT OR IGNORE INTO piece VALUES (?, ?, ?)",
        (
            (conversation, number, piece.encode("utf-8", "replace").decode())
            for number, piece in pieces.items()
        ),
    )


def of_conversation(cursor: sqlite3.Cursor, conversation: int) -> dict[int, str]:
    """The pieces of a conversation, by their numbers."""
    rows = cursor.execute("SELECT number, text FROM piece WHERE conversation = ?", (conversation,))
    return {row["number"]: row["text"] for row in rows}


def whole(attributes: dict[str, Any], pieces: Mapping[int, str]) -> dict[str, Any]:
    """The attributes as they were."""
    for name, value in attributes.items():
        if isinstance(value, dict) and _MARK in value:
            attributes[name] = _whole(value[_MARK], pieces)
    return attributes


def _whole(found: Iterable[int | str], pieces: Mapping[int, str]) -> str:
    return "".join(one if isinstance(one, str) else pieces.get(one, "…") for one in found)
