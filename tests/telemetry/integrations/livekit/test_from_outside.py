"""What is asked of a session from outside: by older tasks, by a room's text, beside another."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from typing import TYPE_CHECKING, Any

import pytest
from livekit.agents import Agent
from livekit.agents.voice.room_io import TextInputEvent, TextInputOptions

from telemetry import attributes as names
from telemetry.integrations import livekit as livekit_telemetry

from .call import Call, calling
from .tree import above, complete, turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telemetry.testing import Captured

OUTSIDE = contextvars.copy_context()
"""The context of something that was there before any conversation."""


async def type_in(call: Call, text: str) -> None:
    """What a room does with text that a participant sends; its answer has been played."""
    said = call.said("assistant")
    event = TextInputEvent(text=text, info=None, participant=None)
    typed = TextInputOptions().text_input_cb(call.session, event)
    assert typed is not None
    await typed
    await call.until(lambda: call.said("assistant") > said and call.is_listening)


async def outside(ask: Callable[[], Awaitable[Any]]) -> None:
    """Ask in a task that was there before."""

    async def asking() -> None:
        await ask()

    await asyncio.get_running_loop().create_task(asking(), context=OUTSIDE.copy())


@pytest.mark.parametrize("where", ["inside", "outside", "kept from before"])
async def test_words_of_a_speech_are_in_its_turn(captured: Captured, where: str) -> None:
    """Whoever asked for it: what it says, and what was typed."""
    call = Call({"Typed": "Answered"})
    kept = call.session.say, call.session.generate_reply

    async def ask() -> None:
        now = call.session.say, call.session.generate_reply
        say, generate_reply = kept if where == "kept from before" else now
        await say("Said")
        await generate_reply(user_input="Typed")

    async with calling(call):
        await (ask() if where == "inside" else outside(ask))
    [spans] = complete(captured)
    said, typed = turns(spans)
    assert said.attributes[names.AGENT_WORDS].strip() == "Said"
    assert said.attributes[names.TURN_INITIATOR] == "agent"
    assert typed.attributes[names.USER_WORDS] == "Typed"
    assert typed.attributes[names.AGENT_WORDS].strip() == "Answered"
    assert typed.attributes[names.TURN_INITIATOR] == "user"


async def test_an_interruption_from_outside(captured: Captured) -> None:
    """Is the application's, in the turn that it cut."""
    call = Call({"Hello": "A very long answer"})
    async with calling(call):
        call.speaker.holding = True
        call.says("Hello")
        await call.speaker.started.wait()
        await outside(lambda: call.session.interrupt())
        call.speaker.release()
    [spans] = complete(captured)
    [turn] = turns(spans)
    assert turn.attributes[names.INTERRUPTED_BY] == "application"
    assert turn.attributes[names.AGENT_WORDS].strip() == "A very long answer"


@pytest.mark.parametrize("kept", [False, True], ids=["found", "kept from before"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["one first", "two first"])
async def test_two_sessions_of_one_task_keep_their_words(
    captured: Captured, order: tuple[int, int], kept: bool
) -> None:
    """Said by the task that started both: each in its own trace."""
    calls = Call({"Typed": "One"}), Call({"Typed": "Two"})
    before = [(call.session.say, call.session.generate_reply) for call in calls]
    conversations = [livekit_telemetry.trace(call.session) for call in calls]
    for call in calls:
        await call.session.start(Agent(instructions="Be brief."))
    for which in order:
        session = calls[which].session
        say, generate_reply = before[which] if kept else (session.say, session.generate_reply)
        await say(f"Said {which}")
        await generate_reply(user_input="Typed")
    for call in calls:
        await call.session.aclose()
    complete(captured)
    for which, conversation in enumerate(conversations):
        [event] = [
            event
            for event in captured.conversations
            if event["contexts"]["trace"]["trace_id"] == conversation.trace_id
        ]
        said, typed = turns(captured.spans(event))
        assert said.attributes[names.AGENT_WORDS].strip() == f"Said {which}"
        assert typed.attributes[names.TURN_INITIATOR] == "user"
        assert typed.attributes[names.AGENT_WORDS].strip() == ("One", "Two")[which]


@pytest.mark.parametrize("where", ["inside", "outside"])
async def test_text_typed_in_a_room(captured: Captured, where: str) -> None:
    """Is one turn, of the caller's, without speech of theirs; it interrupts what is being said."""
    call = Call({"Hello": "Good evening", "Well": "Bye"})
    async with calling(call):
        for words in ("Hello", "Well"):
            ask = functools.partial(type_in, call, words)
            await (outside(ask) if where == "outside" else ask())
    [spans] = complete(captured)
    found = turns(spans)
    assert [turn.attributes.get(names.USER_WORDS) for turn in found] == ["Hello", "Well"]
    for turn in found:
        assert turn.attributes[names.TURN_INITIATOR] == "user"
        assert names.RESPONSE_LATENCY not in turn.attributes
    assert not [span for span in spans if span.op == names.OP_USER_SPEECH]
    chats = [span for span in spans if span.op == names.OP_CHAT]
    assert [above(spans, span, names.OP_TURN) for span in chats] == found
