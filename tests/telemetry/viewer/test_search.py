"""Queries as expressions that SQLite understands, and where they were found."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from telemetry.viewer.search import BETWEEN, excerpts, expression
from telemetry.viewer.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.fixture
def cursor() -> Iterator[sqlite3.Cursor]:
    connection = sqlite3.connect(":memory:")
    connection.executescript(TABLES)
    yield connection.cursor()
    connection.close()


def excerpt(cursor: sqlite3.Cursor, said: str, query: str) -> str | None:
    """The excerpt of a text for a query."""
    cursor.execute("INSERT OR REPLACE INTO words (rowid, said, about) VALUES (1, ?, 'c')", (said,))
    wanted = expression(query)
    assert wanted is not None
    return excerpts(cursor, wanted, [1]).get(1)


NUMBERS = " ".join(map(str, range(100, 200)))


@pytest.mark.parametrize(
    ("said", "query", "wanted"),
    [
        ("one two three", "two", "one <mark>two</mark> three"),
        ("one two three", "four", None),
        ("one two", "c", None),
        ("a <b> c", "b", "a &lt;<mark>b</mark>&gt; c"),
        (f"yes {BETWEEN} no", "no", "yes · <mark>no</mark>"),
        (
            NUMBERS,
            "150",
            "…142 143 144 145 146 147 148 149 <mark>150</mark> "
            "151 152 153 154 155 156 157 158 159 160 161 162 163 164 165…",
        ),
        (
            NUMBERS,
            f'"{NUMBERS[4:79]}"',
            "100 <mark>101 102 103 104 105 106 107 108 109 110 111 112 113 114 115 116</mark>…",
        ),
        ("x" * 500 + " two", "two", "…" + "x" * 199 + " <mark>two</mark>"),
    ],
)
def test_an_excerpt_is_where_it_was_found_first(
    cursor: sqlite3.Cursor, said: str, query: str, wanted: str | None
) -> None:
    """With some words on both sides; a mark ends where the excerpt does."""
    assert excerpt(cursor, said, query) == wanted


def test_an_excerpt_of_many_hits_takes_no_longer_than_of_few(cursor: sqlite3.Cursor) -> None:
    """Of a conversation in which somebody says one word a hundred thousand times: it took half a
    minute, while nobody's page could be made."""
    found = excerpt(cursor, "a " * 100_000, "a")
    assert found is not None
    assert found.count("<mark>") == 16
