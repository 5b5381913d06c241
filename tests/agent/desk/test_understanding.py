"""What a caller means, however the recogniser spells it."""

from __future__ import annotations

import datetime as dt

import pytest

from agent.desk.understanding import MOST_CHARACTERS, Details, Intent, Meaning, Slot, understand
from tests.agent.desk.conftest import TODAY


def hear(text: str, expected: Slot | None = None) -> Meaning:
    return understand(text, today=TODAY, expected=expected)


@pytest.mark.parametrize(
    "text",
    [
        "at seven thirty",
        "I would like to come at. Seven-thirty.",
        "Half past seven.",
        "7:30",
        "7.30 p.m.",
        "19:30",
        "730 tomorrow",
        "seven thirty in the evening, please",
        "Friday at 7:30 pm for four",
    ],
)
def test_times_are_the_same_time(text: str) -> None:
    """Words, digits and twelve- or twenty-four-hour clocks mean one time: in the evening."""
    assert hear(text).details.time == dt.time(19, 30)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("quarter to eight", dt.time(19, 45)),
        ("half-past seven", dt.time(19, 30)),
        ("at noon", dt.time(12)),
        ("twelve thirty", dt.time(12, 30)),
        ("eleven in the morning", dt.time(11)),
        ("eleven am", dt.time(11)),
        ("nine o'clock", dt.time(21)),
    ],
)
def test_times_of_day(text: str, time: dt.time) -> None:
    """The part of the day decides where it is said; noon is noon."""
    assert hear(text).details.time == time


@pytest.mark.parametrize("text", ["Are you open on today?", "a table on tomorrow"])
def test_a_day_that_is_misheard_is_none(text: str) -> None:
    """Over a bad line "on Monday" is heard as what nobody says: it is asked for, or left open."""
    assert hear(text).details.date is None
    assert hear("today").details.date == TODAY


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("today", dt.date(2026, 11, 21)),
        ("tomorrow at eight", dt.date(2026, 11, 22)),
        ("On Friday evening", dt.date(2026, 11, 27)),
        ("Saturday", dt.date(2026, 11, 28)),
        ("the third of December", dt.date(2026, 12, 3)),
        ("January 2nd", dt.date(2027, 1, 2)),
        ("Friday the 4th", dt.date(2026, 12, 4)),
    ],
)
def test_dates_are_ahead(text: str, date: dt.date) -> None:
    """A date is the next one it can be; today's weekday is that of next week."""
    assert hear(text).details.date == date


@pytest.mark.parametrize(
    ("text", "party"),
    [
        ("There will be four of us.", 4),
        ("there will be for of us", 4),
        ("There will be a sixth of us.", 6),
        ("a table for for", 4),
        ("a table for two on Friday at seven thirty", 2),
        ("at 7 for 4", 4),
        ("party of twenty-two", 22),
        ("just me", 1),
        ("my wife and I", 2),
    ],
)
def test_parties(text: str, party: int) -> None:
    """A party is not mistaken for a time, nor lost to a homophone."""
    assert hear(text).details.party == party


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("My name is Johnson.", "Johnson"),
        ("name is smith", "Smith"),
        ("My name is. Johnson", "Johnson"),
        ("My name is … Johnson.", "Johnson"),
        ("My name is, um, Johnson.", "Johnson"),
        ("The name is uh Johnson.", "Johnson"),
        ("I would like to book it under the name of. Hmm. Wilson", "Wilson"),
        ("It's under O\N{RIGHT SINGLE QUOTATION MARK}Brien, thanks", "O'Brien"),
        ("Book it under the name of Anna Miller for two", "Anna Miller"),
        ("Um, it's John Smith, please.", "John Smith"),
        ("S-M-I-T-H", "Smith"),
    ],
)
def test_names(text: str, name: str) -> None:
    """A name is found in the ways callers give it, without what follows."""
    assert hear(text, Slot.NAME).details.name == name


@pytest.mark.parametrize("text", ["Sorry?", "seven thirty", "For four people", "Goodbye.", "No."])
def test_not_names(text: str) -> None:
    """What is no name is not taken for one, even when a name was asked for."""
    assert hear(text, Slot.NAME).details.name is None


def test_lone_number_is_what_was_asked_for() -> None:
    """ "Eight" is a party, a time or nothing."""
    assert hear("Eight.", Slot.PARTY).details == Details(party=8)
    assert hear("Eight.", Slot.TIME).details == Details(time=dt.time(20))
    assert hear("Eight.").details == Details()
    assert hear("Eight, for 4 people", Slot.TIME).details == Details(party=4, time=dt.time(20))


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("I'd like to book a table", Intent.BOOK),
        ("Do you have a table on Friday?", Intent.AVAILABILITY),
        ("I want to cancel my booking", Intent.CANCEL),
        ("Can I move my reservation?", Intent.CHANGE),
        ("When do you close?", Intent.HOURS),
        ("Are you off on Monday?", Intent.HOURS),
        ("Are you free on Monday?", Intent.AVAILABILITY),
        ("There are four of us", None),
    ],
)
def test_intents(text: str, intent: Intent | None) -> None:
    """What is to be done with a booking comes before the booking."""
    assert hear(text).intent is intent


@pytest.mark.parametrize(
    ("text", "agrees"),
    [
        ("Yes, no problem", True),
        ("That's right", True),
        ("No, that's right", False),
        ("that is not right", False),
        ("four", None),
    ],
)
def test_agreement(text: str, agrees: bool | None) -> None:
    """The first yes or no counts."""
    assert hear(text).agrees is agrees


@pytest.mark.parametrize(
    ("text", "goodbye"),
    [
        ("Good-bye.", True),
        ("No thank you that is everything", True),
        ("That is why I wanted to know thank you.", True),  # heard for "that is all"
        ("I wanted to know when you open", False),
        ("That's all right", False),
    ],
)
def test_goodbye(text: str, goodbye: bool) -> None:
    """A call is over when the caller says so."""
    assert hear(text).goodbye is goodbye


@pytest.mark.parametrize(
    "filler",
    ["friday ", "a ", "1 ", "not ", "x'-", "p.", "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}"],
)
def test_a_long_text_is_read_to_a_point(filler: str) -> None:
    """What is read of an utterance has a limit: more of it, as long as may be typed, changes
    nothing."""
    text = filler * (MOST_CHARACTERS // len(filler) + 1)
    assert hear(text) == hear(text.ljust(4000, "7"))
    assert hear("a table for four " + text).details.party == 4
