"""Dates, times and numbers as they are spoken. A synthesiser reads words better than digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

_ONES: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TENS: Final = (
    *("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"),
)
_IRREGULAR: Final = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_WEEKDAYS: Final = (
    *("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
)
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)


def cardinal(number: int) -> str:
    """A number in words from 0 to 99, in digits beyond."""
    if not 0 <= number < 100:
        return str(number)
    if number < len(_ONES):
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return f"{_TENS[tens]}-{_ONES[ones]}" if ones else _TENS[tens]


def ordinal(number: int) -> str:
    """``1`` → "first", ``27`` → "twenty-seventh"; from 1 to 99."""
    head, dash, tail = cardinal(number).rpartition("-")
    tail = f"{tail[:-1]}ieth" if tail.endswith("y") else _IRREGULAR.get(tail, f"{tail}th")
    return f"{head}{dash}{tail}"


def spoken_date(day: dt.date) -> str:
    """ "Friday the twenty-seventh of November"."""
    return f"{_WEEKDAYS[day.weekday()]} the {ordinal(day.day)} of {_MONTHS[day.month - 1]}"


def spoken_time(time: dt.time, *, daypart: bool = True) -> str:
    """ "seven thirty in the evening"; without ``daypart``, "seven thirty"."""
    if time.minute == 0 and time.hour in (0, 12):
        return "noon" if time.hour else "midnight"
    words = cardinal(time.hour % 12 or 12)
    if time.minute:
        words += f" {'oh ' if time.minute < 10 else ''}{cardinal(time.minute)}"
    return f"{words} in the {_daypart(time)}" if daypart else words


def spoken_choice(options: Sequence[str], word: str = "or") -> str:
    """ "six, seven or eight"."""
    *most, last = options
    return f"{', '.join(most)} {word} {last}" if most else last


def _daypart(time: dt.time) -> str:
    if time.hour < 12:
        return "morning"
    return "afternoon" if time.hour < 17 else "evening"
