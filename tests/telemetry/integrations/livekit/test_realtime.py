"""Realtime models, which hear and speak by themselves and know nothing of turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livekit.agents import Agent, AgentSession, function_tool

from telemetry import attributes as names

from .call import Call, calling
from .realtime import Oracle
from .tree import complete, shape, turns

if TYPE_CHECKING:
    from telemetry.testing import Captured


class Seer(Agent):
    """Has a tool."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")

    @function_tool
    async def stars(self) -> str:
        """Look at the stars."""
        return "Clear"


class Seance(Call):
    """A call whose model hears and speaks by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.oracle = Oracle()
        self.session = AgentSession[None](
            llm=self.oracle,
            vad=None,
            aec_warmup_duration=None,
            user_away_timeout=None,
            session_close_transcript_timeout=0.0,
        )
        self.listen()

    async def hears(self, words: str, answer: str, *, tool: str | None = None) -> None:
        """The caller speaks, the model answers, and the answer has been played."""
        said = self.said("assistant")
        self.speaker.holding = True
        self.oracle.hears.starts_speaking()
        self.oracle.hears.stops_speaking(words)
        self.oracle.hears.answers(answer, tool=tool)
        await self.speaker.started.wait()
        self.oracle.hears.charges()
        self.speaker.release()
        await self.until(lambda: self.said("assistant") > said and self.is_listening)


async def test_a_realtime_model_takes_turns(captured: Captured) -> None:
    """Speech begins the caller's turn; what the model says unprompted answers it."""
    call = Seance()
    async with calling(call, Seer()):
        await call.hears("What will be", "Who knows")
        await call.hears("And then", "Nothing")
    [spans] = complete(captured)
    turn_tree = [
        "conversation.turn",
        "  conversation.response",
        "  gen_ai.invoke_agent",
        "    agent.speech",
        "    gen_ai.chat",
        "  stt.recognize",
        "  user.speech",
    ]
    assert shape(spans, "conversation.turn") == turn_tree * 2
    for turn in turns(spans):
        about = turn.attributes
        assert about[names.TURN_INITIATOR] == "user"
        assert about[names.RESPONSE_LATENCY] > 0
        assert about[names.USAGE + "output_tokens"] == 20
        assert about[names.MODELS] == ["oracle-1"]
    chats = [span for span in spans if span.op == names.OP_CHAT]
    assert [chat.attributes[names.GEN_AI_USAGE_INPUT_TOKENS] for chat in chats] == [30, 30]


async def test_a_realtime_model_calls_a_tool(captured: Captured) -> None:
    """The tool, and what is said of its result, are in the caller's turn."""
    call = Seance()
    async with calling(call, Seer()):
        await call.hears("What will be", "", tool="stars")
    [spans] = complete(captured)
    assert shape(spans, "conversation.turn") == [
        "conversation.turn",
        "  conversation.response",
        "  gen_ai.invoke_agent",
        "    agent.speech",
        "    gen_ai.chat",
        "    gen_ai.chat",
        "    gen_ai.execute_tool stars",
        "  stt.recognize",
        "  user.speech",
    ]


async def test_a_realtime_model_that_is_interrupted(captured: Captured) -> None:
    """The model's own ear tells of the barge-in."""
    call = Seance()
    async with calling(call, Seer()):
        call.speaker.holding = True
        call.oracle.hears.starts_speaking()
        call.oracle.hears.stops_speaking("What will be")
        call.oracle.hears.answers("A very long prophecy")
        await call.speaker.started.wait()
        call.oracle.hears.starts_speaking()
        call.oracle.hears.stops_speaking("Enough")
        await call.until(lambda: call.is_listening)
        call.speaker.release()
    [spans] = complete(captured)
    cut, cutting = turns(spans)
    assert cut.attributes[names.INTERRUPTED_BY] == "user"
    assert cutting.attributes[names.INTERRUPTS] == 0
