"""Turns: each is one tree, whoever speaks, however it goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from livekit.agents import Agent, function_tool, llm

from telemetry import attributes as names

from .agents import Choosy
from .call import Call, calling
from .providers import Mind, Reply
from .tree import complete, only, shape, turns

if TYPE_CHECKING:
    from livekit.agents import UserStateChangedEvent

    from telemetry.testing import Captured


class Host(Agent):
    """Greets, and says goodbye."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")

    async def on_enter(self) -> None:
        """Greet."""
        await self.session.say("Good evening")

    async def on_exit(self) -> None:
        """Say goodbye."""
        await self.session.say("Goodbye")


HEARD = [
    "  livekit.user_turn",
    "    livekit.on_user_turn_completed",
    "    turn.endpointing",
    "    user.speech",
    "  stt.recognize",
]
ANSWERED = [
    "conversation.turn",
    "  conversation.response",
    "  gen_ai.invoke_agent",
    "    agent.speech",
    "    gen_ai.chat",
    "    tts.synthesize",
    *HEARD,
]
SAID = [
    "conversation.turn",
    "  gen_ai.invoke_agent",
    "    agent.speech",
    "    tts.synthesize",
]


async def test_a_call_from_greeting_to_farewell_is_one_tree(captured: Captured) -> None:
    """Greeting, answer and farewell are turns of the same conversation, and all of it is there."""
    call = Call({"Hello": "What can I do for you"})
    async with calling(call, Host()):
        await call.until(lambda: call.said("assistant") == 1 and call.is_listening)
        await call.asks("Hello")
    [spans] = complete(captured)
    assert shape(spans) == [
        "conversation",
        "  livekit.agent_session",
        *("    " + line for line in [*SAID, *ANSWERED, *SAID]),
        "    livekit.session_close",
        "      livekit.drain_agent_activity",
        "        livekit.on_exit",
        "    livekit.session_start",
        "      livekit.start_agent_activity",
        "        livekit.on_enter",
        "        livekit.setup_toolsets",
    ]
    initiators = [turn.attributes[names.TURN_INITIATOR] for turn in turns(spans)]
    assert initiators == ["agent", "user", "agent"]


async def test_a_turn_says_what_it_took(captured: Captured) -> None:
    """Latency by stages that add up, tokens, characters, seconds of audio, models."""
    call = Call({"Hello": "Good evening"})
    async with calling(call):
        await call.asks("Hello")
    [spans] = complete(captured)
    [turn] = turns(spans)
    about = turn.attributes
    stages = [value for name, value in about.items() if name.startswith(names.LATENCY_STAGE)]
    assert sum(stages) == pytest.approx(about[names.RESPONSE_LATENCY])
    assert about[names.USAGE + "input_tokens"] == 7
    assert about[names.USAGE + "output_tokens"] == 5
    assert about[names.USAGE + "characters"] == len("Good evening")
    assert about[names.USAGE + "synthesized_seconds"] == pytest.approx(0.13)
    assert about[names.USAGE + "recognized_seconds"] == 1.0
    assert about[names.MODELS] == ["ear-1", "mind-1", "tone-1"]
    assert only(spans, names.OP_STT).attributes[names.STT_AUDIO_SECONDS] == 1.0
    assert only(spans, names.OP_CHAT).attributes[names.GEN_AI_USAGE_OUTPUT_TOKENS] == 5
    assert only(spans, names.OP_TTS).attributes[names.TTS_CHARACTERS] == len("Good evening")


async def test_a_conversation_sums_up_its_turns(captured: Captured) -> None:
    """Turns, interruptions, usage and the percentiles of response latency; a greeting has none."""
    call = Call()
    async with calling(call, Host()):
        await call.until(lambda: call.said("assistant") == 1 and call.is_listening)
        for words in ("One", "Two", "Three"):
            await call.asks(words)
    [spans] = complete(captured)
    about = only(spans, names.OP_CONVERSATION).attributes
    latencies = sorted(
        turn.attributes[names.RESPONSE_LATENCY]
        for turn in turns(spans)
        if names.RESPONSE_LATENCY in turn.attributes
    )
    assert len(latencies) == 3
    assert about[names.RESPONSE_LATENCY_P50] == latencies[1]
    assert about[names.RESPONSE_LATENCY_P95] == latencies[2]
    assert about[names.CONVERSATION_TURNS] == 5
    assert about[names.CONVERSATION_INTERRUPTIONS] == 0
    assert about[names.USAGE + "input_tokens"] == 3 * 7
    used = [span.attributes.get(names.GEN_AI_USAGE_INPUT_TOKENS, 0) for span in spans]
    assert sum(used) == 3 * 7  # each stands in one place


