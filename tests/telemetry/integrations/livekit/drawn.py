"""Sessions that do whatever is drawn: steps, and the agents and models that know them."""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from livekit.agents import (
    Agent,
    AgentSession,
    TurnHandlingOptions,
    function_tool,
)
from livekit.agents.voice.agent_activity import ActivityClosedError
from livekit.agents.voice.room_io import TextInputEvent, TextInputOptions

from telemetry.integrations import livekit as livekit_telemetry

from .agents import Choosy, Name
from .call import Call
from .providers import Reply, Tone
from .realtime import Oracle, spoken_to
from .tree import sessions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


OUTSIDE: Final = contextvars.copy_context()
"""The context of something that was there before any conversation."""
PATIENCE_SECONDS: Final = 1.0
"""For what may never happen: another step may have been in its way."""
REFUSALS: Final = (TimeoutError, RuntimeError, ActivityClosedError)
"""LiveKit refuses much while it hands over."""

SPOKEN: Final = {
    "tool": "Menu",
    "broken tool": "Cook",
    "unknown tool": "Bake",
    "tool that speaks": "Slow",
    "handed over": "Pay",
    "task": "Book",
    "named": "Anna",
    "stopped": "Ignore me",
    "failed hook": "Brr",
    "hook that speaks": "Say so",
}
"""Steps that are something said, and what."""
ASKED: Final = ("typed", "typed in a room", "said", "said off the record", "interrupted by code")
"""Steps that code asks for, from anywhere."""
STEPS: Final = (*SPOKEN, *ASKED, "asked", "noise", "paused", "cut", "corrected")
HEARD: Final = ("before", "with the answer", "after", "with the next", "never")
"""When a realtime model has a transcript."""
ANSWERS: Final[dict[str, Reply | str]] = {
    "Menu": Reply(tools={"menu": {}}),
    "Cook": Reply("Let me see", {"cook": {}}),
    "Bake": Reply(tools={"bake": {}}),
    "Slow": Reply(tools={"slow": {}}),
    "Pay": Reply(tools={"pay": {}}),
    "Book": Reply(tools={"book": {}}),
    "Anna": Reply(tools={"named": {}}),
}


@dataclass(frozen=True)
class Step:
    """One thing that happens.

    Attributes:
        what: one of :data:`STEPS`; realtime models know those that aren't spoken, and speech.
        who: in which of the sessions.
        waits: whether the next step waits until this one is over.
        where: in which task it is asked for: ``here``, ``outside``, or by a method that was
            ``kept`` from before.
        heard: one of :data:`HEARD`.
    """

    what: str
    who: int = 0
    waits: bool = True
    where: str = "here"
    heard: str = "before"


class Jack(Choosy):
    """Knows everything that the steps need."""

    def __init__(self, *, greets: bool = False) -> None:
        super().__init__()
        self._greets = greets

    async def on_enter(self) -> None:
        """Greet."""
        if self._greets:
            await self.session.say("Jack speaking")

    @function_tool
    async def menu(self) -> str:
        """What there is."""
        return "Soup and fish"

    @function_tool
    async def cook(self) -> str:
        """Fails."""
        raise RuntimeError("the kitchen is on fire")

    @function_tool
    async def slow(self) -> str:
        """Says something while it works."""
        await self.session.say("One moment please")
        return "Done"

    @function_tool
    async def pay(self) -> Agent:
        """Hand the call over."""
        return Jack(greets=True)

    @function_tool
    async def book(self) -> str:
        """Ask for a name, in a task of its own."""
        return f"Booked for {await Name()}"


