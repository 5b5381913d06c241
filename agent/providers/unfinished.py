"""English sentences whose end is still to come, as a recogniser spells what was said so far.

Plain rules over the last words: nobody ends a request with "a table for", "my name is" or "um".
They know grammar and nothing of the subject, so they serve any agent. Full stops and question marks
tell little: a recogniser writes one at any pause ("And what time do you?"). No I/O.
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
_SENTENCE_END: Final = re.compile(r"[.?!]\s+")
_HALF_OF_DAY: Final = re.compile(r"\b([ap])\. ?m\b\.?", re.IGNORECASE)
_DASH_IN_NUMBER: Final = re.compile(r"(?<=\d)-(?=\d)")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FILLERS: Final = _words("ah eh er erm hm hmm mm uh uhm um umm")
_LIKE_A_FILLER: Final = _words("a am an ah bum dumb 'em em en eh h hum m o of oh on or un unb up")
"""Words, and what is none, that "um" and "uh" are heard as."""
_BEFORE_A_FILLER: Final = _words(
    """
    a an and are at but for from i i'm is it's my name's of or our the to was we will with would
    your
    """
)
"""Words so clearly open that what sounds like a filler after them is one."""
_OPEN: Final = _words(
    """
    a an the some any my your our their its every another next half mr mrs ms dr
    and or but because if when while unless although whether plus than as like
    of for from at into onto to with by on in about between until till during without under near
    beside behind through per around approximately roughly preferably
    i we they he she i'm we're you're they're it's that's there's he's she's name's i'd we'd
    i'll we'll it'll is are am was were be been will would can could should must may might shall
    do does did has had
    make get give take bring want need prefer add
    maybe perhaps very really actually also just only
    """
)
"""Words after which something has to come: articles and their like, titles, conjunctions,
prepositions, subjects, auxiliaries, verbs that want an object, adverbs."""

_LEAD: Final = (
    "(?:(?:yes|yeah|yep|no|nope|sure|well|oh|of course|ok|okay|so|and|but|right|hi|hello|sorry"
    "|please|um|uh|excuse me|that's right) ){0,4}"
)
"""Words that a sentence is led in by, and that say nothing of its end."""
_PRONOUN: Final = "(?:i|you|we|they|he|she|it|that|this|there|these|those)"
_SUBJECT: Final = rf"(?:{_PRONOUN}|(?:the|my|your|our|his|her|their|this|that) \w+)"
_BE: Final = "(?:is|are|am|was|were)"
_AUXILIARY: Final = f"(?:{_BE}|do|does|did|has|had|have|can|could|will|would|should|might|may|must)"
_ANSWERED: Final = (
    rf"(?:{_AUXILIARY}|cannot|can't|won't|(?:is|are|was|were|do|does|did|has|had|have|could|would"
    "|should)(?:n't| not))"
)
"""An auxiliary that a short answer ends with: "I will", "we don't"."""
_CONTRACTED: Final = "(?:i|you|we|they|he|she|it)'(?:m|re|s|d|ve|ll)"
_RELATIVE: Final = "(?:all|what|whatever|where|who|anything|everything|nothing)"
_THING: Final = (
    r"(?:the|any)(?: only)? (?!(?:morning|afternoon|evening|weekend|moment|\w+th) )[a-z]+"
)
"""What a clause tells more of, "the one I want", and no time: "in the morning we want"."""
_WANTED: Final = (
    "(?:want|wanted|need|needed|like|prefer|meant|have|had|ordered|booked|bought|received|made)"
)
_PREPOSITION: Final = "(?:like|about|for|from|with|to|at|on|in|under|by|of|until|till)"
_STRANDED: Final = (
    r"(?<!\blike )(?<!\bwant )(?<!\bneed )(?<!\bhave )(?<!\bgoing )(?<!\bable )" + _PREPOSITION
)
"""A preposition whose noun came before: "the number I called from", but not "I want to"."""
_OBJECT_VERB: Final = (
    "(?:have|need|want|bring|get|take|give|make|prefer|add|do|be|like|offer|order|book)"
)
_ASKED_FOR: Final = r"(?:what|which|who|how (?:much|many|long|big|old|far))"
"""What is asked for is a verb's object: "what do you have", but not "how do I get"."""
_PERSON: Final = (
    "(?:wife|husband|partner|friend|friends|son|daughter|children|kids|mother|father|mom|mum|dad"
    "|brother|sister|boss|colleague)"
)
_TALLY: Final = (
    "(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty)"
)

