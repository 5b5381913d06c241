"""An agent behind real sockets that says what it is told to, and notes when it did.

It speaks the protocol in its own words, without the gateway's code, and measures with its own
eyes: what it knows is what a simulated caller's findings are held against.
"""

from __future__ import annotations

import array
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import anyio
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests.agent.simulator.recordings import silence, tone
from tests.agent.simulator.traces import trace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from telemetry.records import ConversationRecord

_FRAME = 640
_HELD = 0.8
"""Seconds until it goes on, after what it paused for."""
_QUIET_FRAMES = 10
"""A caller that has been silent for this long has finished its turn."""


@dataclass(frozen=True)
class Answer:
    """What the agent does when the caller has finished a turn."""

    words: str | None = None
    """None: it says nothing, ever."""
    heard: str = ""
    tool: tuple[str, Mapping[str, Any]] | None = None
    thinking: float = 0.1
    """Seconds between the end of the turn and the answer's first frame."""
    leading_silence: float = 0.06
    seconds: float = 0.2
    """How long it speaks."""
    talked_over: Literal["answers", "stops", "pauses", "ignores"] = "answers"
    """What it does when the caller speaks meanwhile. By default it hears that only afterwards."""
    unasked_after: float | None = None
    """It doesn't wait for a turn, but speaks after so many seconds."""
    ends: str | None = None
    """The outcome with which it then ends the call."""
    drops: bool = False
    """It closes the connection instead, with code 1011."""


@dataclass
class Conversation:
    start: dict[str, Any]
    began_at: float

    @property
    def context(self) -> tuple[str, str]:
        """The caller's trace, and its span."""
        trace_id, span_id, *_ = self.start["headers"]["sentry-trace"].split("-")
        return trace_id, span_id

    ended_at: float | None = None
    responses: list[tuple[float | None, float]] = field(default_factory=list)
    """When the caller fell silent (None: it typed), and when the first audible frame was sent."""
    tools: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    """What it listened to, while it did."""
    cuts: list[float] = field(default_factory=list)
    """When it was cut short."""
    typed: list[str] = field(default_factory=list)
    """The trace context of each typed turn, but for whether it is sampled."""
    gaps: list[float] = field(default_factory=list)
    """How long the caller says it waited for each answer."""
    loud_at: float | None = None
    """When the first loud frame of what it was talked over with arrived."""


class _HungUpError(Exception):
    pass


