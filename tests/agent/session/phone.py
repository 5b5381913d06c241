"""A caller with a real connection to a real worker, who speaks, listens and keeps the times."""

from __future__ import annotations

import functools
import time
import wave
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from agent import desk, gateway, providers
from agent.audio import audible
from agent.session import Record
from agent.simulator.audio import read_speech
from agent.simulator.sentence import Sentence
from agent.worker import worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from agent.session import OpenSession


RATE: Final = 16_000
FRAME: Final = 640
SCENARIOS: Final = Path(__file__).parents[3] / "config" / "scenarios"
AUDIO: Final = SCENARIOS / "audio"
PAUSES: Final = SCENARIOS / "pauses" / "audio"


def recording(name: str) -> bytes:
    """The caller's speech of a shipped scenario: mono PCM16 at 16 kHz."""
    with wave.open(str(AUDIO / f"{name}.wav")) as file:
        return bytes(file.readframes(file.getnframes()))


def pause_within(one: str, seconds: float, other: str) -> bytes:
    """A sentence of the shipped ones with a pause, as it is said."""
    pieces = tuple(read_speech(PAUSES / f"{name}.wav") for name in (one, other))
    return Sentence(pieces, (round(1000 * seconds),)).pcm


@dataclass
class Phone:
    """A call: what arrived, with the times at the caller (Unix seconds)."""

    call: gateway.Call
    arrived: list[tuple[float, object]] = field(default_factory=list)
    voiced: list[float] = field(default_factory=list)
    """When the first voiced sample of each utterance was sent."""
    _saying: Iterator[bytes] = field(default_factory=lambda: iter(()))
    _began: bool = True
    _seen: int = 0
    """Messages that were looked at."""
    _changed: anyio.Event = field(default_factory=anyio.Event)

    def say(self, pcm: bytes) -> None:
        """Speak, from the next frame on."""
        frames = [pcm[at : at + FRAME].ljust(FRAME, b"\0") for at in range(0, len(pcm), FRAME)]
        self._saying = iter(frames)
        self._began = False

    async def until(self, wanted: Callable[[Any], bool], *, within: float = 30) -> Any:
        """The next message like this after the one waited for before."""
        with anyio.fail_after(within):
            while True:
                while self._seen < len(self.arrived):
                    _, message = self.arrived[self._seen]
                    self._seen += 1
                    if wanted(message):
                        return message
                self._changed = anyio.Event()
                await self._changed.wait()

    async def sounds(self) -> None:
        """Wait until the agent can be heard."""
        await self.until(lambda m: isinstance(m, bytes) and bool(audible(m).size))

    async def said(self, text: str, *, within: float = 30) -> str:
        """Wait until the agent is told to have said this."""
        words = await self.until(
            lambda m: isinstance(m, gateway.Words) and m.speaker == "agent" and text in m.text,
            within=within,
        )
        return str(words.text)

    async def listening(self) -> None:
        """Wait until the agent has nothing more to say."""
        await self.until(lambda m: isinstance(m, gateway.State) and m.agent == "listening")

    async def ended(self, *, within: float = 30) -> str:
        """Wait for the end of the call; the outcome."""
        ended = await self.until(lambda m: isinstance(m, gateway.Ended), within=within)
        return str(ended.outcome.value)

    def agent_words(self) -> list[str]:
        """All the agent is told to have said."""
        return [
            m.text for _, m in self.arrived if isinstance(m, gateway.Words) and m.speaker == "agent"
        ]

    def audible_after(self, moment: float) -> float | None:
        """When the agent was last heard after a moment, up to its first pause of 0.3 s."""
        last = None
        for at, message in self.arrived:
            if at < moment or not isinstance(message, bytes) or not audible(message).size:
                continue
            if at - (last or moment) > 0.3:
                break
            last = at
        return last

    async def _listen(self) -> None:
        async for message in self.call:
            self.arrived.append((time.time(), message))
            self._changed.set()

    async def _speak(self) -> None:
        start, count = anyio.current_time(), 0
        while True:
            await anyio.sleep_until(start + count * 0.02)
            count += 1
            frame = next(self._saying, None) or bytes(FRAME)
            if not self._began and (loud := audible(frame)).size:
                self._began = True
                self.voiced.append(time.time() - 0.02 + int(loud[0]) / RATE)
            try:
                await self.call.send_audio(frame)
            except gateway.GatewayError:
                return


@asynccontextmanager
async def phone(url: str) -> AsyncIterator[Phone]:
    """Call; the line is open, with silence on it, until the end of the block."""
    async with (
        gateway.connect(url, start=gateway.Start(sample_rate=RATE)) as call,
        anyio.create_task_group() as tasks,
    ):
        caller = Phone(call)
        tasks.start_soon(caller._listen)
        tasks.start_soon(caller._speak)
        yield caller
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def desk_worker(
    db: Path,
    *,
    agent: str = "agent.desk:FrontDesk",
    silence: float = 8.0,
    record: Record = Record.OFF,
) -> AsyncIterator[OpenSession]:
    """A worker with real models, and the service, with its faults."""
    async with anyio.create_task_group() as services:
        service = await services.start(
            functools.partial(desk.serve, db, port=0, faults=desk.Faults())
        )
        environ = {"PARLEY_RESERVATIONS_URL": service}
        async with worker(
            providers.Choice(), agent=agent, environ=environ, silence=silence, record=record
        ) as open_session:
            yield open_session
        services.cancel_scope.cancel()


@asynccontextmanager
async def serving(open_session: OpenSession, **options: Any) -> AsyncIterator[str]:
    """A gateway on a free port: its URL."""
    async with anyio.create_task_group() as tasks:
        yield await tasks.start(functools.partial(gateway.serve, open_session, port=0, **options))
        tasks.cancel_scope.cancel()
