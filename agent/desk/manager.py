"""The manager: a second agent, who takes a caller over from the front desk and hands it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from livekit.agents import Agent, RunContext, function_tool

from agent.desk.toolkit import Date, Name, Party, Time, speakable
from agent.desk.wire import Booking

if TYPE_CHECKING:
    import datetime as dt

    from agent.desk.client import Reservations

_INSTRUCTIONS: Final = """\
You are the manager of a restaurant, the Copper Kettle, on the telephone. The front desk has put a
caller through to you; you know what was said. Today is {today:%A}, {today:%Y-%m-%d}.

You hear complaints: you are sorry, and you look into it yourself. And you book parties that are too
large for the front desk, with book_large_party: ask for the day, the time and the name, one at a
time, and repeat everything before you book. For anything else, and when the caller is done with
you, call back_to_desk.

What you say is spoken aloud: one or two short, plain sentences, no lists, no markup, and times,
dates and numbers in words. When a tool fails, say in your own words what it says.
"""
_ENTER: Final = "Say that you are the manager, and go on from what the caller wants."


class Manager(Agent):
    """The manager in one call. ``desk`` is who put it through, and gets it back."""

    def __init__(self, desk: Agent, reservations: Reservations, *, today: dt.date) -> None:
        super().__init__(instructions=_INSTRUCTIONS.format(today=today))
        self._desk = desk
        self._reservations = reservations

    async def on_enter(self) -> None:
        """Take over what was said so far, and answer it."""
        await take_over(self, self._desk)
        self.session.generate_reply(instructions=_ENTER)

    @function_tool
    async def book_large_party(self, name: Name, date: Date, time: Time, party: Party) -> str:
        """Book a table for a party of any size. Only after the caller has agreed to every
        detail."""
        with speakable():
            booking = Booking.model_validate(
                {"name": name, "date": date, "time": time, "party": party}
            )
            return (await self._reservations.book(booking, approved=True)).model_dump_json()

    @function_tool
    async def back_to_desk(self, context: RunContext[None]) -> Agent:
        """Put the caller through to the front desk again: for everyday questions and bookings, and
        when the caller needs nothing more from you. Say nothing else when you call this."""
        return self._desk


async def take_over(agent: Agent, other: Agent) -> None:
    """Let an agent know all that was said while another one spoke."""
    known = other.chat_ctx.copy(exclude_instructions=True)
    await agent.update_chat_ctx(known, exclude_invalid_function_calls=False)
