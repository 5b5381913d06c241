"""The manager: a real handoff there and back, in a real session with the real service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.desk import FrontDesk, Manager
from tests.agent.desk.conversation import converse

if TYPE_CHECKING:
    from agent.desk import Reservations


async def test_complaint_goes_to_the_manager_and_back(reservations: Reservations) -> None:
    """The manager says who speaks, hears the complaint, and hands back with what was said."""
    async with converse(reservations) as call:
        put_through = await call.says("Can I speak to the manager please?")
        assert [made.name for made in put_through.calls] == ["speak_to_manager"]
        assert put_through.words == "Hello, this is the manager. How can I help you?"
        assert isinstance(call.session.current_agent, Manager)
        heard = await call.says("The soup was cold last night.")
        assert "very sorry to hear that" in heard.words
        assert heard.words.endswith("Is there anything else I can help you with?")
        back = await call.says("No thank you.")
        assert [made.name for made in back.calls] == ["back_to_desk"]
        assert back.words == (
            "You are back at the front desk. Is there anything else I can do for you?"
        )
        assert isinstance(call.session.current_agent, FrontDesk)
        assert "The soup was cold last night." in [
            message.text_content for message in call.session.current_agent.chat_ctx.messages()
        ]
        done = await call.says("No thank you, that is everything.")
        assert [made.name for made in done.calls] == ["end_call"]
        assert "Goodbye" in done.words


async def test_large_party_is_booked_by_the_manager(reservations: Reservations) -> None:
    """The desk offers the manager, who knows what was said and books what the desk may not."""
    async with converse(reservations) as call:
        offer = await call.says("I would like a table for twenty people.")
        assert offer.words == "That is something for our manager. Shall I put you through?"
        manager = await call.says("Yes please.")
        assert manager.words == "Hello, this is the manager. Which day would you like?"
        assert "What name" in (await call.says("On Friday at seven")).words
        assert "table for twenty on Friday" in (await call.says("Johnson")).words
        booked = await call.says("Yes that is right.")
        assert [made.name for made in booked.calls] == ["book_large_party"]
        assert booked.words.startswith("Your table is booked.")
    (found,) = await reservations.under("Johnson")
    assert found.party == 20


async def test_everyday_questions_go_back_to_the_desk(reservations: Reservations) -> None:
    """What the manager is asked that the desk can answer, the desk answers."""
    async with converse(reservations) as call:
        await call.says("I want to complain to the manager")
        asked = await call.says("When are you open on Sunday?")
        assert [made.name for made in asked.calls] == ["back_to_desk", "opening_hours"]
        assert asked.words.startswith("On Sundays we are open from noon until nine")
        again = await call.says("The manager again, please")
        assert again.words == "Hello, this is the manager. How can I help you?"
        small = await call.says("I would like a table for four")
        assert [made.name for made in small.calls] == ["back_to_desk"]
        assert small.words == "Which day would you like?"


async def test_who_declines_the_manager_stays_with_the_desk(reservations: Reservations) -> None:
    """A smaller party, or none, and the desk goes on."""
    async with converse(reservations) as call:
        await call.says("A table for thirty people please")
        smaller = await call.says("Then make it ten people.")
        assert smaller.words == "Which day would you like?"
        await call.says("Actually thirty people.")
        declined = await call.says("No, thanks.")
        assert declined.words == "All right. Is there anything else I can do for you?"
