"""The meaning of a caller's words: intents, and the parts of a booking.

Plain patterns over English as a recogniser spells it: "7:30", "7.30" and "seven thirty" are the
same time, "for four" and "4 of us" the same party. Nothing here knows what was said before,
except which answer is expected: a lone "four" is a party, a time or nothing at all.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from agent.desk.speech import cardinal, ordinal
from agent.desk.wire import Weekday

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MOST_CHARACTERS: Final = 600
"""Length of what is read of one utterance, at most: half a minute of speech, and more than anybody
needs for a table. All of it is searched for each pattern, while other callers wait."""


class Intent(enum.Enum):
    """A wish of a caller."""

    MANAGER = enum.auto()
    HOURS = enum.auto()
    AVAILABILITY = enum.auto()
    BOOK = enum.auto()
    CHANGE = enum.auto()
    CANCEL = enum.auto()


class Slot(enum.StrEnum):
    """A part of a booking that a caller can name."""

    PARTY = "party"
    DATE = "date"
    TIME = "time"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Details:
    """The parts of a booking that are known."""

    party: int | None = None
    date: dt.date | None = None
    time: dt.time | None = None
    name: str | None = None

    def has(self, slot: Slot) -> bool:
        """True when this part is known."""
        return getattr(self, slot) is not None

    def updated(self, newer: Details) -> Details:
        """These details, with whatever is known of the newer ones in their place."""
        return Details(
            party=newer.party or self.party,
            date=newer.date or self.date,
            time=newer.time or self.time,
            name=newer.name or self.name,
        )

    def without(self, slots: Collection[Slot]) -> Details:
        """These details, with some parts forgotten."""
        return replace(self, **dict.fromkeys(slots))


@dataclass(frozen=True, slots=True)
class Meaning:
    """The meaning of one utterance."""

    intent: Intent | None = None
    details: Details = Details()
    mentions: frozenset[Slot] = frozenset()
    """Parts of a booking spoken of, with a value or without, as in "the time is wrong"."""
    agrees: bool | None = None
    """True for a yes, False for a no, whichever comes first."""
    goodbye: bool = False
    thanks: bool = False
    greeting: bool = False
    repeat: bool = False
    complaint: bool = False
    desk: bool = False
    """True when it asks for the front desk."""
    waits: bool = False
    """True when it asks to wait, or says that there is more to follow."""
    plain: bool = False
    """True for nothing but a yes or a no, and thanks, as far as one can tell."""

    @property
    def is_complaint(self) -> bool:
        """True when something is wrong, or isn't there: more than a plain no."""
        return self.complaint or (self.agrees is False and not self.plain and not self.waits)


def understand(text: str, *, today: dt.date, expected: Slot | None = None) -> Meaning:
    """Find the meaning of an utterance.

    ``today`` is the day relative dates count from: a weekday is the next one after it.
    ``expected`` is what was just asked for. Of a longer text the first :data:`MOST_CHARACTERS` are
    understood.
    """
    text = text[:MOST_CHARACTERS].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    words = _Words(text)
    rejected = words.take(_REJECTED_DAY)
    words.take(_REJECTED)
    mentions = {slot for slot, said in _MENTIONS.items() if said.search(words.all)}
    waits = bool(_WAIT.search(words.all))
    return Meaning(
        intent=next((intent for intent, said in _INTENTS.items() if said.search(words.all)), None),
        details=_details(text, words, today, expected),
        mentions=frozenset(mentions | {Slot.DATE} if rejected else mentions),
        agrees=_agrees(words.all),
        goodbye=bool(_GOODBYE.search(words.all)),
        thanks=bool(_THANKS.search(words.all)),
        greeting=bool(_GREETING.search(words.all)),
        repeat=bool(_REPEAT.search(words.all)),
        complaint=bool(_COMPLAINT.search(words.all)),
        desk=bool(_DESK.search(words.all)),
        waits=waits,
        plain=not waits
        and (bool(_NO_THANK_YOU.search(words.all)) or _POLITE.issuperset(words.all.split())),
    )


def _details(text: str, words: _Words, today: dt.date, expected: Slot | None) -> Details:
    # each finder takes what it understood out of the rest, the surest first: a time is not also
    # a party, and a lone number is what was asked for
    date = _date(words, today)
    people = _number(words, _PEOPLE)
    time = _time(words, _TIMES)
    party = people or _number(words, _PARTIES)
    if time is None and expected is Slot.TIME:
        time = _time(words, (_BARE_HOUR,))
    if party is None and expected is Slot.PARTY:
        party = _number(words, (_BARE_NUMBER,))
    name = _name(text, expected=expected is Slot.NAME)
    return Details(party=party, date=date, time=time, name=name)


