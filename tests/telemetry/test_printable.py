"""Foreign text is shown in one line, whole as far as it can be seen, and never obeyed."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.printable import MOST_CHARACTERS, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A table for four, please.", "A table for four, please."),
        ("  two\tspaces \r\n and\u2028lines\x85 ", "two spaces and lines"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\u202egnirts\u202c \u2066a\u2069 \u200f", r"\u202egnirts\u202c \u2066a\u2069 \u200f"),
        ("zero\u200bwidth\ufeff\u00ad", r"zero\u200bwidth\ufeff\xad"),
        ("\x00 \ud800 \U000e0001 \ue000", r"\x00 \ud800 \U000e0001 \ue000"),
        ("Zoë Ærøskøbing 東京 😀", "Zoë Ærøskøbing 東京 😀"),
        (
            "<script>alert(1)</script>",
            "<script>alert(1)</script>",
        ),  # a terminal's text, not a page's
        (r"C:\x1b", r"C:\x1b"),
        (12.5, "12.5"),
        (None, "None"),
        ("", ""),
    ],
)
def test_shown(text: object, shown: str) -> None:
    """What can be seen is as it was; white space is a space; the rest is escaped."""
    assert printable(text) == shown


def test_a_long_text_is_cut() -> None:
    """How much is left out is said, and nothing is done with it."""
    assert printable("a" * MOST_CHARACTERS) == "a" * MOST_CHARACTERS
    assert printable("ab" * 500_000, 10) == "ababababab… (999,990 more characters)"
    assert len(printable("\U000e0001" * 1_000_000)) < 11 * MOST_CHARACTERS


@given(st.text(st.characters(), max_size=50))
def test_any_text(text: str) -> None:
    """It is one printable line, it stays what it is when shown again, and XML can hold it."""
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    element = ET.Element("said", text=shown)
    assert ET.fromstring(ET.tostring(element)).attrib["text"] == shown  # noqa: S314 - our own
