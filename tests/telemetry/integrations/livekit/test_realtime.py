"""Realtime models, which hear and speak by themselves and know nothing of turns."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest
from livekit.agents import Agent, function_tool

from telemetry import attributes as names

from .call import Call, calling
from .realtime import Oracle, spoken_to
from .tree import above, complete, only, shape, turns

if TYPE_CHECKING:
    from telemetry.records import SpanRecord
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

    def __init__(self, *, own_ear: bool = False) -> None:
        super().__init__()
        self.oracle = Oracle(transcribes=not own_ear)
        self.session = spoken_to(self.oracle, self.ear if own_ear else None)
        self.listen()

    async def answers(self, words: str) -> None:
        """The model answers, and that has been played."""
        said = self.said("assistant")
        self.oracle.hears.answers(words)
        await self.until(lambda: self.said("assistant") > said and self.is_listening)

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


WHEN = ["before the answer", "with the answer", "after the answer", "in the next turn", "never"]


@pytest.mark.parametrize("when", WHEN)
async def test_a_transcript_that_comes_when_it_comes(captured: Captured, when: str) -> None:
    """It is in its own turn, and nobody waited for it once the model had begun to answer."""
    call = Seance()
    hears = call.oracle.hears
    async with calling(call, Seer()):
        hears.starts_speaking()
        hears.falls_silent()
        if when == "before the answer":
            hears.understands("What will be")
        if when == "with the answer":
            call.speaker.holding = True
            hears.answers("Who knows")
            await call.speaker.started.wait()
            hears.understands("What will be")
            call.speaker.release()
            await call.until(lambda: call.said("assistant") == 1 and call.is_listening)
        else:
            await call.answers("Who knows")
        if when == "after the answer":
            hears.understands("What will be")
        hears.starts_speaking()
        if when == "in the next turn":
            hears.understands("What will be")
        hears.stops_speaking("And then")
        await call.answers("Nothing")
    [spans] = complete(captured)
    first, second = turns(spans)
    words = None if when == "never" else "What will be"
    assert [turn.attributes.get(names.USER_WORDS) for turn in (first, second)] == [
        words,
        "And then",
    ]
    assert [turn.attributes[names.AGENT_WORDS] for turn in (first, second)] == [
        "Who knows",
        "Nothing",
    ]
    assert first.ended_at <= second.started_at
    for turn in (first, second):
        assert tiles_of(turn) == pytest.approx(turn.attributes[names.RESPONSE_LATENCY])
    if when != "before the answer":
        assert names.LATENCY_STAGE + "transcription" not in first.attributes
    heard = [span for span in spans if span.op == names.OP_STT]
    expected = [second] if when == "never" else [first, second]
    assert [above(spans, span, names.OP_TURN) for span in heard] == expected
    assert {span.name for span in heard} == {"oracle-1"}


def tiles_of(turn: SpanRecord) -> float:
    """The sum of a turn's stages, in seconds."""
    about = turn.attributes.items()
    return sum(float(value) for name, value in about if name.startswith(names.LATENCY_STAGE))


async def test_the_tiles_of_an_answer_after_a_tool(captured: Captured) -> None:
    """They add up, and say how long the model and the tool took."""
    call = Seance()
    async with calling(call, Seer()):
        await call.hears("What will be", "", tool="stars")
    [spans] = complete(captured)
    [turn] = turns(spans)
    assert tiles_of(turn) == pytest.approx(turn.attributes[names.RESPONSE_LATENCY])
    assert turn.attributes[names.LATENCY_STAGE + "llm"] > 0
    assert turn.attributes[names.LATENCY_STAGE + "tools"] > 0
    response = only(spans, names.OP_RESPONSE)
    tiles = [span for span in spans if span.parent_span_id == response.span_id]
    tiles.sort(key=lambda tile: (tile.started_at, tile.ended_at))
    assert [tile.started_at for tile in tiles[1:]] == [tile.ended_at for tile in tiles[:-1]]
    assert (tiles[0].started_at, tiles[-1].ended_at) == (response.started_at, response.ended_at)
    during = {tile.name: tile for tile in tiles}
    tool = only(spans, names.OP_TOOL)
    assert tool.name == "execute_tool stars"
    assert during["tools"].started_at <= tool.ended_at <= during["tools"].ended_at
    asked = [span for span in spans if span.op == names.OP_CHAT]
    assert {span.name for span in asked} == {"chat oracle-1"}
    assert turn.attributes[names.MODELS] == ["oracle-1"]


@pytest.mark.parametrize("when", ["early", "late"])
async def test_a_recogniser_beside_a_realtime_model(captured: Captured, when: str) -> None:
    """One utterance is one turn, whoever of them hears it first."""
    call = Seance(own_ear=True)
    hears = call.oracle.hears
    async with calling(call, Seer()):
        for words in ("What will be", "And then"):
            hears.starts_speaking()
            if when == "early":
                call.ear.hear(words)
                await call.until(functools.partial(call.has_heard, words))
            hears.falls_silent()
            await call.answers("Who knows")
            if when == "late":
                call.ear.hear(words)
                await call.until(functools.partial(call.has_heard, words))
    [spans] = complete(captured)
    found = turns(spans)
    assert [turn.attributes[names.AGENT_WORDS] for turn in found] == ["Who knows"] * 2
    heard = [span for span in spans if span.op == names.OP_STT]
    heard.sort(key=lambda span: span.started_at)
    assert [above(spans, span, names.OP_TURN) for span in heard] == found
    assert {span.name for span in heard} == {"ear-1"}
    for turn in found:
        assert tiles_of(turn) == pytest.approx(turn.attributes[names.RESPONSE_LATENCY])
