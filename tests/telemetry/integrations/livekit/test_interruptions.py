"""Who interrupted whom, how far the agent got, and what was no interruption at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import pytest
from livekit.agents import Agent, APIStatusError, function_tool

from telemetry import attributes as names
from telemetry.testing import capture

from .call import Call, calling
from .providers import Reply, Tone
from .tree import above, complete, only, shape, turns

if TYPE_CHECKING:
    from telemetry.testing import Captured


async def test_a_caller_who_interrupts(captured: Captured) -> None:
    """The cut turn says who cut it and how much was heard; the other, whose words it cut."""
    call = Call({"Hello": "A very long answer to a short question", "Stop": "Sorry"})
    async with calling(call):
        call.speaker.holding = True
        call.says("Hello")
        await call.speaker.started.wait()
        call.speaker.holding = False
        await call.asks("Stop")
    [spans] = complete(captured)
    cut, cutting = turns(spans)
    assert cut.attributes[names.INTERRUPTED] is True
    assert cut.attributes[names.INTERRUPTED_BY] == "user"
    assert cut.attributes[names.PLAYED] > 0
    assert cutting.attributes[names.INTERRUPTS] == 0
    assert cutting.attributes[names.INTERRUPTED] is False
    assert only(spans, names.OP_CONVERSATION).attributes[names.CONVERSATION_INTERRUPTIONS] == 1
    speech = next(span for span in spans if span.op == names.OP_AGENT_SPEECH)
    assert speech.attributes[names.INTERRUPTED_BY] == "user"
    assert speech.attributes[names.PLAYED] == cut.attributes[names.PLAYED]


@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
async def test_what_was_cut_off_was_not_said(lifecycle: Literal["transaction", "stream"]) -> None:
    """A speech and its turn have the words that were played, not those that were meant to be."""
    call = Call({"Hello": "A very long answer to a short question", "Stop": "Sorry"})
    with capture(lifecycle=lifecycle, send_content=True) as captured:
        async with calling(call):
            call.speaker.holding, call.speaker.heard = True, "A very long"
            call.says("Hello")
            await call.speaker.started.wait()
            call.says("Stop")
            await call.until(lambda: call.said("assistant") == 1)
            call.speaker.release()
            await call.until(lambda: call.said("assistant") == 2 and call.is_listening)
        [spans] = complete(captured)
    cut, cutting = turns(spans)
    speeches = sorted(
        (span for span in spans if span.op == names.OP_AGENT_SPEECH), key=lambda s: s.started_at
    )
    for turn, speech, words in zip((cut, cutting), speeches, ("A very long", "Sorry"), strict=True):
        assert turn.attributes[names.AGENT_WORDS].strip() == words
        assert speech.attributes[names.AGENT_WORDS].strip() == words


async def test_code_that_interrupts(captured: Captured) -> None:
    """``session.interrupt()`` is nobody's speech."""
    call = Call({"Hello": "A very long answer"})
    async with calling(call):
        call.speaker.holding = True
        call.says("Hello")
        await call.speaker.started.wait()
        await call.session.interrupt()
        call.speaker.release()
    [spans] = complete(captured)
    [turn] = turns(spans)
    assert turn.attributes[names.INTERRUPTED_BY] == "application"


async def test_a_noise_that_pauses_the_agent(captured: Captured) -> None:
    """A false interruption is counted, and interrupts nothing: the speech goes on."""
    call = Call({"Hello": "A very long answer"}, false_interruption=0.05)
    resumed = asyncio.Event()
    call.session.on("agent_false_interruption", lambda _: resumed.set())
    async with calling(call):
        call.speaker.holding = True
        call.says("Hello")
        await call.speaker.started.wait()
        call.starts_speaking()
        await call.until(lambda: call.session.user_state == "speaking")
        call.activity.stops()
        await resumed.wait()
        call.speaker.release()
        await call.until(lambda: call.said("assistant") == 1 and call.is_listening)
    [spans] = complete(captured)
    answered, noise = turns(spans)
    assert answered.attributes[names.FALSE_INTERRUPTIONS] == 1
    assert answered.attributes[names.INTERRUPTED] is False
    assert names.INTERRUPTED_BY not in answered.attributes
    assert names.USER_WORDS not in noise.attributes
    assert names.RESPONSE_LATENCY not in noise.attributes
    assert only(spans, names.OP_CONVERSATION).attributes[names.CONVERSATION_INTERRUPTIONS] == 0
    assert sum(span.op == names.OP_AGENT_SPEECH for span in spans) == 2  # before and after


async def test_an_agent_that_talks_over_its_caller(captured: Captured) -> None:
    """Both turns say so."""
    call = Call()
    async with calling(call):
        call.starts_speaking()
        await call.until(lambda: call.session.user_state == "speaking")
        await call.session.say("I must stop you there", allow_interruptions=False)
        call.ear.hear("Well")
        call.activity.stops()
        await call.until(lambda: call.said("assistant") == 2 and call.is_listening)
    [spans] = complete(captured)
    interrupted, interrupting = turns(spans)
    assert interrupted.attributes[names.INTERRUPTED_BY] == "agent"
    assert interrupting.attributes[names.INTERRUPTS] == 0
    assert interrupted.attributes[names.RESPONSE_LATENCY] > 0


