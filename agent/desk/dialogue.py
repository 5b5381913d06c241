"""The state of a call to the desk: one frozen value, changed by words and tool results.

:class:`Dialogue` never speaks and never does anything. :mod:`agent.desk.script` replays a
conversation through it and puts the next step into words.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from agent.desk.house import COPPER_KETTLE
from agent.desk.understanding import Details, Intent, Meaning, Slot, understand

if TYPE_CHECKING:
    import datetime as dt


class Step(enum.Enum):
    """A next step other than asking for a missing part of a booking."""

    OFFER_HELP = enum.auto()
    ANYTHING_ELSE = enum.auto()
    WHAT_TO_CHANGE = enum.auto()
    CONFIRM = enum.auto()
    LOOK_UP_HOURS = enum.auto()
    LOOK_UP_TABLE = enum.auto()
    CARRY_OUT = enum.auto()
    OFFER_MANAGER = enum.auto()
    TO_MANAGER = enum.auto()
    TO_DESK = enum.auto()
    END_CALL = enum.auto()
    FAREWELL = enum.auto()


class Remark(enum.Enum):
    """Something to say before what comes next."""

    ALL_RIGHT = enum.auto()
    NOT_UNDERSTOOD = enum.auto()
    WELCOME = enum.auto()
    MANAGER = enum.auto()
    """The manager says who is speaking."""
    DESK = enum.auto()
    """The front desk says so after the manager."""
    SORRY = enum.auto()


_NEEDED: Final = {
    Intent.AVAILABILITY: (Slot.PARTY, Slot.DATE, Slot.TIME),
    Intent.BOOK: (Slot.PARTY, Slot.DATE, Slot.TIME, Slot.NAME),
    Intent.CHANGE: (Slot.NAME,),
    Intent.CANCEL: (Slot.NAME,),
}
# a failed look-up would run again at once if nothing were missing
_ASKED_ANEW: Final[dict[Intent | None, tuple[Slot, ...]]] = {
    Intent.AVAILABILITY: (Slot.TIME,),
    Intent.CANCEL: (Slot.NAME,),
}
_SEATING: Final = (Slot.PARTY, Slot.DATE, Slot.TIME)
LARGEST_PARTY: Final = COPPER_KETTLE.largest_party
"""The largest party that the front desk books; the manager books larger ones."""
_CALL_ENDS: Final = (Step.END_CALL, Step.FAREWELL)


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The caller's wish, the details known, and the things done so far."""

    task: Intent | None = None
    details: Details = field(default_factory=Details)
    wrong: frozenset[Slot] = frozenset()
    """Parts the caller wants to give anew."""
    disputed: bool = False
    """The caller said no to what was read back, and not why."""
    agreed: bool = False
    served: bool = False
    """Something was done for the caller: the next question is whether there is more."""
    hours_of: tuple[dt.date | None, ...] = ()
    """The day whose opening hours are wanted, None for the whole week; empty when none are."""
    about_hours: bool = False
    """The caller last asked about opening hours: a lone day asks again."""
    remark: Remark | str | None = None
    """Words before the next question; a string is a tool's answer."""
    trouble: str | None = None
    """The reason why a tool could not do it: said instead of the next question."""
    ending: Step | None = None
    with_manager: bool = False
    """True while the manager speaks, False while the front desk does."""
    handing: Step | None = None
    """The step that hands the call over, until its tool has run."""

    @property
    def next(self) -> Step | Slot:
        """The next step, or the part to ask for."""
        if self.handing:
            return self.handing
        if self.ending:
            return self.ending
        if self.hours_of:
            return Step.LOOK_UP_HOURS
        if self.task is None:
            return Step.ANYTHING_ELSE if self.served else Step.OFFER_HELP
        if not self.with_manager and self.is_large:
            return Step.OFFER_MANAGER
        for slot in (*_NEEDED[self.task], *sorted(self.wrong)):
            if not self.details.has(slot):
                return slot
        if self.task is Intent.AVAILABILITY:
            return Step.LOOK_UP_TABLE
        if self.agreed:
            return Step.CARRY_OUT
        changes = any(self.details.has(slot) for slot in _SEATING)
        if self.disputed or (self.task is Intent.CHANGE and not changes):
            return Step.WHAT_TO_CHANGE
        return Step.CONFIRM

    @property
    def is_large(self) -> bool:
        """True for a party larger than the front desk books."""
        return self.details.party is not None and self.details.party > LARGEST_PARTY

    def hear(self, text: str, *, today: dt.date) -> Dialogue:
        """The dialogue after the caller has said this."""
        asked = self.next
        expected = asked if isinstance(asked, Slot) else Slot.TIME if self.trouble else None
        meaning = understand(text, today=today, expected=expected)
        if meaning.repeat or asked in _CALL_ENDS or self.handing:
            return self
        now = replace(
            self, remark=None, trouble=None, disputed=False, hours_of=(), about_hours=False
        )
        details = self.details.updated(meaning.details)
        news = details != self.details
        if asked is Step.CONFIRM and meaning.agrees and not news:
            return replace(now, agreed=True)
        if self.with_manager and (back := now._back_to_desk(text, meaning, details, today)):
            return back
        asks_for_manager = asked is Step.OFFER_MANAGER and meaning.agrees and not news
        if not self.with_manager and (asks_for_manager or meaning.intent is Intent.MANAGER):
            known = replace(now, task=Intent.BOOK) if now.is_large else now._done()
            return replace(known, served=False, handing=Step.TO_MANAGER)
        another_day = self.about_hours and not self.task and not meaning.intent
        if meaning.intent is Intent.HOURS or (another_day and meaning.details.date):
            return replace(now, hours_of=(meaning.details.date,), about_hours=True)
        if meaning.goodbye and not news:
            return replace(now, ending=Step.END_CALL)
        if self.with_manager and not self.task and not news and meaning.is_complaint:
            return replace(now, served=True, remark=Remark.SORRY)
        if self.task is None:
            return now._begin(meaning)
        if meaning.intent is Intent.CANCEL and self.task is not Intent.CANCEL:
            return replace(now._done(), remark=Remark.ALL_RIGHT)
        return now._go_on(asked, meaning, details)

    def _back_to_desk(
        self, text: str, meaning: Meaning, details: Details, today: dt.date
    ) -> Dialogue | None:
        """The dialogue handed back to the front desk; None when it stays with the manager.

        The manager keeps complaints, and parties too large for the desk.
        """
        desk = replace(self._done(), with_manager=False)
        news = details != self.details
        is_small = details.party is not None and details.party <= LARGEST_PARTY
        is_large = details.party is not None and details.party > LARGEST_PARTY
        everyday = meaning.intent is Intent.HOURS or (
            meaning.intent in (Intent.AVAILABILITY, Intent.CHANGE, Intent.CANCEL)
            and self.task is None
            and not is_large
        )
        if is_small or (everyday and not meaning.is_complaint):
            known = replace(desk, details=replace(self.details, party=None))
            return replace(known.hear(text, today=today), handing=Step.TO_DESK)
        if meaning.goodbye and not news:
            return replace(desk, handing=Step.TO_DESK, ending=Step.END_CALL)
        declines = self.task is None and meaning.agrees is False and meaning.plain
        if meaning.desk or declines:
            return replace(desk, handing=Step.TO_DESK, remark=Remark.DESK)
        return None

    def _begin(self, meaning: Meaning) -> Dialogue:
        if meaning.intent or meaning.details.without([Slot.NAME]) != Details():
            task = meaning.intent or Intent.BOOK
            if self.with_manager:
                task = Intent.BOOK
            wrong = meaning.mentions if task is Intent.CHANGE else frozenset[Slot]()
            details = self.details.updated(meaning.details)
            return replace(self, task=task, details=details, wrong=wrong - {Slot.NAME})
        if meaning.agrees is False and meaning.plain:
            return replace(self, ending=Step.END_CALL)
        if meaning.thanks:
            return replace(self, remark=Remark.WELCOME)
        if meaning.agrees or meaning.waits:
            return replace(self, served=False)
        return self if meaning.greeting else replace(self, remark=Remark.NOT_UNDERSTOOD)

    def _go_on(self, asked: Step | Slot, meaning: Meaning, details: Details) -> Dialogue:
        given = frozenset(slot for slot in Slot if meaning.details.has(slot))
        if asked in (Step.CONFIRM, Step.WHAT_TO_CHANGE):
            wrong = meaning.mentions - given
            if not given and not wrong:
                if meaning.agrees is False and asked is Step.CONFIRM:
                    return replace(self, disputed=True)
                return replace(self, remark=Remark.NOT_UNDERSTOOD)
            return replace(self, details=details.without(wrong), wrong=wrong)
        if given:
            asks_again = meaning.intent is Intent.AVAILABILITY and not self.with_manager
            return replace(self, details=details, task=meaning.intent if asks_again else self.task)
        if meaning.agrees is False:
            return replace(self._done(), remark=Remark.ALL_RIGHT)
        return self if meaning.intent else replace(self, remark=Remark.NOT_UNDERSTOOD)

    def told_hours(self, answer: str) -> Dialogue:
        """The dialogue after the opening hours have been looked up."""
        return replace(self, hours_of=(), remark=answer)

    def told_table(self, answer: str, *, available: bool) -> Dialogue:
        """The dialogue after a table has been looked for: book it, or try another time."""
        if available:
            return replace(self, task=Intent.BOOK, remark=answer)
        return replace(self, details=self.details.without([Slot.TIME]), remark=answer)

    def carried_out(self, answer: str) -> Dialogue:
        """The dialogue after the task is done. The caller's name is still known."""
        return replace(self._done(), remark=answer)

    def failed(self, sentence: str) -> Dialogue:
        """The dialogue after a tool could not do it: the caller says what to try instead."""
        details = self.details.without(_ASKED_ANEW.get(self.task, ()))
        return replace(self, hours_of=(), agreed=False, details=details, trouble=sentence)

    def handed_over(self) -> Dialogue:
        """The dialogue after somebody else has taken the call."""
        if self.handing is Step.TO_MANAGER:
            return replace(self, with_manager=True, handing=None, remark=Remark.MANAGER)
        return replace(self, handing=None)

    def not_handed_over(self) -> Dialogue:
        """The dialogue after the caller spoke before somebody else could take the call."""
        return replace(self, handing=None)

    def ended(self) -> Dialogue:
        """The dialogue after the call is ending."""
        return replace(self, ending=Step.FAREWELL)

    def _done(self) -> Dialogue:
        name = Details(name=self.details.name)
        return Dialogue(details=name, served=True, with_manager=self.with_manager)
