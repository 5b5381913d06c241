"""The deterministic stand-in for a language model: the desk's next words and deeds.

A pure function of the conversation so far. It replays the caller's words and the tools' answers
through a :class:`~agent.desk.dialogue.Dialogue` and puts the outcome into short spoken English.
Where a conversation has got to is remembered, so that a reply costs what is new in it, and not what
the whole of a long conversation does: it is made on the event loop that other callers share.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from livekit.agents import llm

from agent.desk.dialogue import Dialogue, Remark, Step
from agent.desk.house import local_now
from agent.desk.speech import cardinal, spoken_choice, spoken_date, spoken_time
from agent.desk.understanding import Intent, Slot
from agent.desk.wire import Availability, Hours, Reservation, Week, Weekday
from agent.providers import CallTool, Say

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

_QUESTIONS: Final = {
    Slot.PARTY: "For how many people?",
    Slot.DATE: "Which day would you like?",
    Slot.TIME: "What time would you like?",
    Slot.NAME: "What name is the reservation under?",
    Step.OFFER_HELP: "How can I help you?",
    Step.ANYTHING_ELSE: "Is there anything else I can do for you?",
    Step.WHAT_TO_CHANGE: "What would you like to change?",
    Step.OFFER_MANAGER: "That is something for our manager. Shall I put you through?",
    Step.FAREWELL: "Thank you for calling. Goodbye.",
}
_BOOK_UNDER: Final = "What name shall I book it under?"
_MANAGER_ELSE: Final = "Is there anything else I can help you with?"
_IS_RIGHT: Final = "Is that right?"
_BOOKED: Final = "Your table is booked. We look forward to seeing you."
_CANCELLED: Final = "Your reservation is cancelled."
_REMARKS: Final = {
    Remark.ALL_RIGHT: "All right.",
    Remark.NOT_UNDERSTOOD: "I'm sorry, I did not catch that.",
    Remark.WELCOME: "You're welcome.",
    Remark.MANAGER: "Hello, this is the manager.",
    Remark.DESK: "You are back at the front desk.",
    Remark.SORRY: "I'm very sorry to hear that. I will look into it myself.",
}


def local_today() -> dt.date:
    """The date where the agent runs."""
    return local_now().date()


_REMEMBERED: Final = 2000
"""Number of states of conversations that are kept: a few for each that goes on."""


class DeskScript:
    """The front desk's :class:`~agent.providers.Script`; any number of conversations may share it.

    ``today`` says which day "today" and "Friday" are counted from.
    """

    usual: ClassVar[Sequence[str]] = (
        *_QUESTIONS.values(),
        *(_BOOK_UNDER, _MANAGER_ELSE, _IS_RIGHT, _BOOKED, _CANCELLED),
        *_REMARKS.values(),
    )
    """Sentences that don't depend on what a caller says."""

    def __init__(self, today: Callable[[], dt.date] = local_today) -> None:
        self._today = today
        self._states: OrderedDict[int, Dialogue] = OrderedDict()
        """Dialogues by the hash of all that was said in them, the one used last at the end."""
        self._guard = threading.Lock()
        """For the states: rooms are in threads."""

    def reply(self, chat_ctx: llm.ChatContext) -> Say | CallTool:
        """The words to say, or the tool to call, after this conversation."""
        today = self._today()
        said = [each for item in chat_ctx.items if (each := _said(item)) is not None]
        # each the hash of everything up to there: a text that was seen before isn't read again
        keys = list(accumulate(said, lambda key, each: hash((key, each)), initial=hash(today)))
        dialogue, position = self._furthest(keys)
        for key, each in zip(keys[position + 1 :], said[position:], strict=True):
            if isinstance(each, str):
                dialogue = dialogue.hear(each, today=today)
            else:
                dialogue = _learn(dialogue, each)
            self._remember(key, dialogue)
        return _call(dialogue) or Say(_say(dialogue))

    def _furthest(self, keys: Sequence[int]) -> tuple[Dialogue, int]:
        """The latest state that is known of a conversation, and its position."""
        with self._guard:
            for position in range(len(keys) - 1, 0, -1):
                if (found := self._states.get(keys[position])) is not None:
                    self._states.move_to_end(keys[position])
                    return found, position
        return Dialogue(), 0

    def _remember(self, key: int, dialogue: Dialogue) -> None:
        with self._guard:
            self._states[key] = dialogue
            if len(self._states) > _REMEMBERED:
                self._states.popitem(last=False)


class _Answer(NamedTuple):
    """A tool's answer."""

    tool: str
    output: str
    is_error: bool


def _said(item: llm.ChatItem) -> str | _Answer | None:
    """The part of an item that matters; None for others: what was asked follows from the dialogue
    itself."""
    match item:
        case llm.ChatMessage(role="user"):
            return item.text_content or ""
        case llm.FunctionCallOutput():
            return _Answer(item.name, item.output, item.is_error)
        case _:
            return None


