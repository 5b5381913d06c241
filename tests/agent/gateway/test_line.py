"""The queues between a caller and its session."""

from __future__ import annotations

import time

import anyio
import numpy as np
import pytest
from livekit.agents import AgentSession
from livekit.agents.voice import io

from agent.audio import LONG_SILENCE_SECONDS
from agent.gateway.exchange import Exchange
from agent.gateway.line import MAX_UNHEARD_SECONDS, MAX_UNREAD_SECONDS, GatewayLine, Microphone
from agent.gateway.protocol import (
    FRAME_SECONDS,
    Ended,
    Flush,
    Start,
    Started,
    State,
    Tool,
    Words,
    encode,
)
from agent.metrics import Limit
from agent.session import line as session
from tests.agent.counted import reaching


def frame(number: int) -> bytes:
    return number.to_bytes(2, "little") * 320


def window(*frames: bytes, number: int) -> bytes:
    """One of the windows of 32 ms that frames are handed on in, from 0."""
    return b"".join(frames)[number * 1024 : (number + 1) * 1024]


async def heard(microphone: Microphone) -> bytes:
    return b"".join([bytes(frame.data) async for frame in microphone])


async def test_microphone() -> None:
    """Audio comes in frames and is handed on in windows, as soon as each is whole; what came before
    the session listened is among it, and the rest once the call is over."""
    microphone = Microphone(sample_rate=16000)
    sent = [frame(number) for number in range(4)]
    microphone.push(sent[0])
    microphone.on_attached()
    found: list[bytes] = []

    async def listen() -> None:
        async for each in microphone:
            assert (each.sample_rate, each.num_channels) == (16000, 1)
            assert each.samples_per_channel == len(each.data)
            found.append(bytes(each.data))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
        assert found == []
        microphone.push(sent[1])
        await anyio.wait_all_tasks_blocked()
        assert found == [window(*sent, number=0)]
        microphone.push(sent[2])
        await anyio.wait_all_tasks_blocked()
        assert len(found) == 1
        microphone.push(sent[3])
        await anyio.wait_all_tasks_blocked()
        assert found == [window(*sent, number=0), window(*sent, number=1)]
        microphone.close()
    assert b"".join(found) == b"".join(sent)


async def test_voice_taken_late() -> None:
    """Frames that a busy machine takes all at once were spoken one after another."""
    microphone = Microphone(sample_rate=16000)
    microphone.push(frame(10_000))
    for _ in range(25):
        microphone.push(frame(0))
    voiced_until = microphone.voiced_until()
    assert voiced_until is not None
    assert voiced_until <= time.time() - 25 * FRAME_SECONDS


async def test_long_silence() -> None:
    """Windows are handed on eight at a time; what can be heard at once, and the silence before it
    with it."""
    microphone = Microphone(sample_rate=16000)
    for _ in range(round((LONG_SILENCE_SECONDS + 1) / FRAME_SECONDS)):
        microphone.push(frame(0))
    found: list[bytes] = []

    async def listen() -> None:
        async for each in microphone:
            pcm = bytes(each.data)
            found.append(pcm)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
        assert {len(each) for each in found} == {8 * 1024}
        begun = len(found)
        for _ in range(4):
            microphone.push(frame(0))
            await anyio.wait_all_tasks_blocked()
        assert len(found) <= begun + 1
        microphone.push(frame(8000))
        await anyio.wait_all_tasks_blocked()
        microphone.push(frame(8000))
        await anyio.wait_all_tasks_blocked()
        assert any(8000 in np.frombuffer(each, "<i2") for each in found)
        begun = len(found)
        for _ in range(8):  # five windows
            microphone.push(frame(0))
            await anyio.wait_all_tasks_blocked()
        assert len(found) >= begun + 4
        microphone.close()


