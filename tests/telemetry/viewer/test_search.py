"""Queries as expressions that SQLite understands, and where they were found."""

from __future__ import annotations

import pytest

from telemetry.viewer.search import expression


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", None),
        ('"', None),
        ("* - ( )", None),
        ("table", '"table" *'),
        ("a  table", '"a" "table" *'),
        ('"for four" tab', '"for four" "tab" *'),
        ('tab "for four', '"tab" "for four"'),
        ("NEAR(a b)", '"NEAR(a" "b)" *'),
        ("said:x", '"said:x" *'),
        ("\x00nul\x00", '"\\x00nul\\x00" *'),
    ],
)
def test_a_query_is_words_whatever_it_looks_like(query: str, wanted: str | None) -> None:
    """Each in quotation marks; the last one may go on."""
    assert expression(query) == wanted