async def test_typed_words_are_the_callers(captured: Captured) -> None:
    """A turn that was typed has no speech, and is still the caller's."""
    call = Call({"Hello": "Good evening"})
    async with calling(call):
        await call.session.run(user_input="Hello")
    [spans] = complete(captured)
    [turn] = turns(spans)
    assert turn.attributes[names.TURN_INITIATOR] == "user"
    assert names.RESPONSE_LATENCY not in turn.attributes


class Waiter(Agent):
    """Has tools."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")
        self.sommelier = Mind({"Which wine?": "The red one"}, model="sommelier-1")

    @function_tool
    async def menu(self) -> str:
        """What there is."""
        return "Soup and fish"

    @function_tool
    async def wine(self) -> str:
        """Which wine there is."""
        return "Red wine"

    @function_tool
    async def broken(self) -> str:
        """Fails."""
        raise RuntimeError("the kitchen is on fire")

    @function_tool
    async def advice(self) -> str:
        """Asks another model."""
        chat_ctx = llm.ChatContext.empty()
        chat_ctx.add_message(role="user", content="Which wine?")
        return (await self.sommelier.chat(chat_ctx=chat_ctx).collect()).text

    @function_tool
    async def slow(self) -> str:
        """Says something while it works."""
        await self.session.say("One moment please")
        return "Done"


TOOLS = [
    "conversation.turn",
    "  conversation.response",
    "  gen_ai.invoke_agent",
    "    agent.speech",
    "    gen_ai.chat",
    "    gen_ai.chat",
]


async def test_a_tool_and_its_follow_up(captured: Captured) -> None:
    """A tool call, the tool and the answer to its result are one agent turn."""
    call = Call({"Menu?": Reply(tools={"menu": {}}), "Soup and fish": "We have soup"})
    async with calling(call, Waiter()):
        await call.asks("Menu?")
    [spans] = complete(captured)
    assert shape(spans, "conversation.turn") == [
        *TOOLS,
        "    gen_ai.execute_tool menu",
        "    tts.synthesize",
        *HEARD,
    ]
    [turn] = turns(spans)
    assert turn.attributes[names.LATENCY_STAGE + "tools"] > 0
    assert names.ANSWER_LATENCY not in turn.attributes  # nothing was said before it


async def test_tools_at_the_same_time_are_siblings(captured: Captured) -> None:
    """Neither tool is the other's child."""
    call = Call({"All?": Reply(tools={"menu": {}, "wine": {}}), "Red wine": "Both"})
    async with calling(call, Waiter()):
        await call.asks("All?")
    [spans] = complete(captured)
    assert shape(spans, "conversation.turn") == [
        *TOOLS,
        "    gen_ai.execute_tool menu",
        "    gen_ai.execute_tool wine",
        "    tts.synthesize",
        *HEARD,
    ]


async def test_a_tool_that_fails_is_reported_once(captured: Captured) -> None:
    """Its span has failed, and the error is this caller's, in this span."""
    call = Call({"Cook": Reply(tools={"broken": {}})})
    async with calling(call, Waiter(), user={"id": "u1"}, tags={"tenant": "acme"}):
        await call.asks("Cook")
    [spans] = complete(captured)
    tool = only(spans, names.OP_TOOL)
    assert (tool.name, tool.status) == ("execute_tool broken", "internal_error")
    [error] = captured.errors
    assert error["exception"]["values"][-1]["type"] == "RuntimeError"
    assert error["user"]["id"] == "u1"
    assert error["tags"]["tenant"] == "acme"
    assert error["contexts"]["trace"]["span_id"] == tool.span_id


async def test_a_model_called_in_a_tool_is_its_child(captured: Captured) -> None:
    """The call is the tool's, and its tokens are the turn's."""
    call = Call({"Wine?": Reply(tools={"advice": {}}), "The red one": "Red"})
    async with calling(call, Waiter()):
        await call.asks("Wine?")
    [spans] = complete(captured)
    assert shape(spans, "conversation.turn") == [
        *TOOLS,
        "    gen_ai.execute_tool advice",
        "      gen_ai.chat",
        "    tts.synthesize",
        *HEARD,
    ]
    [turn] = turns(spans)
    assert turn.attributes[names.USAGE + "input_tokens"] == 3 * 7
    assert turn.attributes[names.MODELS] == ["ear-1", "mind-1", "sommelier-1", "tone-1"]


async def test_what_a_tool_says_meanwhile_belongs_to_its_turn(captured: Captured) -> None:
    """A filler is no turn of its own, and ends the caller's wait."""
    call = Call({"Slow": Reply(tools={"slow": {}}), "Done": "There you are"})
    async with calling(call, Waiter()):
        await call.asks("Slow", answers=2)
    [spans] = complete(captured)
    assert shape(spans, "conversation.turn") == [
        *TOOLS,
        "    gen_ai.execute_tool slow",
        "    tts.synthesize",
        "  gen_ai.invoke_agent",
        "    agent.speech",
        "    tts.synthesize",
        *HEARD,
    ]
    filler, answer = sorted(
        (span for span in spans if span.op == names.OP_AGENT_SPEECH), key=lambda s: s.started_at
    )
    response = only(spans, names.OP_RESPONSE)
    assert response.ended_at == filler.started_at < answer.started_at
    assert response.attributes[names.ANSWER_LATENCY] > response.attributes[names.RESPONSE_LATENCY]