class Host(Call):
    """A call that plays steps."""

    def __init__(self, *, preemptive: bool = False) -> None:
        super().__init__(ANSWERS, preemptive=preemptive)
        self._kept = self.session.say, self.session.generate_reply, self.session.interrupt
        self._asking: list[asyncio.Task[None]] = []
        self._count = 0

    async def start(self) -> None:
        """Accept the call."""
        conversation = livekit_telemetry.trace(self.session)
        sessions[conversation.trace_id] = self.session
        await self.session.start(Jack())

    async def play(self, step: Step) -> None:
        """Do it."""
        self._count += 1
        with suppress(*REFUSALS):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._play(step)
                await self.until(self._has_taken_all)
                if step.waits:
                    await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is going on."""
        if self._asking:
            await asyncio.wait(self._asking)
        while True:
            idle = asyncio.ensure_future(self.session.wait_for_idle())
            await asyncio.wait({idle})
            if not idle.cancelled():  # as it is when the caller resumes
                idle.result()
                break
        await self.until(lambda: self.is_listening)

    def _has_taken_all(self) -> bool:
        """Whether detection and recognition have told all; words come after the speech began."""
        return self.ear.events.empty() and self.activity.events.empty()

    async def end(self) -> None:
        """Hang up."""
        await self.session.aclose()
        for asking in self._asking:
            asking.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _play(self, step: Step) -> None:
        words = f"Hello {self._count}"
        match step.what:
            case what if what in SPOKEN:
                self.says(SPOKEN[what])
            case what if what in ASKED:
                await self._ask(step, words)
            case "asked":
                self.says(words)
            case "noise":
                self.starts_speaking()
                self.activity.stops()
            case "paused":
                self.says(words)
                self.says("and so on")
            case "corrected":
                requests = self.mind.requests
                self.starts_speaking()
                self.ear.hear(words)
                await self.until(lambda: self.mind.requests > requests or not step.waits)
                self.ear.hear("there")
                self.activity.stops()
            case "cut":
                self.speaker.holding, self.speaker.heard = True, "You"
                try:
                    self.says(words)
                    await self.speaker.started.wait()
                    self.says(f"Stop {self._count}")
                    await self.until(lambda: not self.speaker.started.is_set())
                finally:
                    self.speaker.heard = None
                    self.speaker.release()

    async def _ask(self, step: Step, words: str) -> None:
        async def asking() -> None:
            with suppress(RuntimeError):  # what is being said allows no interruption, or it closes
                await self._asked(step, words)

        context = None if step.where == "here" else OUTSIDE.copy()
        task = asyncio.get_running_loop().create_task(asking(), context=context)
        self._asking.append(task)
        if step.waits:
            await asyncio.wait({task})
        else:
            await asyncio.sleep(0)

    def _asked(self, step: Step, words: str) -> Awaitable[Any]:
        session = self.session
        now = session.say, session.generate_reply, session.interrupt
        say, generate_reply, interrupt = self._kept if step.where == "kept" else now
        match step.what:
            case "typed":
                return generate_reply(user_input=words)
            case "typed in a room":
                return self._type(words)
            case "said":
                return say(f"Said {self._count}")
            case "said off the record":
                return say(f"Hum {self._count}", add_to_chat_ctx=False)
            case _:
                return interrupt()

    async def _type(self, words: str) -> None:
        event = TextInputEvent(text=words, info=None, participant=None)
        typed = TextInputOptions().text_input_cb(self.session, event)
        assert typed is not None
        await typed


class Presser(Host):
    """A host who is told when the caller has spoken: push to talk."""

    def __init__(self) -> None:
        super().__init__()
        self.session = AgentSession[None](
            stt=self.ear,
            llm=self.mind,
            tts=Tone(),
            turn_handling=TurnHandlingOptions(turn_detection="manual"),
            aec_warmup_duration=None,
            user_away_timeout=None,
            session_close_transcript_timeout=0.0,
        )
        self._kept = self.session.say, self.session.generate_reply, self.session.interrupt
        self.listen()

    def says(self, words: str) -> None:
        """The caller presses, says something, and lets go."""
        heard = self.transcripts.count(words)

        async def saying() -> None:
            with suppress(*REFUSALS):
                await self.session.interrupt()
                self.ear.hear(words)
                await self.until(lambda: self.transcripts.count(words) > heard)
                self.session.commit_user_turn()

        self._asking.append(asyncio.get_running_loop().create_task(saying()))


class Medium(Host):
    """A host whose model hears and speaks by itself."""

    def __init__(self, *, own_ear: bool = False) -> None:
        super().__init__()
        self.oracle = Oracle(transcribes=not own_ear)
        self._own_ear = own_ear
        self._unheard: list[str] = []
        self.session = spoken_to(self.oracle, self.ear if own_ear else None)
        self._kept = self.session.say, self.session.generate_reply, self.session.interrupt
        self.listen()

    async def _play(self, step: Step) -> None:
        hears, words = self.oracle.hears, f"Hello {self._count}"
        if step.what in ("typed", "typed in a room", "interrupted by code"):
            await self._ask(step, words)
            return
        said = self.said("assistant")
        hears.starts_speaking()
        self._understand_those_before()
        hears.falls_silent()
        if step.what == "noise":
            return
        if step.heard == "before":
            self._understand(words)
        tool = {"tool": "menu", "broken tool": "cook", "unknown tool": "bake"}.get(step.what)
        self.speaker.holding = step.heard == "with the answer"
        hears.answers("" if tool else f"You said {words}", tool=tool)
        if step.heard == "with the answer":
            try:
                await self.speaker.started.wait()
                self._understand(words)
            finally:
                self.speaker.release()
        if step.waits:
            await self.until(lambda: self.said("assistant") > said and self.is_listening)
        if step.heard == "after":
            self._understand(words)
        if step.heard == "with the next":
            self._unheard.append(words)

    def _understand_those_before(self) -> None:
        for words in self._unheard:
            self._understand(words)
        self._unheard.clear()

    def _understand(self, words: str) -> None:
        if self._own_ear:
            self.ear.hear(words)
        else:
            self.oracle.hears.understands(words)


KINDS: Final[dict[str, Callable[[], Host]]] = {
    "pipeline": Host,
    "made ahead": lambda: Host(preemptive=True),
    "push to talk": Presser,
    "realtime": Medium,
    "own ear": lambda: Medium(own_ear=True),
}


async def hold(kinds: Sequence[str], steps: Sequence[Step], *, settles: bool) -> None:
    """Hold sessions of these kinds, all of one task, and play the steps in them."""
    hosts = [KINDS[kind]() for kind in kinds]
    for host in hosts:
        await host.start()
    for step in steps:
        await hosts[step.who % len(hosts)].play(step)
    for host in hosts:
        if settles:
            with suppress(*REFUSALS):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await host.settle()
        await host.end()