_CLOSED: Final = (
    # a farewell, as some recognisers spell it
    re.compile(r"\bgood[ -]by$"),
    # a time of the day: "9 a.m.", and a length: "an hour and a half", "in a while"
    re.compile(rf"\b(?:\d+|{_TALLY}|fifteen|o'clock) [ap]m$|\b(?:and a half|a while)$"),
    # the name after "it's": "It's Will."
    re.compile(r"\b(?:it's|i'm|is|me) will$"),
    # an answer that ends as an opening does: "yes, I am", "OK, I will", "So am I."
    re.compile(
        rf"^(?:yes|yeah|yep|no|nope|sure|well|oh|of course|ok|okay) {_LEAD}{_PRONOUN} {_ANSWERED}$"
    ),
    re.compile(rf"^{_LEAD}(?:so|neither|nor) {_AUXILIARY} {_PRONOUN}$"),
    # a clause about what came before it: "all I need", "the one I want", "the number I called from"
    re.compile(
        rf"\b{_RELATIVE} {_PRONOUN}(?: (?:really|just|would|can|could))?"
        rf" (?:{_WANTED}|{_ANSWERED})$"
        rf"|\b{_THING}(?: that)? (?:{_PRONOUN}|i'd)(?: (?:really|just|would))? {_WANTED}$"
        rf"|\b(?:{_RELATIVE}|{_THING}|not)(?: that)? (?:{_PRONOUN}|{_CONTRACTED})(?: \w+){{0,3}}"
        rf" {_STRANDED}$"
        r"|\b(?:if|as|whichever|whenever) you (?:like|want|prefer)$"
        rf"|\b(?:how|why|whoever|here|there) {_PRONOUN} {_BE}$"
    ),
    # a question that has its verb: "where are we", "what do you have", "when will that be"
    re.compile(
        rf"^{_LEAD}(?:where|who|what|how|how (?:old|far|big|many)) (?:exactly )?{_BE} {_PRONOUN}$"
        rf"|^{_LEAD}(?:where|who|what|how|when)(?: \w+){{0,2}} (?:is|was) (?:it|that|this)$"
    ),
    re.compile(
        rf"\b{_ASKED_FOR}(?: \w+){{0,3}} {_AUXILIARY} {_SUBJECT}(?: \w+){{0,3}} {_OBJECT_VERB}$"
    ),
    re.compile(rf"\b(?:when|where|what time|how) {_AUXILIARY} {_SUBJECT} be$"),
    # a question whose preposition has lost its noun: "who is it for", "how late are you open till"
    re.compile(
        rf"\b(?:(?:(?:what|which|who|where)(?! time)|how (?:long|much|many))(?: \w+){{0,2}} "
        rf"{_AUXILIARY}|(?:what|who|where)'s) {_SUBJECT}(?: \w+){{0,4}} {_STRANDED}$"
        r"|\bhow (?:is|was|are|were|does) \w+(?: \w+)? like$"
        rf"|\b(?:what time|how late) {_AUXILIARY} {_SUBJECT}(?: \w+){{0,2}} (?:until|till|from)$"
    ),
    re.compile(
        r"^(?:maybe|perhaps|really|another|next|the same|not yet)$|^(?:just|only) me$"
        r"|\b(?:no|not) (?:really|actually|just)$|(?:n't|\bnot) (?:\w+ )?any$"
        r"|\b(?:who|what)'s next$"
    ),
    # verbs of two words: "log in", "turn it on", "put me through"; and "is the doctor in?"
    re.compile(
        r"\b(?:(?:hold|go|going|carry|hang|move|keep|later|turn|turned|switch|switched|log|put|try"
        r"|get)(?: (?:it|that|this|them))? on"
        r"|(?:come|check|walk|checked|fit|fill|dine|eat|stay|squeeze|log|sign|move|moved|plug|get"
        r"|drop|let)(?: \w+)? in"
        r"|(?:put|get|go|got|come)(?: (?:me|us|it|you|them))? through|(?:stop|drop|come) by"
        r"|(?:look|turn|come) around|please do|that will do)$"
        rf"|^{_LEAD}(?:is|are) (?:he|she|they|(?:the|my|your) \w+) in$"
    ),
)
_EITHER: Final = (
    # a short answer, or the first half of a statement: "it is", "I think it is", "my wife is"
    re.compile(
        rf"^{_LEAD}(?:i (?:think|guess|believe|hope) )?(?:{_PRONOUN}(?: (?:already|never|still"
        rf"|always))?|(?:my|our) {_PERSON}) (?:{_ANSWERED}|(?:could|might|may|must) be)$"
    ),
    re.compile(r"\b(?:my|our|the) \w+ and i$"),
    # a question, or its beginning: "what", "how many", "what time"
    re.compile(rf"^{_LEAD}(?:what|who|where|how|why|which)(?: (?:time|day|many|much|long))?$"),
    # "to" in the place of a verb that was said: "I'd love to", "I don't want to"
    re.compile(r"(?:\b(?:love|happy|glad)|(?:n't|\bnot) (?:want|need|have|like|going|able)) to$"),
    re.compile(r"\b(?:like|want|ready) to order$"),
    # the month, where "may" can't be the verb
    re.compile(
        r"\b(?:in|of|by|until|till|since|from|for|this|next|early|late|\d+(?:st|nd|rd|th)?) may$"
    ),
)
_ASKS: Final = re.compile(
    r"(?<!how )(?<!who )\b(?:can|could|would|will|do|did|may|should|are|have) (?:you|i|we)"
    r"(?: please)?$|\b(?:are|is) there$"
)
_STILL: Final = re.compile(
    r"\b(?:i (?:would|want|need|have|do not|don't|can't|cannot)|i'd like|i would like"
    r"|we (?:would|want|need|have)|do you have|is there|are there|let me (?:think|see|check|look)"
    r"|let's see|and then|and so|the number|under the name|you know|i mean|it should be|it would be"
    r"|that would be|that will be|make it|(?:is|was|at|add) (?:us|them)|(?:half|quarter)[ -]past"
    r"|a quarter"
    # verbs whose object, or whose purpose, is still to come
    r"|(?:like|want|need|love|wanted) to (?:book|reserve|know|ask)"
    r"|(?:i|we) (?:ordered|booked|bought|reserved|received)"
    r"|(?:i'm|we're|i am|we are) (?:calling|looking|phoning|wondering|hoping)"
    r"|(?:i|we) (?:was|were) (?:calling|looking|wondering|hoping|thinking)"
    r"|(?:can|could|would|will) you (?:please )?(?:tell|give|show|send|get) (?:me|us)"
    r"|(?:i'd|we'd|would) rather"
    # "that" which opens a clause, and titles, which are nouns after an article
    r"|(?:is|was|one|ones|thing|think|hope) that"
    # an article before whoever is wanted, heard as "that"
    r"|(?:speak|talk) (?:to|with) that"
    r"|(?:for|to|with|from|by|is|it's|see|and|under) (?:doctor|mister|miss))$"
)
_THINKS_ALOUD: Final = re.compile(rf"^{_LEAD}(?:so|well|now|and)$")
_TAG: Final = re.compile(
    r" (?:i (?:think|guess|believe|suppose)|(?:actually|really|maybe|perhaps|only|also))$"
)
"""Words that may be added to a whole sentence, and are the middle of one as well."""
_THINKS: Final = re.compile(rf"^{_LEAD}i (?:think|guess|believe|suppose)$")