class FakeAgent:
    def __init__(self, answers: Sequence[Answer], greeting: Answer) -> None:
        self.url = ""
        self.conversations: dict[str, Conversation] = {}
        self.greeted = anyio.Event()
        self._answers = answers
        self._greeting = greeting

    async def trace(self, id: str) -> ConversationRecord | None:
        """The trace of a conversation, as a worker would have left it."""
        this = self.conversations[id]
        if this.ended_at is None:
            return None
        return trace(
            id,
            this.context,
            this.began_at,
            this.ended_at,
            responses=this.responses,
            tools=this.tools,
            cuts=this.cuts,
        )

    async def hold(self, websocket: ServerConnection) -> None:
        start = json.loads(await websocket.recv())
        this = Conversation(start, time.time())
        self.conversations[start["id"]] = this
        await _send(
            websocket, "started", id=start["id"], trace_id=this.context[0], sample_rate=16000
        )
        outcome = "hung_up"
        try:
            await self._say(websocket, this, self._greeting)
            self.greeted.set()
            for answer in self._answers:
                voiced_until = None
                if answer.unasked_after is None:
                    voiced_until = await self._listen(websocket, this)
                else:
                    await anyio.sleep(answer.unasked_after)
                if answer.drops:
                    await websocket.close(1011, "out of memory")
                    return
                audible_at = await self._answer(websocket, this, answer)
                if audible_at is not None and answer.unasked_after is None:
                    this.responses.append((voiced_until, audible_at))
                if answer.ends is not None:
                    outcome = answer.ends
                    break
            else:
                while True:
                    await self._listen(websocket, this)
        except _HungUpError:
            pass
        this.ended_at = time.time()
        await _send(websocket, "ended", outcome=outcome)

    async def _listen(self, websocket: ServerConnection, this: Conversation) -> float | None:
        """Wait for a turn; returns when its last voiced sample arrived, None if it was typed."""
        voiced_until, quiet = None, 0
        while voiced_until is None or quiet < _QUIET_FRAMES:
            message = await websocket.recv()
            if isinstance(message, str):
                match json.loads(message)["type"]:
                    case "gap":
                        this.gaps.append(json.loads(message)["seconds"])
                    case "end":
                        raise _HungUpError
                    case "text":
                        headers = json.loads(message)["headers"]
                        this.typed.append(headers["sentry-trace"][:49])
                        return None
                continue
            this.frames.append(message)
            loud = _loud(message)
            quiet = 0 if loud else quiet + 1
            if loud:
                voiced_until = time.time() - (319 - loud[-1]) / 16_000
        return voiced_until

    async def _answer(
        self, websocket: ServerConnection, this: Conversation, answer: Answer
    ) -> float | None:
        await _send(websocket, "state", agent="thinking", user="listening")
        if answer.heard:
            await _send(websocket, "words", speaker="user", text=answer.heard, final=True)
        await anyio.sleep(answer.thinking)
        if answer.tool is not None:
            this.tools.append(answer.tool)
            name, arguments = answer.tool
            await _send(websocket, "tool", name=name, arguments=json.dumps(arguments), ok=True)
        return await self._say(websocket, this, answer)

    async def _say(
        self, websocket: ServerConnection, this: Conversation, answer: Answer
    ) -> float | None:
        """Speak in real time; returns when the first audible frame was sent."""
        if answer.words is None:
            return None
        audible_at = None
        quiet = silence(answer.leading_silence)
        pcm = quiet + tone(answer.seconds)
        await _send(websocket, "state", agent="speaking", user="listening")
        await _send(websocket, "audio_started")
        began = anyio.current_time()
        for at in range(0, len(pcm), _FRAME):
            await anyio.sleep_until(began + at / 32_000)
            if answer.talked_over != "answers" and await _talked_over(websocket):
                this.loud_at = time.time()
                if answer.talked_over == "stops":
                    this.cuts.append(this.loud_at)
                    await _send(websocket, "flush")
                    await _send(websocket, "audio_ended", interrupted=True)
                    await _send(websocket, "state", agent="listening", user="speaking")
                    return audible_at
                if answer.talked_over == "pauses":
                    await self._listen(websocket, this)
                    began = anyio.current_time() - at / 32_000 + _HELD
                    await anyio.sleep(_HELD)
            if at >= len(quiet) and audible_at is None:
                audible_at = time.time()
            await websocket.send(pcm[at : at + _FRAME])
        await _send(websocket, "audio_ended", interrupted=False)
        await _send(websocket, "words", speaker="agent", text=answer.words, final=True)
        await _send(websocket, "state", agent="listening", user="listening")
        return audible_at


async def _talked_over(websocket: ServerConnection) -> bool:
    """Whether the caller is heard in what has arrived by now."""
    while True:
        with anyio.move_on_after(0.001) as waiting:
            message = await websocket.recv()
        if waiting.cancelled_caught:
            return False
        if isinstance(message, bytes) and _loud(message):
            return True


def _loud(frame: bytes) -> list[int]:
    """The samples that can be heard."""
    return [n for n, sample in enumerate(array.array("h", frame)) if abs(sample) >= 328]


async def _send(websocket: ServerConnection, type: str, **fields: object) -> None:
    await websocket.send(json.dumps({"type": type, **fields}))


@asynccontextmanager
async def fake_agent(
    *answers: Answer, greeting: Answer = Answer("Good evening.")
) -> AsyncIterator[FakeAgent]:
    """The agent, listening on a port of its own at ``.url``."""
    agent = FakeAgent(answers, greeting)
    async with serve(
        agent.hold,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol("parley.v1")],
        max_queue=None,  # it doesn't read while it speaks, nor once it has ended the call
    ) as server:
        port = server.sockets[0].getsockname()[1]
        agent.url = f"ws://127.0.0.1:{port}"
        yield agent