@pytest.mark.parametrize("correction", [False, True], ids=["used", "discarded"])
async def test_a_reply_made_ahead_of_time(captured: Captured, correction: bool) -> None:
    """Used or discarded, a reply generated before the turn was over is in the turn it answers."""
    call = Call({"Hello": "Good evening", "Hello there": "And to you"}, preemptive=True)
    async with calling(call):
        call.starts_speaking()
        call.ear.hear("Hello")
        await call.until(lambda: call.mind.requests == 1)
        if correction:
            call.ear.hear("there")
        call.activity.stops()
        await call.until(lambda: call.said("assistant") == 1 and call.is_listening)
        await call.asks("Hello")
    [spans] = complete(captured)
    assert [text.strip() for who, text in call.items if who == "assistant"] == [
        "And to you" if correction else "Good evening",
        "Good evening",
    ]
    first, second = turns(spans)
    chats = shape(
        [span for span in spans if above(spans, span, "conversation.turn") == first], "gen_ai.chat"
    )
    assert len(chats) == 1 + correction
    assert first.attributes[names.RESPONSE_LATENCY] > 0
    assert names.INTERRUPTED_BY not in first.attributes
    assert second.started_at >= first.started_at
    assert only(spans, names.OP_CONVERSATION).attributes[names.CONVERSATION_INTERRUPTIONS] == 0


class Chef(Agent):
    """Has a tool that takes its time, and one that speaks."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")
        self.cooking, self.done = asyncio.Event(), asyncio.Event()

    @function_tool
    async def cook(self) -> str:
        """Take one's time."""
        self.cooking.set()
        await self.done.wait()
        return "Cooked"


def interrupted_messages(call: Call) -> int:
    """How many of the history's messages say that they were cut short."""
    messages = call.session.history.messages()
    return sum(message.interrupted for message in messages if message.role == "assistant")


async def test_a_tool_that_is_interrupted(captured: Captured) -> None:
    """Its agent had spoken to the end: nothing of what it said was cut."""
    call, chef = Call({"Cook": Reply("One moment please", {"cook": {}})}), Chef()
    async with calling(call, chef):
        call.says("Cook")
        await chef.cooking.wait()
        await call.until(lambda: call.said("assistant") == 1)
        interrupted = call.session.interrupt()
        chef.done.set()
        await interrupted
    [spans] = complete(captured)
    [turn] = turns(spans)
    assert turn.attributes[names.INTERRUPTED] is False
    assert names.INTERRUPTED_BY not in turn.attributes
    about = only(spans, names.OP_CONVERSATION).attributes
    assert about[names.CONVERSATION_INTERRUPTIONS] == interrupted_messages(call) == 0


async def test_a_speech_of_which_no_word_was_heard(captured: Captured) -> None:
    """It was cut, and the history has nothing that was."""
    call = Call({"Hello": "A very long answer"})
    async with calling(call):
        call.speaker.holding, call.speaker.heard = True, ""
        call.says("Hello")
        await call.speaker.started.wait()
        call.says("Stop")
        await call.until(lambda: not call.speaker.started.is_set())
        call.speaker.holding = False
        await call.until(lambda: call.said("assistant") == 1 and call.is_listening)
    [spans] = complete(captured)
    cut, _ = turns(spans)
    assert cut.attributes[names.INTERRUPTED] is True
    assert names.AGENT_WORDS not in cut.attributes
    about = only(spans, names.OP_CONVERSATION).attributes
    assert about[names.CONVERSATION_INTERRUPTIONS] == interrupted_messages(call) == 0


async def test_a_voice_that_breaks(captured: Captured) -> None:
    """The speech is cut short, by nobody: the history says so, too."""
    first = "The first of two sentences is long enough to be said by itself alone."
    call = Call({"Hello": f"{first} And so is the second one, which nobody will ever hear at all."})
    errors: list[Exception | None] = [None]
    voice = call.session.tts
    assert isinstance(voice, Tone)
    voice.error = lambda: errors.pop() if errors else APIStatusError("no", retryable=False)
    async with calling(call):
        call.says("Hello")
        await call.until(lambda: call.said("assistant") == 1 and call.is_listening)
    [spans] = complete(captured)
    [turn] = turns(spans)
    assert turn.attributes[names.INTERRUPTED] is True
    assert names.INTERRUPTED_BY not in turn.attributes
    about = only(spans, names.OP_CONVERSATION).attributes
    assert about[names.CONVERSATION_INTERRUPTIONS] == interrupted_messages(call) == 1


async def test_a_second_speech_that_is_cut(captured: Captured) -> None:
    """The first one of a turn was not."""
    call = Call({"Wait": Reply("One moment", {"tell": {}}), "Told": "A very long story"})
    teller = Teller(call)
    async with calling(call, teller):
        call.says("Wait")
        await call.until(lambda: call.said("assistant") == 1)
        await call.speaker.started.wait()
        await call.session.interrupt()
    [spans] = complete(captured)
    [turn] = turns(spans)
    speeches = [span for span in spans if span.op == names.OP_AGENT_SPEECH]
    speeches.sort(key=lambda span: span.started_at)
    assert [speech.attributes[names.INTERRUPTED] for speech in speeches] == [False, True]
    assert [speech.attributes[names.AGENT_WORDS].strip() for speech in speeches] == [
        "One moment",
        "A very long story",
    ]
    assert turn.attributes[names.INTERRUPTED_BY] == "application"
    about = only(spans, names.OP_CONVERSATION).attributes
    assert about[names.CONVERSATION_INTERRUPTIONS] == interrupted_messages(call) == 1


class Teller(Agent):
    """Tells a story, which is held."""

    def __init__(self, call: Call) -> None:
        super().__init__(instructions="Be brief.")
        self._call = call

    @function_tool
    async def tell(self) -> str:
        """Tell it when all before it has been said."""
        await self._call.until(lambda: self._call.said("assistant") == 1)
        self._call.speaker.holding = True
        return "Told"