_ORDINAL: Final = "(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|twelfth)"
_DAY: Final = (
    "(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|january|february|march|april|may|june|july"
    "|august|september|october|november|december)"
)
_LOOSE: Final = re.compile(
    # after a word that is no number: two numbers are a time, and one alone was asked for
    rf"\b(?!(?:{_TALLY}|oh|zero)\b)[a-z']+ (?:\d\d?|{_TALLY}|{_ORDINAL}|{_DAY})$"
    # the number of a house, before its street
    rf"|\b(?:address is|live at|house is at)(?: (?:\d+|{_TALLY})){{1,4}}$"
)

_DIGIT: Final = r"(?:\d+|zero|oh|one|two|three|four|five|six|seven|eight|nine|double|triple)"
_NUMBER: Final = re.compile(rf"\b{_DIGIT}(?: {_DIGIT})*$")
_TELEPHONE: Final = "(?:phone|telephone|mobile|cell|contact)(?: phone)? number"
_TELEPHONE_BEGUN: Final = re.compile(
    rf"\b(?:{_TELEPHONE}|(?:my|the) (?:number|phone|mobile|cell)|(?:reach|call|ring) (?:me|us)"
    r"(?: back)? on)(?:'s| is| it's| would be)? $"
)
"""Words right before the digits of a telephone number."""
_TELEPHONE_ASKED: Final = re.compile(rf"\b(?:{_TELEPHONE}|your number)\b(?! of\b)")
_OTHER_NUMBER: Final = re.compile(
    r"\b(?:account|order|booking|reference|confirmation|customer|card|pin|zip|code|postcode|id|room"
    r"|flat|apartment|flight|extension|address|ticket)\b"
)
"""Names of numbers that may be whole with three digits."""
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
        asked: the agent's words before: a telephone number that was asked for has several digits.
    """
    text = _HALF_OF_DAY.sub(r"\1m", text.strip())
    said = _spelled(text)
    if not said:
        return Ending.CLOSED
    last_sentence = _spelled(_SENTENCE_END.split(text)[-1]) or said
    found = _grammar(last_sentence)
    if found is Ending.CLOSED and not _is_whole(last_sentence):
        if _TRAILS_OFF.search(text) or _is_short_of_digits(said, asked):
            return Ending.OPEN
        if _LOOSE.search(said) and not text.endswith("?"):
            return Ending.LOOSE
    return found


def _spelled(text: str) -> str:
    """The last words, plainly spelled, with one space between."""
    text = _DASH_IN_NUMBER.sub(" ", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    return " ".join(_WORD.findall(text)[-_MOST_WORDS:])


def _is_whole(said: str) -> bool:
    """True if it is a sentence that ends as others begin."""
    return any(rule.search(said) for rule in _CLOSED)


def _grammar(said: str) -> Ending:
    """Tell how a sentence ends by its last words, numbers aside."""
    if _is_whole(said):
        return Ending.CLOSED
    if any(rule.search(said) for rule in _EITHER):
        return Ending.LOOSE
    if _THINKS.search(said):
        return Ending.OPEN
    if tag := _TAG.search(said):
        before = said[: tag.start()]
        return Ending.OPEN if _is_open(before.split()) else _grammar(before)
    words = said.split()
    is_filler = words[-1] in _LIKE_A_FILLER and words[-2:-1] and words[-2] in _BEFORE_A_FILLER
    return Ending.OPEN if is_filler or _is_open(words) else Ending.CLOSED


def _is_open(words: list[str]) -> bool:
    """True if something has to come after these words."""
    last, said = words[-1], " ".join(words)
    known = last in _FILLERS or last in _OPEN
    return bool(known or _THINKS_ALOUD.search(said) or _ASKS.search(said) or _STILL.search(said))


def _is_short_of_digits(said: str, asked: str) -> bool:
    """True if it ends within a telephone number that has more digits than were said."""
    number = _NUMBER.search(said)
    if number is None:
        return False
    question = _spelled(_SENTENCE_END.split(asked.strip())[-1])
    before = said[: number.start()]
    digits = re.findall(r"\d|[a-z]+", number[0])
    is_wanted = _TELEPHONE_BEGUN.search(before) or _TELEPHONE_ASKED.search(question)
    is_read_out = len(number[0].split()) == len(digits) >= _READ_OUT
    is_other = _OTHER_NUMBER.search(before) or _OTHER_NUMBER.search(question)
    return bool(is_wanted or (is_read_out and not is_other)) and len(digits) < _FEWEST_DIGITS
