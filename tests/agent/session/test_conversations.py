"""Conversations as people have them: a real worker, real models, callers with a real voice.

They all call at once, as they do (:func:`held`): each test reads what came of its own call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import anyio
import numpy as np
import pytest
from livekit.agents import Agent

from agent import gateway
from agent.audio import audible
from agent.desk import FrontDesk
from agent.session import voice
from telemetry import attributes as names
from telemetry.testing import agrees, capture
from tests.agent.session import kept_desk
from tests.agent.session.phone import (
    RATE,
    desk_worker,
    pause_within,
    phone,
    recording,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterator

    from livekit import rtc
    from livekit.agents import ModelSettings
    from livekit.agents.stt import SpeechEvent

    from agent.session import OpenSession
    from telemetry.testing import Captured
    from tests.agent.session.phone import Phone

pytestmark = pytest.mark.realtime

Conversation = Callable[["OpenSession", str], Awaitable["Phone"]]
"""Holds a call with a desk, at its gateway's URL."""
Held = Callable[[Conversation], "Phone"]
"""What came of it."""

WEEK: Final = "What are your opening hours?"
ANSWER: Final = "We are open Tuesday to Thursday from five until ten in the evening"


def hum(seconds: float) -> bytes:
    """A voice without words, as of somebody who goes "mm-hm"."""
    t = np.arange(round(RATE * seconds)) / RATE
    voice = sum(np.sin(2 * np.pi * 110 * k * t) / k for k in range(1, 6))
    return (voice * np.hanning(len(t)) * 0.15 * 32767).astype("<i2").tobytes()


@pytest.fixture(scope="module")
def captured() -> Iterator[Captured]:
    """One telemetry for all these calls, as in a worker."""
    with capture(send_content=True) as captured:
        yield captured


@pytest.fixture(scope="module")
async def held(captured: Captured, tmp_path_factory: pytest.TempPathFactory) -> Held:
    """Hold every conversation of this module with one desk, that is patient for one second."""
    ended: dict[Conversation, Phone | Exception] = {}

    async def hold(conversation: Conversation, desk: OpenSession, url: str) -> None:
        try:
            ended[conversation] = await conversation(desk, url)
        except Exception as error:  # noqa: BLE001 - the test of this conversation raises it
            ended[conversation] = error

    db = tmp_path_factory.mktemp("desk") / "book.db"
    # ten calls begin to speak at once: where that takes a machine long, farewells take their time
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(voice, "FAREWELL_TIMEOUT_SECONDS", 30.0)
    async with (
        desk_worker(db, agent="tests.agent.session.kept_desk:KeptDesk", silence=1.0) as desk,
        serving(desk) as url,
        anyio.create_task_group() as calls,
    ):
        for conversation in CONVERSATIONS:
            calls.start_soon(hold, conversation, desk, url)
    monkeypatch.undo()

    def what_came_of(conversation: Conversation) -> Phone:
        caller = ended[conversation]
        if isinstance(caller, Exception):
            raise caller
        return caller

    return what_came_of


def _trace(captured: Captured, caller: Phone) -> dict[str, Any]:
    """The facts of a call that has ended, and its spans."""
    stats = captured.runtime.stats()
    assert (stats.orphan_spans, stats.open_at_finish) == (0, 0)
    (event,) = (
        event
        for event in captured.conversations
        if event["contexts"]["trace"]["trace_id"] == caller.call.trace_id
    )
    return {**event["contexts"]["trace"]["data"], "spans": event["spans"]}


async def talking_over(_: OpenSession, url: str) -> Phone:
    """The second question comes in the middle of the answer to the first."""
    async with phone(url) as caller:
        await caller.said("How can I help you?")
        await caller.call.send_text(WEEK)
        await caller.sounds()
        await anyio.sleep(1.5)  # into the speech: the one time that counts here is the caller's
        caller.say(recording("opening_hours-2"))
        cut = await caller.said("We are open")
        assert await caller.said("open") != cut
        await caller.call.end()
        await caller.ended()
    return caller


async def test_a_caller_who_talks_over_the_agent_is_listened_to(
    held: Held, captured: Captured
) -> None:
    """The speech stops, what was said of it is what was heard, and the new question is answered."""
    caller = held(talking_over)
    _, cut, answer = caller.agent_words()
    assert ANSWER.startswith(cut)
    assert len(cut) < len(ANSWER)
    assert answer.startswith("On Saturdays we are open")
    spans = _trace(captured, caller)["spans"]
    (interrupted,) = (
        s for s in spans if s["op"] == names.OP_TURN and s["data"].get(names.INTERRUPTED)
    )
    assert interrupted["data"][names.AGENT_WORDS] == cut