def _agrees(words: str) -> bool | None:
    yes, no = _YES.search(words), _NO.search(words)
    if yes is None or no is None:
        return True if yes else False if no else None
    return yes.start() < no.start()


# -- phrases, over lower-case words without punctuation, numbers in digits ----------------------

_INTENTS: Final = {
    # the first that matches: "cancel my booking" is not a booking
    Intent.MANAGER: re.compile(r"\b(manager|supervisor|in charge|complain|complaint)\b"),
    Intent.CANCEL: re.compile(r"\b(cancel|call off)"),
    Intent.CHANGE: re.compile(r"\b(change|move|reschedule|different (day|date|time))\b"),
    Intent.HOURS: re.compile(
        r"\b(open|opening|opened|close|closing|closed|hours)\b"
        # "are you off on Monday": whatever was recognised for "open"
        rf"|^are you (?!able|available|booked|free|fully)(\S+ )?on ({'|'.join(Weekday)})s?$"
    ),
    Intent.AVAILABILITY: re.compile(
        r"\b(available|availability|free|(is|are) there|do you have)\b"
    ),
    Intent.BOOK: re.compile(r"\b(book|booking|reserve|reservation|table)\b"),
}
_MENTIONS: Final = {
    Slot.PARTY: re.compile(r"\b(number of|how many|people|guests|party)\b"),
    Slot.DATE: re.compile(r"\b(day|date)\b"),
    Slot.TIME: re.compile(r"\b(time|hour)\b"),
    Slot.NAME: re.compile(r"\bname\b"),
}
_YES: Final = re.compile(
    r"\b(yes|yeah|yep|yup|sure|correct|right|exactly|perfect|ok|okay|fine|great|go ahead"
    r"|please do|uh[- ]?huh|mm[- ]?hmm?|mhm)\b"
)
_NO: Final = re.compile(r"\b(no|nope|not|wrong|isn't|don't)\b")
_NO_THANK_YOU: Final = re.compile(r"^(no|nope) \S+ you$")
"""A "no, thank you", with whatever was recognised for "thank": "can't", once."""
_WAIT: Final = re.compile(
    r"^(no )?(wait|hold on|(just )?(a |1 )?(moment|second|minute)|(just )?(another|1 more) thing)"
    r"( please)?$"
)
_GOODBYE: Final = re.compile(
    r"\b(good[ -]?bye|bye|nothing else"
    r"|(that's|that is|that will be|that would be|that'll be) (all|it|everything)(?! right)"
    r"|i (want|wanted|need|needed) to know (thanks|thank you))\b"
)
_THANKS: Final = re.compile(r"\b(thanks|thank you|cheers)\b")
_GREETING: Final = re.compile(r"\b(hello|hi|hey|good (morning|afternoon|evening|day))\b")
_REPEAT: Final = re.compile(
    r"\b(repeat|pardon|excuse me|say (that|it) again|once more|what did you say)\b"
)
_COMPLAINT: Final = re.compile(
    r"\b(complain|complaint|cold|rude|slow|dirty|terrible|awful|horrible|bad|unhappy|disappointed"
    r"|overcharged|waited|waiting|sick|not (good|happy|right)|wrong)\b"
)
_POLITE: Final = frozenset(
    re.findall(
        r"\S+",
        """
        all am do don't else everything fine for good great i i'm is it just moment much need nice
        no nope not nothing now oh ok okay please problem really right sir so sure thank thanks that
        that's the then think thinking today um very we're well worries yeah yes you
        """,
    )
)
_DESK: Final = re.compile(r"\b(front desk|reception|(go|put me) back)\b")

# -- words and numbers --------------------------------------------------------------------------

