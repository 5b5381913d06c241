"""Dates, times and numbers in words."""

from __future__ import annotations

import datetime as dt

import pytest

from agent.desk.speech import cardinal, ordinal, spoken_choice, spoken_date, spoken_time


@pytest.mark.parametrize(
    ("number", "words"), [(0, "zero"), (12, "twelve"), (40, "forty"), (99, "ninety-nine")]
)
def test_cardinals(number: int, words: str) -> None:
    """Numbers below a hundred are words."""
    assert cardinal(number) == words


def test_large_numbers_stay_digits() -> None:
    """A number nobody says in a restaurant is left to the synthesiser."""
    assert cardinal(300) == "300"


@pytest.mark.parametrize(
    ("number", "words"), [(1, "first"), (12, "twelfth"), (20, "twentieth"), (31, "thirty-first")]
)
def test_ordinals(number: int, words: str) -> None:
    """Days of the month are ordinals."""
    assert ordinal(number) == words


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (dt.time(0), "midnight"),
        (dt.time(11, 5), "eleven oh five in the morning"),
        (dt.time(12), "noon"),
        (dt.time(12, 30), "twelve thirty in the afternoon"),
        (dt.time(19, 30), "seven thirty in the evening"),
    ],
)
def test_times(time: dt.time, words: str) -> None:
    """Times are told on a twelve-hour clock, with the part of the day."""
    assert spoken_time(time) == words


def test_dates() -> None:
    """Dates have their weekday, which is what callers go by."""
    assert spoken_date(dt.date(2026, 11, 27)) == "Friday the twenty-seventh of November"


def test_choices() -> None:
    """Several are joined as one says them; a single one stands alone."""
    assert spoken_choice(["six", "seven", "eight"]) == "six, seven or eight"
    assert spoken_choice(["Mondays"], "and") == "Mondays"