def _learn(dialogue: Dialogue, result: _Answer) -> Dialogue:
    match result.tool:
        case "speak_to_manager" | "back_to_desk":
            return dialogue.not_handed_over() if result.is_error else dialogue.handed_over()
        case _ if result.is_error:
            return dialogue.failed(result.output)
        case "opening_hours":
            return dialogue.told_hours(_hours(Week.model_validate_json(result.output)))
        case "availability":
            answer = Availability.model_validate_json(result.output)
            return dialogue.told_table(_table(answer), available=answer.available)
        case "book" | "book_large_party":
            return dialogue.carried_out(_BOOKED)
        case "change":
            now = Reservation.model_validate_json(result.output)
            return dialogue.carried_out(f"It is now {_seating(now.party, now.date, now.time)}.")
        case "cancel":
            return dialogue.carried_out(_CANCELLED)
        case "end_call":
            return dialogue.ended()
        case _:
            return dialogue


def _call(dialogue: Dialogue) -> CallTool | None:
    known = dialogue.details
    seating: dict[str, object] = {}
    if known.date:
        seating["date"] = known.date.isoformat()
    if known.time:
        seating["time"] = f"{known.time:%H:%M}"
    if known.party:
        seating["party"] = known.party
    match dialogue.next, dialogue.task:
        case Step.LOOK_UP_HOURS, _:
            (day,) = dialogue.hours_of
            return CallTool("opening_hours", {"day": Weekday.of(day).value if day else None})
        case Step.LOOK_UP_TABLE, _:
            return CallTool("availability", seating)
        case Step.TO_MANAGER, _:
            return CallTool("speak_to_manager", {})
        case Step.TO_DESK, _:
            return CallTool("back_to_desk", {})
        case Step.CARRY_OUT, Intent.BOOK if dialogue.with_manager:
            return CallTool("book_large_party", {"name": known.name, **seating})
        case Step.CARRY_OUT, Intent.BOOK:
            return CallTool("book", {"name": known.name, **seating})
        case Step.CARRY_OUT, Intent.CHANGE:
            return CallTool("change", {"name": known.name, **seating})
        case Step.CARRY_OUT, Intent.CANCEL:
            return CallTool("cancel", {"name": known.name, "on": seating.get("date")})
        case Step.END_CALL, _:
            return CallTool("end_call", {})
        case _:
            return None


def _say(dialogue: Dialogue) -> str:
    if dialogue.trouble:
        return dialogue.trouble
    remark = dialogue.remark
    if remark is None:
        return _question(dialogue)
    if isinstance(remark, Remark):
        return f"{_REMARKS[remark]} {_question(dialogue)}"
    if dialogue.next is Step.OFFER_HELP:
        return remark  # an answered question needs no other to follow
    return f"{remark} {_question(dialogue)}"


def _question(dialogue: Dialogue) -> str:
    known = dialogue.details
    match dialogue.next, dialogue.task:
        case Step.ANYTHING_ELSE, _ if dialogue.with_manager:
            return _MANAGER_ELSE
        case Slot.NAME, Intent.BOOK:
            return _BOOK_UNDER
        case Step.CONFIRM, Intent.CANCEL:
            return f"Shall I cancel the reservation under {known.name}?"
        case Step.CONFIRM, Intent.CHANGE:
            return f"That will be {_seating(known.party, known.date, known.time)}. {_IS_RIGHT}"
        case Step.CONFIRM, _:
            table = _seating(known.party, known.date, known.time)
            return f"{_sentence(table)}, for {known.name}. {_IS_RIGHT}"
        case step, _:
            return _QUESTIONS[step]


# -- facts in words -----------------------------------------------------------------------------


def _seating(party: int | None, date: dt.date | None, time: dt.time | None) -> str:
    """ "a table for four on Friday the first of May at seven in the evening", as far as known."""
    parts = (
        party and f"a table for {cardinal(party)}",
        date and f"on {spoken_date(date)}",
        time and f"at {spoken_time(time)}",
    )
    return " ".join(part for part in parts if part)


def _table(answer: Availability) -> str:
    seating = answer.seating
    if answer.available:
        return f"Yes, we have {_seating(seating.party, seating.date, seating.time)}."
    times = [spoken_time(time, daypart=False) for time in answer.alternatives]
    offer = f" I could offer you {spoken_choice(times)}." if times else ""
    return f"I'm sorry, we are fully booked at {spoken_time(seating.time)}.{offer}"


def _hours(week: Week) -> str:
    """A sentence for one day; for several, days with the same hours together."""
    if len(week.root) == 1:
        ((day, hours),) = week.root.items()
        if hours is None:
            return f"We are closed on {day.capitalize()}s."
        return f"On {day.capitalize()}s we are open {_from_until(hours)}."
    spans = [
        (hours, [day.capitalize() for day in days])
        for hours, days in groupby(week.root, key=lambda day: week.root[day])
    ]
    opened = [f"{_days(days)} {_from_until(hours)}" for hours, days in spans if hours]
    closed = [f"{day}s" for hours, days in spans if not hours for day in days]
    rest = f" We are closed on {spoken_choice(closed, 'and')}." if closed else ""
    return f"We are open {spoken_choice(opened, 'and')}.{rest}"


def _from_until(hours: Hours) -> str:
    return f"from {spoken_time(hours.opens, daypart=False)} until {spoken_time(hours.closes)}"


def _days(days: list[str]) -> str:
    return f"{days[0]} to {days[-1]}" if len(days) > 2 else " and ".join(days)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