_NUMBERS: Final = {
    word: str(number)
    for number in range(1, 60)
    for word in (cardinal(number), cardinal(number).replace("-", " "))
} | {
    word: f"{number}th"
    for number in range(1, 32)
    for word in (ordinal(number), ordinal(number).replace("-", " "))
}
_NUMBER: Final = re.compile(
    rf"\b({'|'.join(sorted(_NUMBERS, key=len, reverse=True))})\b"  # the longest first
)
_TIDY: Final = (
    (re.compile(r"(?<=\d)[.](?=\d)"), ":"),  # 7.30
    (re.compile(r"\b([ap])\.? ?m\b\.?"), r"\1m"),  # p.m., P M
    (re.compile(r"(?<=\d)(?=[ap]m\b)"), " "),
    (re.compile(r"(?<=\d)(st|nd|rd|th)\b"), "th"),
    (re.compile(r"[^\w:' -]|(?<!\d):|:(?!\d)"), " "),
    (re.compile(r"\b(for|fore)(?= of us\b)|(?<=\bfor )for\b"), "4"),  # what "four" sounds like
    (re.compile(r"\b(to|too)(?= of us\b)|(?<=\bfor )(to|too)\b"), "2"),
    (re.compile(r"\s+"), " "),
)


class _Words:
    """An utterance in plain words; ``rest`` is what no finder has taken yet."""

    def __init__(self, text: str) -> None:
        words = text.lower()
        for pattern, replacement in _TIDY:
            words = pattern.sub(replacement, words)
        self.all = _NUMBER.sub(lambda found: _NUMBERS[found[0]], words).strip()
        self.rest = self.all

    def take(self, *patterns: re.Pattern[str]) -> re.Match[str] | None:
        """Find the first of these patterns in what is left, and take it out."""
        for pattern in patterns:
            if found := pattern.search(self.rest):
                self.rest = f"{self.rest[: found.start()]} | {self.rest[found.end() :]}"
                return found
        return None


# what a caller takes back, as in "not Friday, Saturday": no part of what is wanted
_REJECTED_DAY: Final = re.compile(rf"\bnot (?:on )?(?:{'|'.join(Weekday)})s?\b")
_REJECTED: Final = re.compile(r"\bnot (?:at |for )?\d{1,2}(?:[: ][0-5]\d)?(?: people| o'?clock)?\b")

# -- dates ----------------------------------------------------------------------------------------

_RELATIVE: Final = re.compile(r"(?<!\bon )\b(today|tonight|this (?:afternoon|evening)|tomorrow)\b")
"""Nobody says "on today": that is another day, misheard."""
_WEEKDAY: Final = re.compile(rf"\b({'|'.join(Weekday)})s?\b")
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)
_MONTH: Final = rf"(?P<month>{'|'.join(_MONTHS)})"
_DAY_OF_MONTH: Final = (
    re.compile(rf"\b(?P<day>\d{{1,2}})(?:th)?(?: of)? {_MONTH}\b"),
    re.compile(rf"\b{_MONTH}(?: the)? (?P<day>\d{{1,2}})(?:th)?(?!:)\b"),
    re.compile(r"\bthe (?P<day>\d{1,2})th\b"),
)


def _date(words: _Words, today: dt.date) -> dt.date | None:
    weekday = None
    while found := words.take(_WEEKDAY):  # "Friday, no, Saturday"
        weekday = found
    # "Friday the 27th": the number decides
    if found := words.take(*_DAY_OF_MONTH):
        month = found.groupdict().get("month")
        return _next_day(today, int(found["day"]), 1 + _MONTHS.index(month) if month else None)
    if found := words.take(_RELATIVE):
        return today + dt.timedelta(days=found[1] == "tomorrow")
    if weekday:
        ahead = (list(Weekday).index(Weekday(weekday[1])) - today.weekday() - 1) % 7 + 1
        return today + dt.timedelta(days=ahead)
    return None


def _next_day(today: dt.date, day: int, month: int | None) -> dt.date | None:
    """The first date from today on with this day of the month, and this month if one is given."""
    dates = (today + dt.timedelta(days=ahead) for ahead in range(366))
    return next((date for date in dates if date.day == day and month in (None, date.month)), None)


# -- times ----------------------------------------------------------------------------------------

_HALF: Final = r"(?: (?:(?P<half>am|pm)|in the (?P<part>morning|afternoon|evening)|at night)\b)?"
_HOUR: Final = r"\b(?P<hour>\d{1,2})"
_TIMES: Final = tuple(
    re.compile(pattern + _HALF)
    for pattern in (
        r"\b(?P<noon>noon|midday)\b",
        r"\b(?P<past>half|quarter|\d{1,2})[ -](?:past|after) (?P<hour>\d{1,2})\b",
        r"\b(?P<to>quarter|\d{1,2}) (?:to|before) (?P<hour>\d{1,2})\b",
        _HOUR + r"[: -](?P<minute>[0-5]\d)\b",
        _HOUR + r"(?P<minute>[03]0)\b",  # 730
        _HOUR + r"(?: o'?clock\b|(?= [ap]m\b)|(?= in the (?:morn|after|even)))",
        r"\b(?:at|around|about|by|to|until) (?P<hour>\d{1,2})\b",
    )
)
_BARE_HOUR: Final = re.compile(_HOUR + r"\b")
_MINUTES: Final = {"half": 30, "quarter": 15}


