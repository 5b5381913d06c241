"""The agent: the front desk of a restaurant, its instructions, greeting and tools."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from livekit.agents import Agent, RunContext, function_tool
from pydantic import Field

from agent.desk.client import Reservations, ReservationsError
from agent.desk.house import COPPER_KETTLE
from agent.desk.manager import Manager, take_over
from agent.desk.script import DeskScript, local_today
from agent.desk.speech import spoken_choice, spoken_date
from agent.desk.toolkit import Date, Name, On, Party, Time, speakable
from agent.desk.wire import Booking, Change, Reservation, Seating, Week, Weekday

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from agent.providers import Script

GREETING: Final = "Thank you for calling the Copper Kettle. How can I help you?"
DEFAULT_URL: Final = "http://127.0.0.1:8780"

_INSTRUCTIONS: Final = """\
You answer the telephone of a restaurant, the Copper Kettle. You tell callers when it is open, and
you book, change and cancel tables with your tools. Complaints, and parties larger than
{largest}, are for the manager: put the caller through with speak_to_manager.
Today is {today:%A}, {today:%Y-%m-%d}.

What you say is spoken aloud: one or two short, plain sentences, no lists, no markup, and times,
dates and numbers in words. Ask for one thing at a time. Before you book, change or cancel, repeat
what you understood and ask whether it is right. Never make up opening hours or a free table. When
a tool fails, say in your own words what it says. When the caller is done, call end_call.
"""
_RETURN: Final = "Say that this is the front desk again, and go on from what the caller wants."


class FrontDesk(Agent):
    """One conversation's front desk. A tool answers with JSON, or fails with a sentence to speak.

    ``reservations`` is shared by all conversations of the process; ``today`` says which day the
    agent is told it is.
    """

    script: ClassVar[Script] = DeskScript()
    """The stand-in for a language model when the worker runs with ``PARLEY_LLM=scripted``."""
    usual: ClassVar[Sequence[str]] = (GREETING,)
    """Sentences for a voice to have ready."""

    def __init__(
        self, reservations: Reservations, *, today: Callable[[], dt.date] = local_today
    ) -> None:
        super().__init__(
            instructions=_INSTRUCTIONS.format(today=today(), largest=COPPER_KETTLE.largest_party)
        )
        self._reservations = reservations
        self._today = today
        self._manager: Manager | None = None
        """The manager who had the call last, if the desk had not."""

    @classmethod
    @asynccontextmanager
    async def resources(cls, environ: Mapping[str, str]) -> AsyncIterator[Callable[[], FrontDesk]]:
        """Open the client that all conversations of a process share; yields the maker of agents.

        Reads ``PARLEY_RESERVATIONS_URL`` from ``environ``.
        """
        url = environ.get("PARLEY_RESERVATIONS_URL") or DEFAULT_URL
        async with Reservations.connect(url) as reservations:
            yield lambda: cls(reservations)

    async def on_enter(self) -> None:
        """Greet the caller, without waiting for a language model; or take the call back."""
        if self._manager is None:
            self.session.say(GREETING)
            return
        await take_over(self, self._manager)
        self.session.generate_reply(instructions=_RETURN)

    @function_tool
    async def opening_hours(
        self,
        day: Annotated[
            Weekday | None, Field(description="The day asked about; leave out for the whole week")
        ] = None,
    ) -> str:
        """Look up when the restaurant is open."""
        with speakable():
            week = (await self._reservations.hours()).root
        return Week(week if day is None else {day: week[day]}).model_dump_json()

    @function_tool
    async def availability(self, date: Date, time: Time, party: Party) -> str:
        """Find out whether there is a table, and which times are free if not."""
        with speakable():
            seating = Seating.model_validate({"date": date, "time": time, "party": party})
            return (await self._reservations.availability(seating)).model_dump_json()

    @function_tool
    async def book(self, name: Name, date: Date, time: Time, party: Party) -> str:
        """Book a table. Only after the caller has agreed to every detail."""
        with speakable():
            booking = Booking.model_validate(
                {"name": name, "date": date, "time": time, "party": party}
            )
            return (await self._reservations.book(booking)).model_dump_json()

    @function_tool
    async def change(
        self,
        name: Name,
        date: Date | None = None,
        time: Time | None = None,
        party: Party | None = None,
        on: On = None,
    ) -> str:
        """Change the day, the time or the party of a reservation. Leave out what stays."""
        with speakable():
            change = Change.model_validate({"date": date, "time": time, "party": party})
            reservation = await self._find(name, on)
            return (await self._reservations.change(reservation.id, change)).model_dump_json()

    @function_tool
    async def cancel(self, name: Name, on: On = None) -> str:
        """Cancel a reservation. Only after the caller has agreed to it."""
        with speakable():
            reservation = await self._find(name, on)
            await self._reservations.cancel(reservation.id)
        return reservation.model_dump_json()

    @function_tool
    async def speak_to_manager(self, context: RunContext[None]) -> Agent:
        """Put the caller through to the manager: for a complaint, for a party too large for you,
        or because they ask for it. Say nothing else when you call this."""
        self._manager = Manager(self, self._reservations, today=self._today())
        return self._manager

    @function_tool
    async def end_call(self, context: RunContext[None]) -> str:
        """End the call, when the caller is done. Say nothing else when you call this."""
        # the goodbye is part of the speech that called the tool: the call ends when it has played
        context.speech_handle.add_done_callback(lambda _: context.session.shutdown(drain=True))
        return "Say goodbye."

    async def _find(self, name: str, on: str | None) -> Reservation:
        found = await self._reservations.under(name)
        if on is not None:
            found = [reservation for reservation in found if reservation.date.isoformat() == on]
        if not found:
            raise ReservationsError(f"I'm sorry, I can't find a reservation under {name}.")
        days = list(dict.fromkeys(spoken_date(reservation.date) for reservation in found))
        if len(days) > 1:
            raise ReservationsError(
                f"There is more than one reservation under {name}: {spoken_choice(days, 'and')}. "
                "Which day is it?"
            )
        return found[0]