@pytest.mark.parametrize("size", [640, 1024, 1600])
def test_pieces_of_any_length(size: int) -> None:
    """When the caller was last heard doesn't depend on the pieces that the audio comes in."""
    microphone = Microphone(sample_rate=16000, gathers=False)
    silence, voice = bytes(2 * 16000 * 7), frame(8000) * 10
    audio = silence + voice + bytes(2 * 16000 // 2)
    for at in range(0, len(audio), size):
        piece = audio[at : at + size]
        microphone.push(piece, 1000.0 + (at + len(piece)) / 32000)
    found = microphone.voiced_until()
    assert found == pytest.approx(1000.0 + len(silence + voice) / 32000)


async def test_slow_session() -> None:
    """A session that doesn't take its audio loses the oldest, and the loss is counted."""
    microphone = Microphone(sample_rate=16000)
    kept = round(MAX_UNHEARD_SECONDS / FRAME_SECONDS)
    with reaching(Limit.UNHEARD, times=7):
        for number in range(kept + 7):
            microphone.push(frame(number))
    microphone.close()
    assert microphone.dropped == 7
    assert await heard(microphone) == b"".join(frame(number) for number in range(7, kept + 7))


async def test_not_listening() -> None:
    """What is said while the session has detached is not kept for later, nor counted as lost."""
    microphone = Microphone(sample_rate=16000)
    microphone.push(frame(1))
    microphone.push(frame(1))
    await anext(microphone)
    microphone.on_detached()
    microphone.push(frame(2))
    microphone.on_attached()
    microphone.push(frame(3))
    microphone.close()
    assert await heard(microphone) == frame(3)
    assert microphone.dropped == 0


async def test_said_before_a_recorder_is_put_between() -> None:
    """A session that is still starting hears it, though LiveKit has detached the microphone from it
    and attached the recorder's."""
    microphone, session = Microphone(sample_rate=16000), AgentSession[None](vad=None)
    session.input.audio = microphone
    microphone.push(frame(1))
    session.input.audio = io.AudioInput(label="recorder", source=microphone)
    microphone.push(frame(2))
    microphone.close()
    assert await heard(microphone) == frame(1) + frame(2)


def opened() -> tuple[Exchange, GatewayLine]:
    exchange = Exchange()
    exchange.from_caller(encode(Start(sample_rate=16000)))
    return exchange, GatewayLine(exchange)


STARTED = Started(id="c-1", trace_id="0" * 32, sample_rate=16000)


async def test_events() -> None:
    """A session's events are told in order, between ``started`` and ``ended`` only."""
    _, line = opened()
    with line:
        line.send(session.Words("user", "too early", final=True))
        line.say(STARTED)
        line.send(session.StateChanged(agent="thinking", user="listening"))
        line.send(session.Words("user", "a table for two", final=False))
        line.send(session.ToolCalled("book", '{"half": "\ud83d"}', ok=False))
        line.hang_up(session.Outcome.COMPLETED)
        line.send(session.Words("agent", "too late", final=True))
        assert await _written(line) == [
            encode(STARTED),
            encode(State(agent="thinking", user="listening")),
            encode(Words(speaker="user", text="a table for two", final=False)),
            encode(Tool(name="book", arguments='{"half": "?"}', ok=False)),
            encode(Ended(outcome=session.Outcome.COMPLETED)),
        ]


async def test_slow_reader() -> None:
    """When nobody reads, the line says so once, and takes no more; the session never waits."""
    _, line = opened()
    overflows: list[None] = []
    line.on_overflow = lambda: overflows.append(None)
    with line:
        line.say(STARTED)
        for _ in range(2 * round(MAX_UNREAD_SECONDS / FRAME_SECONDS)):
            line.say(Flush())
        assert len(overflows) == 1
        line.hang_up(session.Outcome.REFUSED)
        assert len(await _written(line)) == round(MAX_UNREAD_SECONDS / FRAME_SECONDS)


async def _written(line: GatewayLine) -> list[str | bytes]:
    """All that a line that is closed has for its caller."""
    return [message async for messages in line.outgoing for message in messages]


async def test_a_response_is_timed() -> None:
    """From the caller's last audible sample to the agent's first, once for each answer; speech that
    answers nobody is none."""
    exchange, told, heard = Exchange(), list[float](), list[float]()
    exchange.from_caller(encode(Start(sample_rate=16000)))
    with GatewayLine(exchange, on_response=told.append) as line:
        line.on_audible(heard.append)
        audible = line.playout.on_audible
        assert audible is not None
        audible(1.0)
        line.microphone.push(frame(0))
        line.microphone.push(b"\x00\x40" * 320)
        spoke = line.voiced_until()
        assert spoke is not None
        audible(spoke + 1.5)
        audible(spoke + 9.0)
    assert told == [pytest.approx(1.5)]
    assert heard == [1.0, spoke + 1.5, spoke + 9.0]
