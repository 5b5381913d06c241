"""English sentences whose end is still to come, as a recogniser spells what was said so far.

Plain rules over the last words: nobody ends a request with "a table for", "my name is" or "um".
They know grammar and nothing of the subject, so they serve any agent. No I/O.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final


class Ending(Enum):
    """The end of what was said so far, before a pause."""

    CLOSED = auto()
    """All may be said."""
    LOOSE = auto()
    """All may be said, and as often it isn't: "at seven", thirty; "on Friday", at eight."""
    OPEN = auto()
    """More comes: "a table for", "my name is", "um"."""


_TRAILS_OFF: Final = re.compile(r"(\.\.+|…|,)$")
"""A recogniser's signs for a voice that stays up."""
_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")

_FILLERS: Final = frozenset(re.findall(r"\w+", "ah eh er erm hm hmm mm uh uhm um umm"))
_LIKE_A_FILLER: Final = frozenset(
    re.findall(
        r"[\w']+",
        "a am an ah arm bum dumb 'em em en eh her hum m mom mum no o of oh on or thumb un unb up",
    )
)
"""Words, and what is none, that "um" and "uh" are heard as."""
_OPEN: Final = frozenset(
    re.findall(
        r"[\w']+",
        """
        a an the some any my your our their its every each another next either both half
        mr mrs ms miss mister dr doctor
        and or but because if when while unless although whether plus than as like
        of for from at into onto to with by on in about between until till during without under near
        beside behind through per around approximately roughly preferably
        i we they he she i'm we're you're they're it's that's there's he's she's name's i'd we'd
        i'll we'll it'll is are am was were be been will would could can should must may might shall
        do does did has had
        make get give take bring want need prefer add
        maybe perhaps very really actually also just only
        """,
    )
)
"""Words after which something has to come: articles and their like, titles, conjunctions,
prepositions, subjects, auxiliaries, verbs that want an object, adverbs."""
_CLOSED: Final = (
    # "yes, I am", "we do", "it is": answers, though they end as an opening does
    re.compile(
        r"^(?:(?:yes|yeah|yep|no|nope|sure|well|oh|of course) )*(?:i|you|we|they|he|she|it"
        r"|that|there) (?:is|are|am|was|were|do|does|did|has|had|have|can|could|will|would"
        r"|should|might|may)$"
    ),
    re.compile(
        r"\b(?:all|what|as|where|that) (?:i|we|you|they|it|that|there)(?: really| just)?"
        r" (?:want|need|is|are|was|were|am|do|did|can|could|had|meant)$"
    ),
    re.compile(
        r"\b(?:that's|this is|it's|who|what|thanks?|why|how|whoever|whatever)"
        r" (?:who|what|where|how|why) (?:i|we|it|that|they|you) (?:am|are|is|was|were)$"
    ),
    re.compile(
        r"^(?:maybe|perhaps|both|either|another|next|me too|the same|just me|only me"
        r"|not (?:really|actually|yet))$"
    ),
    re.compile(
        r"\b(?:what|who|where|how|which|why|when)(?: \w+)* (?:like|about|for|from|with|to|at"
        r"|is (?:it|that)|are (?:they|you)|under|by)$"
    ),
    re.compile(r"\b(?:no|not) (?:really|actually|just)$"),
    re.compile(
        r"\b(?:please do|(?:hold|go|come|carry|hang|move|keep|later) on|(?:come|check|walk"
        r"|checked|fit|fill|dine|eat|stay|squeeze)(?: \w+)? in)$"
    ),
)
_ASKS: Final = re.compile(
    r"(?<!how )(?<!who )\b(?:can|could|would|will|do|did|may|should|are|have) (?:you|i|we)$"
    r"|\b(?:are|is) there$"
)
_STILL: Final = re.compile(
    r"(?:^|\b)(?:i (?:would|want|need|have|do not|don't|can't|cannot)|i'd like|i would like"
    r"|we (?:would|want|need|have)|do you have|is there|are there|let me (?:think|see|check|look)"
    r"|let's see|and then|and so|or so|well|okay so|the number|you know|i think|i guess|i mean"
    r"|it should be|it would be|that would be|that will be|make it|(?:is|was|at|add) (?:us|them)"
    r"|half past|quarter past"
    r"|a quarter)$"
)
_CARDINAL: Final = (
    "(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty)"
)
_ORDINAL: Final = "(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|twelfth)"
_DAY: Final = (
    "(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|january|february|march|april|may|june|july"
    "|august|september|october|november|december)"
)
_LOOSE: Final = re.compile(
    # after a word that is no number: two numbers are a time, and one alone was asked for
    rf"\b(?!{_CARDINAL}\b)[a-z']+ (?:\d+|{_CARDINAL}|{_ORDINAL}|{_DAY})$"
)
_THINKS_ALOUD: Final = re.compile(r"^(?:so|well|okay so|ok so|now|right so|and)$")

_DIGIT: Final = r"(?:\d+|zero|oh|one|two|three|four|five|six|seven|eight|nine|double|triple)"
_NUMBER: Final = re.compile(rf"\b{_DIGIT}(?: {_DIGIT})*$")
_OF_DIGITS: Final = re.compile(
    r"\b(?:(?:phone|telephone|mobile|cell|contact|account|card|order|booking|reference|my|the|a)"
    r" (?:phone )?number|reach (?:me|you|us)|call (?:me|you|us) (?:on|at|back)|digits)\b"
)
_MOST_WORDS: Final = 16
"""Words at the end that are looked at: somebody may have spoken for half a minute."""
_FEWEST_DIGITS: Final = 7
"""Digits of the shortest number that people are called at, without its area."""
_READ_OUT: Final = 3
"""Digits one after the other that nothing but such a number has."""


def ending(text: str, asked: str = "") -> Ending:
    """Tell how a sentence ends.

    Args:
        text: the words so far, as a recogniser spells them.
        asked: the agent's words before: a number that was asked for has several digits.
    """
    text = text.strip()
    words = [
        word.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'") for word in _WORD.findall(text)
    ][-_MOST_WORDS:]
    said = " ".join(words)
    if not words or any(answer.search(said) for answer in _CLOSED):
        return Ending.CLOSED
    if (
        _is_open(words)
        or (words[-1] in _LIKE_A_FILLER and len(words) > 1 and _is_open(words[:-1]))
        or _TRAILS_OFF.search(text)
        or _is_short_of_digits(said, asked.lower())
    ):
        return Ending.OPEN
    is_loose = _LOOSE.search(said) and not text.endswith("?")
    return Ending.LOOSE if is_loose else Ending.CLOSED


def _is_open(words: list[str]) -> bool:
    """True if something has to come after these words."""
    last, said = words[-1], " ".join(words)
    known = last in _FILLERS or last in _OPEN
    return bool(known or _THINKS_ALOUD.search(said) or _ASKS.search(said) or _STILL.search(said))


def _is_short_of_digits(said: str, asked: str) -> bool:
    """True if it ends within a number that has more digits than were said."""
    number = _NUMBER.search(said)
    if number is None:
        return False
    digits = [*re.findall(r"\d|[a-z]+", number[0])]
    is_read_out = len(number[0].split()) == len(digits) >= _READ_OUT
    is_wanted = bool(_OF_DIGITS.search(said) or _OF_DIGITS.search(asked))
    return (is_read_out or is_wanted) and len(digits) < _FEWEST_DIGITS