async def test_a_wait_that_is_bridged_from_outside(captured: Captured) -> None:
    """Words that come while an answer is being made end the wait; the answer has its own time."""
    call = Call({"Wine?": Reply(tools={"advice": {}}), "The red one": "Red"})
    agent = Waiter()
    agent.sommelier.gates["Which wine?"] = asyncio.Event()
    async with calling(call, agent):
        call.says("Wine?")
        await call.until(lambda: agent.sommelier.requests == 1)
        await call.session.say("One moment please", add_to_chat_ctx=False)
        agent.sommelier.gates["Which wine?"].set()
        await call.until(lambda: call.said("assistant") == 1 and call.is_listening)
    [spans] = complete(captured)
    [turn] = turns(spans)
    filler, answer = sorted(
        (span for span in spans if span.op == names.OP_AGENT_SPEECH), key=lambda s: s.started_at
    )
    response = only(spans, names.OP_RESPONSE)
    assert response.ended_at == filler.started_at
    assert turn.attributes[names.ANSWER_LATENCY] == pytest.approx(
        answer.started_at - response.started_at
    )


async def test_a_caller_who_says_nothing(captured: Captured) -> None:
    """Being away is a span; asking again answers nobody, and is not what answers them later."""
    call = Call(away=0.05)
    asked: list[asyncio.Task[None]] = []

    async def ask_again() -> None:
        await call.session.say("Are you still there?")

    def away(event: UserStateChangedEvent) -> None:
        if event.new_state == "away" and not asked:
            asked.append(asyncio.create_task(ask_again()))

    call.session.on("user_state_changed", away)
    async with calling(call, Host()):
        await call.until(lambda: call.said("assistant") == 2 and call.is_listening)
        await call.asks("Yes")
    [spans] = complete(captured)
    greeting, again, answered, _ = turns(spans)
    for turn in (greeting, again):
        assert turn.attributes[names.TURN_INITIATOR] == "agent"
        assert names.RESPONSE_LATENCY not in turn.attributes
    assert answered.attributes[names.RESPONSE_LATENCY] > 0
    [first_away, *_] = [span for span in spans if span.op == names.OP_USER_AWAY]
    assert greeting.ended_at <= first_away.started_at <= again.started_at


@pytest.mark.parametrize("words", ["Ignore me", "Brr"])
async def test_an_unanswered_turn_is_not_answered_by_what_comes_later(
    captured: Captured, words: str
) -> None:
    """The agent declined; what it says of its own accord afterwards is a turn of its own."""
    call, agent = Call(), Choosy()
    async with calling(call, agent):
        call.says(words)
        await agent.told.wait()
        await call.session.say("Are you still there?")
    [spans] = complete(captured)
    declined, reprompt = turns(spans)
    assert [line.partition(" (")[0] for line in shape(spans, "conversation.turn")] == [
        "conversation.turn",
        *HEARD,
        *SAID,
    ]
    assert declined.attributes[names.TURN_INITIATOR] == "user"
    assert reprompt.attributes[names.TURN_INITIATOR] == "agent"
    assert not any(names.RESPONSE_LATENCY in turn.attributes for turn in (declined, reprompt))
    assert declined.ended_at <= reprompt.started_at


@pytest.mark.parametrize("words", ["Ignore me", "Brr"])
async def test_an_unanswered_turn_is_not_answered_by_the_next_agent(
    captured: Captured, words: str
) -> None:
    """Handed over afterwards, the call is greeted anew."""
    call, agent = Call(), Choosy()
    async with calling(call, agent):
        call.says(words)
        await agent.told.wait()
        call.session.update_agent(Host())
        await call.until(lambda: call.said("assistant") == 1 and call.is_listening)
    [spans] = complete(captured)
    declined, greeting, _ = turns(spans)
    assert names.RESPONSE_LATENCY not in declined.attributes
    assert greeting.attributes[names.TURN_INITIATOR] == "agent"


async def test_a_hook_that_answers_itself(captured: Captured) -> None:
    """``on_user_turn_completed`` says something and stops LiveKit's answer: that is the answer."""
    call = Call()
    async with calling(call, Choosy()):
        await call.asks("Say so")
    [spans] = complete(captured)
    [turn] = turns(spans)
    assert turn.attributes[names.RESPONSE_LATENCY] > 0
