"""Kinds of sessions, and of what is asked of a model in them: history and trace agree on each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from livekit.agents import Agent, AgentSession, RunContext, TurnHandlingOptions, function_tool

from telemetry import attributes as names
from telemetry.integrations import livekit as livekit_telemetry

from .call import Call, calling
from .providers import Mind, Reply, Tone
from .tree import above, complete, only, sessions, turns

if TYPE_CHECKING:
    from livekit.agents.voice.run_result import RunResult

    from telemetry.testing import Captured


class Librarian(Agent):
    """Has a tool that reports while it works."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")
        self.reported, self.found = asyncio.Event(), asyncio.Event()

    @function_tool
    async def search(self, context: RunContext[None]) -> str:
        """Say that it takes a while, and then what was found."""
        await context.update("Searching")
        self.reported.set()
        await self.found.wait()
        return "Found"


async def test_a_session_of_text_only(captured: Captured) -> None:
    """Nobody speaks: what is typed and written are turns all the same."""
    mind = Mind({"Hello": "Good evening", "Judge": Reply("Well")})
    session = AgentSession[None](llm=mind, user_away_timeout=None)
    conversation = livekit_telemetry.trace(session)
    sessions[conversation.trace_id] = session
    await session.start(Agent(instructions="Be brief."))
    for words in ("Hello", "And now"):
        await session.run(user_input=words)
    await session.aclose()
    [spans] = complete(captured)
    assert [turn.attributes[names.USER_WORDS] for turn in turns(spans)] == ["Hello", "And now"]
    assert [turn.attributes[names.TURN_INITIATOR] for turn in turns(spans)] == ["user"] * 2


@pytest.mark.parametrize("last", [None, "Goodbye"])
async def test_a_session_whose_turns_are_told(captured: Captured, last: str | None) -> None:
    """Push to talk: each turn is told. Hanging up is none, unless something was said last."""
    call = Call({"Hello": "Good evening"})
    call.session = AgentSession[None](
        stt=call.ear,
        llm=call.mind,
        tts=Tone(),
        turn_handling=TurnHandlingOptions(turn_detection="manual"),
        session_close_transcript_timeout=0.1,
    )
    call.listen()
    async with calling(call):
        call.ear.hear("Hello")
        await call.until(lambda: call.has_heard("Hello"))
        call.session.commit_user_turn()
        await call.until(lambda: call.said("assistant") == 1 and call.is_listening)
        if last is not None:
            call.ear.hear(last)
            await call.until(lambda: call.has_heard(last))
    [spans] = complete(captured)
    heard = [turn.attributes[names.USER_WORDS] for turn in turns(spans)]
    assert heard == ["Hello"] + ([] if last is None else [last])
    assert only(spans, names.OP_CONVERSATION).attributes[names.CONVERSATION_TURNS] == len(heard)


async def test_a_judge_has_tokens_of_its_own(captured: Captured) -> None:
    """They are the conversation's, and no turn's: the session doesn't count them."""
    call = Call({"Hello": "Good evening"})
    judge = Mind(
        {},
        model="judge-1",
        otherwise=Reply(tools={"check_intent": {"success": True, "reason": ""}}),
    )
    async with calling(call):
        run: RunResult[None] = await call.session.run(user_input="Hello")
        await run.expect.next_event().is_message(role="assistant").judge(judge, intent="greets")
    [spans] = complete(captured)
    [turn] = turns(spans)
    assert turn.attributes[names.USAGE + "input_tokens"] == 7
    about = only(spans, names.OP_CONVERSATION).attributes
    assert about[names.USAGE + "input_tokens"] == 14
    asked = next(span for span in spans if span.name == "chat judge-1")
    assert above(spans, asked, "livekit.judge_evaluation") is not None


async def test_a_tool_that_reports_while_it_works(captured: Captured) -> None:
    """LiveKit lists it once for each report, and speaks of each; it is one call."""
    call = Call({"Look": Reply(tools={"search": {}}), "Found": "Here it is"})
    agent = Librarian()
    async with calling(call, agent):
        call.says("Look")
        await agent.reported.wait()
        await call.until(lambda: call.said("assistant") == 1 and call.is_listening)
        agent.found.set()
        await call.until(lambda: call.said("assistant") == 2 and call.is_listening)
    [spans] = complete(captured)
    assert only(spans, names.OP_TOOL).attributes[names.GEN_AI_TOOL_NAME] == "search"
    listed = [item for item in call.session.history.items if item.type == "function_call"]
    assert len(listed) > 1
