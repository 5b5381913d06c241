"""Foreign text on its way to somebody's eyes: a terminal, a log, a report.

Callers choose names, words, ids and headers, and services answer as they like. Shown as it is, such
text can move the cursor, hide or forge lines, turn the direction of what follows, or fill the
screen. All of it passes :func:`printable`::

    terminal.say(f"call {printable(request.id)} ended")

What is written as JSON needs none of this: JSON's own escapes do it.
"""

from __future__ import annotations

from typing import Final

MOST_CHARACTERS: Final = 4000
"""Length of what is shown of one text, unless another is asked for."""


def printable(value: object, limit: int = MOST_CHARACTERS) -> str:
    """One line of text that a terminal shows and doesn't obey.

    Runs of white space, line breaks among it, become a space. Whatever else can't be seen is
    written as Python escapes it: control characters, marks of direction, characters without width,
    halves of a pair. All that is left can stand in an XML document. Of a text of more than
    ``limit`` characters the rest is counted instead.
    """
    text = value if isinstance(value, str) else str(value)
    left = len(text) - limit
    if left > 0:
        text = text[:limit]
    if not text.isprintable():
        text = "".join(map(_visible, text))
    shown = " ".join(text.split())
    return f"{shown}… ({left:,} more characters)" if left > 0 else shown


def indented(line: str) -> str:
    """A line of text as :func:`printable` has it, behind as many spaces as it began with."""
    return f"{' ' * (len(line) - len(line.lstrip(' ')))}{printable(line)}"


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    if character.isspace():
        return " "
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