def _time(words: _Words, patterns: Iterable[re.Pattern[str]]) -> dt.time | None:
    found = words.take(*patterns)
    if found is None:
        return None
    said = found.groupdict()
    if said.get("noon"):
        return dt.time(12)
    hour, minute = int(said["hour"]), int(said.get("minute") or 0)
    if past := said.get("past"):
        minute = _MINUTES.get(past) or int(past)
    elif to := said.get("to"):
        hour, minute = hour - 1, 60 - (_MINUTES.get(to) or int(to))
    morning = said.get("half") == "am" or said.get("part") == "morning"
    if hour < 12 and not morning:  # a restaurant: "at eight" is in the evening
        hour += 12
    elif hour == 12 and morning:
        hour = 0
    return dt.time(hour, minute) if hour < 24 and 0 <= minute < 60 else None


# -- parties --------------------------------------------------------------------------------------

_PEOPLE: Final = (
    re.compile(  # "a 6th of us": whatever was recognised for "uh, six"
        r"\b(?P<number>\d{1,3})(?:th)? (?:people|persons|guests|adults|of us|in total|diners)\b"
    ),
    re.compile(r"\b(?P<one>just me|myself|on my own|1 person|me alone)\b"),
    re.compile(r"\b(?P<two>a couple|my (?:wife|husband|partner) and (?:i|me)|both of us)\b"),
)
_PARTIES: Final = (
    re.compile(r"\b(?:party of|group of|for|we are|we're|there are|will be) (?P<number>\d{1,3})\b"),
)
_BARE_NUMBER: Final = re.compile(r"\b(?P<number>\d{1,3})\b")


def _number(words: _Words, patterns: Iterable[re.Pattern[str]]) -> int | None:
    found = words.take(*patterns)
    if found is None:
        return None
    said = found.groupdict()
    return 1 if said.get("one") else 2 if said.get("two") else int(said["number"])


# -- names ----------------------------------------------------------------------------------------

_LETTERS: Final = r"([^\W\d_][\w'-]*(?: [^\W\d_][\w'-]*){0,2})"
_PAUSE: Final = r"[.,\u2026]*(?: (?:u[hm]+|er+m?|h?mm+)\b[.,\u2026]*| \u2026)*"  # "is. Um, Smith"
_NAMED: Final = re.compile(
    rf"\b(?:name(?:(?: is|'s| of| to){_PAUSE})?|under(?! the\b)|call me) {_LETTERS}", re.IGNORECASE
)
_INTRODUCED: Final = re.compile(
    r"^(?:(?:well|um|uh|yes|sure|okay|ok)[, ]+)*"
    r"(?:(?:it's|it is|this is|i'm|i am|that's|that is|that would be|for) )?"
    rf"{_LETTERS}",
    re.IGNORECASE,
)
_SPELLED: Final = re.compile(r"\b(?:[A-Za-z][-. ]+){2,}[A-Za-z]\b")
_NOT_NAMES: Final = frozenset(
    re.findall(
        r"\w+",
        """
        a actually an and at book booking bye can cancel change could day do excuse for from good
        goodbye have hello hi i in instead is it know later let let's make mean meant my name no
        none nope not of okay on one our pardon please rather repeat reservation right same say
        sorry sure table thank thanks that the there this time to today tomorrow tonight under wait
        we what when which wrong yeah yes you your
        """,
    )
).union(Weekday, _NUMBERS)


def _name(text: str, *, expected: bool) -> str | None:
    text = _SPELLED.sub(lambda letters: re.sub(r"[-. ]", "", letters[0]).capitalize(), text.strip())
    found = _NAMED.search(text) or (_INTRODUCED.search(text) if expected else None)
    if found is None:
        return None
    name = takewhile(lambda word: word.lower() not in _NOT_NAMES, found[1].split())
    return " ".join(word[0].upper() + word[1:] for word in name) or None
