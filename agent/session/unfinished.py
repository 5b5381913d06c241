"""English sentences whose end is still to come, as a recogniser spells what was said so far.

Plain rules over the last words: nobody ends a request with "a table for", "my name is" or "um".
They know grammar and nothing of the subject, so they serve any agent. A sentence that could go on
but need not ("on Friday evening") counts as finished. No I/O.
"""

from __future__ import annotations

import re
from typing import Final

_TRAILS_OFF: Final = re.compile(r"(\.\.+|…)$")
"""A recogniser's sign for a voice that stays up. A comma is none: some write it after any pause."""
_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")

_FILLERS: Final = frozenset(re.findall(r"\w+", "ah eh er erm hm hmm mm uh uhm um umm"))
_OPEN: Final = frozenset(
    re.findall(
        r"\w+",
        """
        a an the my your our their its every each another next either both half
        mr mrs ms miss mister dr doctor
        and or but because if when while unless although whether plus than
        of for from at into onto between until till during without under near beside behind
        through per around approximately roughly preferably
        """,
    )
)
"""Articles and their like, titles, conjunctions, prepositions: after them something has to come."""
_OPEN_STATEMENT: Final = frozenset(
    re.findall(
        r"[\w']+",
        """
        to with by on in about like as i we they he she is are am was were be been will would
        could can
        should must may might shall do does did has had i'm we're you're they're it's that's
        there's he's she's name's i'd we'd i'll we'll it'll make get give take bring want need
        prefer maybe perhaps very really actually also just only
        """,
    )
)
"""Words that can end a question ("who am I speaking to?"), but no statement."""
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
    r"(?:^|(?<!how )(?<!where )(?<!who )(?<!why )(?<!what ))\b(?:can|could|would|will|do|did|may"
    r"|should|are|is|was|have) (?:you|i|we|it|there|they|that)$"
)
_STILL: Final = re.compile(
    r"(?:^|\b)(?:i (?:would|want|need|have|do not|don't|can't|cannot)|i'd like|i would like"
    r"|we (?:would|want|need|have)|do you have|is there|are there|let me (?:think|see|check|look)"
    r"|let's see|and then|and so|or so|well|okay so|the number|you know|i think|i guess|i mean"
    r"|it should be|it would be|that would be|that will be|make it|half past|quarter past"
    r"|a quarter)$"
)
_THINKS_ALOUD: Final = re.compile(r"^(?:so|well|okay so|ok so|now|right so|and)$")

_DIGIT: Final = re.compile(
    r"\b(?:\d+|zero|oh|one|two|three|four|five|six|seven|eight|nine|double|triple)\b"
)
_OF_DIGITS: Final = re.compile(
    r"\b(?:(?:phone|telephone|mobile|cell|contact|account|card|order|booking|reference|my|the|a)"
    r" (?:phone )?number|reach (?:me|you|us)|call (?:me|you|us) (?:on|at|back)|digits)\b"
)
_FEWEST_DIGITS: Final = 7
"""Digits of the shortest number that people are called at, without its area."""


def is_unfinished(text: str, asked: str = "") -> bool:
    """True if a sentence surely goes on.

    Args:
        text: the words so far, as a recogniser spells them.
        asked: the agent's words before: a number that was asked for has several digits.
    """
    text = text.strip()
    words = [
        word.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'") for word in _WORD.findall(text)
    ]
    if not words:
        return False
    last, said = words[-1], " ".join(words)
    if last in _FILLERS or _THINKS_ALOUD.search(said):
        return True
    is_question = text.endswith("?")
    if any(closed.search(said) for closed in _CLOSED):
        return False
    if last in _OPEN and not (is_question and last in ("for", "from", "at", "of", "under")):
        return True
    if _is_short_of_digits(said, asked.lower()):
        return True
    if is_question:
        return False
    return bool(
        _TRAILS_OFF.search(text)
        or last in _OPEN_STATEMENT
        or _ASKS.search(said)
        or _STILL.search(said)
    )


def _is_short_of_digits(said: str, asked: str) -> bool:
    """True if it ends within a number that has more digits than were said."""
    begun = list(_OF_DIGITS.finditer(said))
    if not begun and not _OF_DIGITS.search(asked):
        return False
    number = said[begun[-1].end() :] if begun else said
    found = list(_DIGIT.finditer(number))
    if not found or found[-1].end() != len(number):
        return False
    digits = sum(len(digit[0]) if digit[0].isdigit() else 1 for digit in found)
    return digits < _FEWEST_DIGITS