async def talking_to_slow_ears(_: OpenSession, __: str) -> Phone:
    """The same, and it takes a second to find out what was said."""
    with TemporaryDirectory() as folder:
        async with (
            desk_worker(Path(folder) / "book.db", agent=f"{__name__}:SlowEars") as desk,
            serving(desk) as url,
            phone(url) as caller,
        ):
            await caller.said("How can I help you?")
            await caller.call.send_text(WEEK)
            await caller.sounds()
            await anyio.sleep(1.0)
            caller.say(recording("opening_hours-2"))
            await caller.said("On Saturdays")
    return caller


class SlowEars(FrontDesk):
    """A desk whose recognition takes as long as it may."""

    async def stt_node(
        self, audio: AsyncIterable[rtc.AudioFrame], model_settings: ModelSettings
    ) -> AsyncIterator[SpeechEvent]:
        """What is heard, late."""
        async for event in Agent.default.stt_node(self, audio, model_settings):
            await anyio.sleep(0.9)
            yield event


async def test_an_interrupted_agent_waits_for_the_words(held: Held) -> None:
    """While it isn't known yet what the caller said, the speech doesn't go on."""
    messages = [message for _, message in held(talking_to_slow_ears).arrived]
    paused = next(
        at
        for at, message in enumerate(messages)
        if isinstance(message, gateway.State)
        and (message.agent, message.user) == ("listening", "speaking")
    )
    known = messages.index(
        next(
            m for m in messages if isinstance(m, gateway.Words) and m.speaker == "user" and m.final
        )
    )
    assert paused < known
    assert not any(isinstance(m, bytes) and audible(m).size for m in messages[paused:known])


async def humming(_: OpenSession, url: str) -> Phone:
    """The caller hums while the agent speaks."""
    async with phone(url) as caller:
        await caller.said("How can I help you?")
        await caller.call.send_text(WEEK)
        await caller.sounds()
        await anyio.sleep(1.0)
        caller.say(hum(0.5))
        await caller.until(lambda m: isinstance(m, gateway.State) and m.agent == "listening")
        await caller.until(lambda m: isinstance(m, gateway.State) and m.agent == "speaking")
        await caller.said("We are open")
        await caller.call.end()
        await caller.ended()
    return caller


async def test_a_hum_over_the_agent_is_no_interruption(held: Held, captured: Captured) -> None:
    """The agent pauses, goes on where it stopped, and says all it had to say, once."""
    caller = held(humming)
    _, said = caller.agent_words()
    assert said.startswith(ANSWER)
    assert said.endswith("closed on Mondays.")
    assert _trace(captured, caller)[names.CONVERSATION_INTERRUPTIONS] == 0


async def silent(_: OpenSession, url: str) -> Phone:
    """The line is open, and nobody says anything."""
    async with phone(url) as caller:
        assert await caller.ended(within=60) == "idle"
    return caller


async def test_a_silent_caller_is_asked_twice_and_let_go(held: Held, captured: Captured) -> None:
    """An open, silent line counts as silence; the end is idle, after a farewell."""
    caller = held(silent)
    assert caller.agent_words()[1:] == [
        "Are you still there?",
        "I'm sorry, I can't hear you. Are you still there?",
        "I still can't hear you, so I will hang up now. Goodbye.",
    ]
    facts = _trace(captured, caller)
    assert facts[names.CONVERSATION_OUTCOME] == "idle"
    assert facts[names.CONVERSATION_LIMIT] == "idle"
    assert not any(key.startswith("latency.e2e") for key in facts)


async def coming_back(_: OpenSession, url: str) -> Phone:
    """The caller answers when it is asked, and falls silent again."""
    async with phone(url) as caller:
        await caller.said("Are you still there?")
        caller.say(recording("booking-1"))
        await caller.said("how many people")
        await caller.said("still there")
    return caller


async def test_a_caller_who_comes_back_starts_anew(held: Held) -> None:
    """Once the caller has said something, silence is counted from the beginning."""
    assert held(coming_back).agent_words()[-1] == "Are you still there?"


async def hanging_up(_: OpenSession, url: str) -> Phone:
    """The caller hangs up in the middle of a reply."""
    async with phone(url) as caller:
        await caller.said("How can I help you?")
        await caller.call.send_text(WEEK)
        await caller.sounds()
        await caller.call.end()
        assert await caller.ended(within=5) == "hung_up"
    return caller


