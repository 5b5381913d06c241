"""The front desk in a real session: greeting, tools, failures, end of the call."""

from __future__ import annotations

import json

import anyio
import pytest
from livekit.agents import llm

from agent.desk import FrontDesk, Reservations
from agent.desk.agent import GREETING
from tests.agent.desk.conftest import HOUSE, TODAY
from tests.agent.desk.conversation import converse

FRIDAY = {"date": "2026-11-27", "time": "19:30", "party": 4}


@pytest.fixture
def desk(reservations: Reservations) -> FrontDesk:
    """A desk nobody calls: its tools are called by hand."""
    return FrontDesk(reservations, today=lambda: TODAY)


async def call(desk: FrontDesk, tool: str, **arguments: object) -> llm.FunctionCallOutput:
    """Call a tool of the desk's as a language model does, with JSON."""
    wanted = llm.FunctionToolCall(name=tool, arguments=json.dumps(arguments), call_id="call")
    return (await llm.execute_function_call(wanted, llm.ToolContext(desk.tools))).fnc_call_out


async def test_greets_without_a_language_model(reservations: Reservations) -> None:
    """The desk speaks first, and what it says is fixed."""
    async with converse(reservations) as conversation:
        assert conversation.greeting.words == GREETING
        assert conversation.greeting.calls == ()


async def test_books_changes_and_cancels(reservations: Reservations) -> None:
    """A caller's table is in the book, is moved, and is gone again."""
    async with converse(reservations) as conversation:
        await conversation.says("A table for four on Friday at half past seven, please.")
        await conversation.says("My name is Johnson.")
        booked = await conversation.says("Yes.")
        assert [call.name for call in booked.calls] == ["book"]
        (reservation,) = await reservations.under("Johnson")
        assert reservation.model_dump(mode="json") == {
            **FRIDAY,
            "name": "Johnson",
            "id": reservation.id,
        }
        await conversation.says("Actually, can you move it to eight?")
        await conversation.says("Yes, please.")
        assert [found.time.hour for found in await reservations.under("Johnson")] == [20]
        await conversation.says("I have to cancel it, sorry.")
        assert "cancelled" in (await conversation.says("Yes.")).words
        assert await reservations.under("Johnson") == []


async def test_failed_tool_is_said(reservations: Reservations) -> None:
    """What the service refuses fails the tool with a sentence, and the caller hears it."""
    async with converse(reservations) as conversation:
        reply = await conversation.says("Do you have a table for two on Monday at eight?")
    assert reply.failures == ("I'm sorry, we are closed on that day.",)
    assert reply.words == reply.failures[0]


async def test_service_that_is_down_is_said() -> None:
    """Without the service the desk apologises, and the call goes on."""
    async with (
        Reservations.connect("http://127.0.0.1:9") as nobody,
        converse(nobody) as conversation,
    ):
        assert "can't reach" in (await conversation.says("Are you open on Sunday?")).words
        assert "how many people" in (await conversation.says("A table please.")).words


async def test_goodbye_is_said_before_the_call_ends(reservations: Reservations) -> None:
    """The session closes by itself, after the goodbye."""
    async with converse(reservations) as conversation:
        reply = await conversation.says("No thank you, goodbye.")
        assert [call.name for call in reply.calls] == ["end_call"]
        assert "Goodbye" in reply.words
        with anyio.fail_after(5):
            await conversation.closed.wait()


async def test_hours_of_a_day_or_of_the_week(desk: FrontDesk) -> None:
    """A model asks for one day, or leaves the day out."""
    sunday = await call(desk, "opening_hours", day="sunday")
    assert sunday.output == '{"sunday":{"opens":"12:00","closes":"21:00"}}'
    assert (await call(desk, "opening_hours")).output == HOUSE.week.model_dump_json()


async def test_several_reservations_under_one_name(
    desk: FrontDesk, reservations: Reservations
) -> None:
    """Which one is meant is asked; the day decides."""
    await call(desk, "book", name="Johnson", **FRIDAY)
    await call(desk, "book", name="Johnson", date="2026-11-28", time="18:00", party=2)
    failed = await call(desk, "cancel", name="Johnson")
    assert failed.is_error
    assert failed.output == (
        "There is more than one reservation under Johnson: Friday the twenty-seventh of November "
        "and Saturday the twenty-eighth of November. Which day is it?"
    )
    await call(desk, "change", name="Johnson", party=6, on="2026-11-27")
    await call(desk, "cancel", name="Johnson", on="2026-11-28")
    assert [found.party for found in await reservations.under("Johnson")] == [6]


async def test_model_that_makes_dates_up(desk: FrontDesk) -> None:
    """Arguments that are not valid fail with what is wrong, so that a model can correct them."""
    failed = await call(desk, "book", name="Johnson", **FRIDAY | {"date": "next Friday"})
    assert failed.is_error
    assert failed.output.startswith("I'm sorry, I did not get the date right:")


async def test_resources_are_opened_once(service: str) -> None:
    """A process shares one client; each session has a desk of its own."""
    async with FrontDesk.resources({"PARLEY_RESERVATIONS_URL": service}) as make:
        one, other = make(), make()
        assert one is not other
        assert not (await call(one, "opening_hours")).is_error
        assert not (await call(other, "opening_hours")).is_error