async def test_hanging_up_in_the_middle_of_a_reply(held: Held, captured: Captured) -> None:
    """The end is at once, and the trace whole."""
    assert _trace(captured, held(hanging_up))[names.CONVERSATION_OUTCOME] == "hung_up"


async def staying_too_long(desk: OpenSession, _: str) -> Phone:
    """Two seconds are all that a call may take."""
    async with serving(desk, max_duration=2.0) as url, phone(url) as caller:
        assert await caller.ended() == "time_limit"
    return caller


async def test_the_time_limit_has_a_farewell(held: Held, captured: Captured) -> None:
    """A call that lasts too long is told so before it ends."""
    caller = held(staying_too_long)
    assert caller.agent_words()[-1] == (
        "I'm sorry, we have reached the time limit of this call. Goodbye."
    )
    assert _trace(captured, caller)[names.CONVERSATION_OUTCOME] == "time_limit"


async def waiting_for_tools(_: OpenSession, url: str) -> Phone:
    """The service is slow on one day, and not there on another."""
    async with phone(url) as caller:
        await caller.said("How can I help you?")
        await caller.call.send_text("Do you have a table for two on December 24th at seven?")
        await caller.said("One moment, please.")
        assert "two on" in await caller.said("")  # or closed, when it is a Monday
        await caller.call.send_text("Do you have a table for two on December 26th at seven?")
        await caller.said("One moment, please.")
        await caller.said("I can't reach our reservations book")
    return caller


async def test_who_waits_for_a_tool_is_told(held: Held) -> None:
    """One moment, once; then the answer, or why there is none."""
    assert held(waiting_for_tools).agent_words().count("One moment, please.") == 2


async def staying_until_the_end(desk: OpenSession, _: str) -> Phone:
    """The worker is told to shut down in mid-call."""
    scope = anyio.CancelScope()

    async def run(*, task_status: anyio.abc.TaskStatus[str]) -> None:
        with scope:
            await gateway.serve(desk, port=0, task_status=task_status)

    async with anyio.create_task_group() as tasks:
        url = await tasks.start(run)
        async with phone(url) as caller:
            await caller.said("How can I help you?")
            scope.cancel()
            assert await caller.ended() == "shutdown"
    return caller


async def test_a_worker_that_stops_says_goodbye(held: Held, captured: Captured) -> None:
    """Told to shut down, the agent takes leave before it ends the call."""
    caller = held(staying_until_the_end)
    assert caller.agent_words()[-1] == "I'm sorry, I have to end this call now. Goodbye."
    assert _trace(captured, caller)[names.CONVERSATION_OUTCOME] == "shutdown"


async def pausing(_: OpenSession, url: str) -> Phone:
    """The caller pauses for 0.9 s in the middle of a question."""
    async with phone(url) as caller:
        await caller.said("How can I help you?")
        await caller.listening()
        caller.say(pause_within("complaint-6a", 0.9, "complaint-6b"))
        await caller.said("On Saturdays")
        await caller.listening()
        await caller.call.end()
        await caller.ended()
    return caller


async def test_a_caller_who_pauses_within_a_sentence_is_heard_out(
    held: Held, captured: Captured
) -> None:
    """ "And what time do you", a pause, "close on Saturday?" is one turn, and has one answer."""
    caller = held(pausing)
    greeting, answer = caller.agent_words()
    assert greeting.endswith("How can I help you?")
    assert answer.startswith("On Saturdays we are open")
    spans = _trace(captured, caller)["spans"]
    [asked] = [
        words
        for span in spans
        if span["op"] == names.OP_TURN and (words := span["data"].get(names.USER_WORDS))
    ]
    assert "close on saturday" in asked.lower()


CONVERSATIONS: Final = (
    talking_over,
    talking_to_slow_ears,
    humming,
    silent,
    coming_back,
    hanging_up,
    staying_too_long,
    waiting_for_tools,
    staying_until_the_end,
    pausing,
)


@pytest.mark.parametrize(
    "conversation", [each for each in CONVERSATIONS if each is not talking_to_slow_ears]
)
def test_history_and_trace_agree(
    held: Held, captured: Captured, conversation: Conversation
) -> None:
    """Of each of these calls, with real voices and real models."""
    trace_id = held(conversation).call.trace_id
    [event] = [
        event
        for event in captured.conversations
        if event["contexts"]["trace"]["trace_id"] == trace_id
    ]
    agreement = agrees(kept_desk.sessions[trace_id], captured.spans(event))
    assert agreement, f"{agreement}\n{captured.tree(event)}"
