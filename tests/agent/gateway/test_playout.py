"""The agent's speech in real time, on a clock of our own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import numpy as np
import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession

from agent.gateway.playout import MAX_CATCH_UP_SECONDS, Playout
from agent.gateway.protocol import AudioEnded, AudioStarted, Flush, GatewayMessage

from . import virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from livekit.agents.voice import io

    from .virtual_time import VirtualTime

RATE = 16000


def speech(
    seconds: float, *, rate: int = RATE, channels: int = 1, level: int = 9000
) -> rtc.AudioFrame:
    samples = round(seconds * rate)
    pcm = np.full(samples * channels, level, dtype="<i2").tobytes()
    return rtc.AudioFrame(pcm, rate, channels, samples)


class Heard:
    """What a caller received, and when; what the playout reported."""

    def __init__(self, loop: VirtualTime, together: int, ahead: float) -> None:
        self.loop = loop
        self.messages: list[tuple[float, GatewayMessage]] = []
        self.playout = Playout(
            self._receive, sample_rate=RATE, together=together, ahead=ahead, now=loop.time
        )
        self.started: list[float] = []
        self.finished: list[tuple[float, bool]] = []
        self.audible: list[float] = []
        self.playout.on_audible = self.audible.append
        self.playout.on("playback_started", self._on_started)
        self.playout.on("playback_finished", self._on_finished)

    def _receive(self, message: GatewayMessage) -> None:
        self.messages.append((round(self.loop.time(), 6), message))

    def _on_started(self, event: io.PlaybackStartedEvent) -> None:
        self.started.append(round(event.created_at, 6))

    def _on_finished(self, event: io.PlaybackFinishedEvent) -> None:
        self.finished.append((round(event.playback_position, 6), event.interrupted))

    @property
    def frames(self) -> list[float]:
        """When each frame came."""
        return [at for at, message in self.messages if isinstance(message, bytes)]

    @property
    def events(self) -> list[tuple[float, GatewayMessage]]:
        """What came beside the frames."""
        return [(at, message) for at, message in self.messages if not isinstance(message, bytes)]


@asynccontextmanager
async def playing(loop: VirtualTime, together: int = 1, ahead: float = 0.0) -> AsyncIterator[Heard]:
    heard = Heard(loop, together, ahead)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heard.playout.run)
        yield heard
        tasks.cancel_scope.cancel()


def test_pacing() -> None:
    """Audio captured at once leaves in frames, one each 20 ms, the last filled with silence."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop) as heard:
            await heard.playout.capture_frame(speech(0.05))
            heard.playout.flush()
            await heard.playout.wait_for_playout()
            assert heard.frames == [0.0, 0.02, 0.04]
            assert heard.events == [(0.0, AudioStarted()), (0.06, AudioEnded(interrupted=False))]
            assert heard.messages[-2][1] == speech(0.01).data.tobytes() + bytes(320)
            assert heard.started == [0.0]
            assert heard.finished == [(0.05, False)]

    virtual_time.run(main)


def test_pairs() -> None:
    """Frames sent two at a time come early, never late; a speech ends, and is audible, as it would
    be one by one."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop, together=2) as heard:
            for level in (300, 9000):  # the first 20 ms can't be heard
                await heard.playout.capture_frame(speech(0.02, level=level))
            await heard.playout.capture_frame(speech(0.06))
            heard.playout.flush()
            await heard.playout.wait_for_playout()
            assert heard.frames == [0.0, 0.0, 0.04, 0.04, 0.08]
            assert heard.audible == [0.02]
            assert heard.events[-1] == (0.1, AudioEnded(interrupted=False))
            assert heard.finished == [(0.1, False)]

    virtual_time.run(main)


def test_pairs_are_of_one_speech() -> None:
    """The first frame of a speech isn't sent before its time; nor is one that isn't there yet."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop, together=2) as heard:
            await heard.playout.capture_frame(speech(0.06))
            heard.playout.flush()
            await heard.playout.capture_frame(speech(0.03))
            await anyio.sleep(1.0)
            await heard.playout.capture_frame(speech(0.03))
            heard.playout.flush()
            await heard.playout.wait_for_playout()
            assert heard.frames == [0.0, 0.0, 0.04, 0.06, 1.0, 1.0]
            assert heard.started == [0.0, 0.06]

    virtual_time.run(main)


def test_cutting_and_pausing_a_pair() -> None:
    """What was sent early and isn't due is not taken for played."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop, together=2) as heard:
            await heard.playout.capture_frame(speech(1.0))
            heard.playout.flush()
            await anyio.sleep(0.05)
            heard.playout.pause()
            await anyio.sleep(1.0)
            heard.playout.resume()
            await anyio.sleep(0.01)
            heard.playout.clear_buffer()
            assert heard.frames == pytest.approx([0.0, 0.0, 0.04, 0.04, 1.05, 1.05])
            assert heard.finished == [(0.09, True)]

    virtual_time.run(main)


def test_ahead() -> None:
    """Within a speech frames come before the caller has played those before them; a speech begins,
    and ends, in its time."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop, together=2, ahead=0.02) as heard:
            await heard.playout.capture_frame(speech(0.1))
            heard.playout.flush()
            await heard.playout.capture_frame(speech(0.02))
            heard.playout.flush()
            await heard.playout.wait_for_playout()
            assert heard.frames == [0.0, 0.0, 0.02, 0.02, 0.06, 0.1]
            assert heard.audible == [0.0, 0.1]
            assert [at for at, _ in heard.events] == [0.0, 0.1, 0.1, 0.12]
            assert heard.finished == [(0.1, False), (0.02, False)]

    virtual_time.run(main)


def test_what_is_cut_is_not_waited_for() -> None:
    """The speech after one that was cut begins at once: what was sent ahead of that one is thrown
    away, and not counted as played."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop, together=5, ahead=0.04) as heard:
            await heard.playout.capture_frame(speech(1.0))
            heard.playout.flush()
            await anyio.sleep(0.07)
            heard.playout.clear_buffer()
            await anyio.sleep(0.08)
            await heard.playout.capture_frame(speech(0.02))
            heard.playout.flush()
            await heard.playout.wait_for_playout()
            assert heard.frames == [0.0] * 5 + [0.06] * 5 + [0.15]
            assert heard.finished == [(0.07, True), (0.02, False)]

    virtual_time.run(main)


def test_segments_follow_each_other() -> None:
    """Speeches captured ahead play in order, without a gap, each with its own start and end."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop) as heard:
            for _ in range(2):
                await heard.playout.capture_frame(speech(0.04))
                heard.playout.flush()
            await heard.playout.wait_for_playout()
            assert heard.frames == [0.0, 0.02, 0.04, 0.06]
            assert heard.started == [0.0, 0.04]
            assert heard.finished == [(0.04, False), (0.04, False)]

    virtual_time.run(main)


def test_catching_up_after_a_stall() -> None:
    """After the loop stood still, little is sent at once, and then the pace is the old one."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop) as heard:
            await heard.playout.capture_frame(speech(1.0))
            heard.playout.flush()
            loop.call_at(0.1, loop.stall, 0.5)
            await heard.playout.wait_for_playout()
            at_once = [at for at in heard.frames if at == 0.6]
            assert len(at_once) <= MAX_CATCH_UP_SECONDS / 0.02 + 1
            gaps = np.diff([at for at in heard.frames if at >= 0.6][len(at_once) :])
            assert gaps == pytest.approx(0.02)
            assert len(heard.frames) == 50

    virtual_time.run(main)


def test_synthesis_slower_than_speech() -> None:
    """When audio comes late, its frames are late, and none is sent early to make up for it."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop) as heard:
            await heard.playout.capture_frame(speech(0.03))
            await anyio.sleep(1.0)
            await heard.playout.capture_frame(speech(0.03))
            heard.playout.flush()
            await heard.playout.wait_for_playout()
            assert heard.frames == [0.0, 1.0, 1.02]
            assert heard.finished == [(0.06, False)]

    virtual_time.run(main)


def test_clearing() -> None:
    """Barge-in stops the frames, tells the caller to drop what it has, and says how much played."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop) as heard:
            await heard.playout.capture_frame(speech(1.0))
            heard.playout.flush()
            await anyio.sleep(0.05)
            heard.playout.clear_buffer()
            await anyio.sleep(1.0)
            assert heard.frames == [0.0, 0.02, 0.04]
            assert heard.events[1:] == [(0.05, Flush()), (0.05, AudioEnded(interrupted=True))]
            assert heard.finished == [(0.05, True)]

    virtual_time.run(main)


def test_clearing_what_is_still_being_made() -> None:
    """The rest of a speech cut short is discarded; the next speech plays."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop) as heard:
            await heard.playout.capture_frame(speech(1.0))
            await anyio.sleep(0.05)
            heard.playout.clear_buffer()
            await heard.playout.capture_frame(speech(1.0))
            heard.playout.flush()
            assert heard.finished == [(0.05, True)]
            await heard.playout.capture_frame(speech(0.02))
            heard.playout.flush()
            await heard.playout.wait_for_playout()
            assert heard.finished == [(0.05, True), (0.02, False)]
            assert heard.playout.captured_playout_segments == 2

    virtual_time.run(main)


def test_clearing_before_the_first_frame() -> None:
    """A speech nobody heard ends with nothing played, and the caller never learns of it."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop) as heard:
            heard.playout.pause()
            await heard.playout.capture_frame(speech(1.0))
            heard.playout.clear_buffer()
            heard.playout.flush()
            assert heard.finished == [(0.0, True)]
            assert heard.messages == []

    virtual_time.run(main)


def test_pausing() -> None:
    """A pause holds the frames; what follows it is the rest of the same speech."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop) as heard:
            await heard.playout.capture_frame(speech(0.08))
            heard.playout.flush()
            await anyio.sleep(0.03)
            heard.playout.pause()
            await anyio.sleep(1.0)
            heard.playout.resume()
            await heard.playout.wait_for_playout()
            assert heard.frames == pytest.approx([0.0, 0.02, 1.03, 1.05])
            assert heard.started == [0.0]
            assert heard.finished == [(0.08, False)]

    virtual_time.run(main)


def test_back_pressure() -> None:
    """Who makes audio faster than it is played is held until there is room again."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop) as heard:
            for _ in range(20):
                await heard.playout.capture_frame(speech(1.0))
                assert heard.playout.buffered <= 10.0
            assert loop.time() == pytest.approx(10.0, abs=0.05)

    virtual_time.run(main)


def test_first_audible_sample() -> None:
    """Each speech reports its first audible sample: once, past its silence, to the sample."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop) as heard:
            for level in (400, -400):
                await heard.playout.capture_frame(speech(0.05, level=300))
                await heard.playout.capture_frame(speech(0.05, level=level))
                heard.playout.flush()
            await heard.playout.wait_for_playout()
            assert heard.audible == pytest.approx([0.05, 0.15])

    virtual_time.run(main)


def test_other_formats() -> None:
    """Audio at another rate, in stereo, is converted to the call's; its length stays."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop) as heard:
            for _ in range(10):
                await heard.playout.capture_frame(speech(0.1, rate=22050, channels=2))
            heard.playout.flush()
            await heard.playout.wait_for_playout()
            ((position, interrupted),) = heard.finished
            assert position == pytest.approx(1.0, abs=0.01)
            assert not interrupted

    virtual_time.run(main)


def test_with_an_agent_session() -> None:
    """LiveKit's AgentSession plays through it, interrupts it, and learns how far it got."""

    async def audio() -> AsyncIterator[rtc.AudioFrame]:
        for _ in range(20):
            yield speech(0.1)

    async def main(loop: VirtualTime) -> None:
        async with playing(loop) as heard:
            session: AgentSession[None] = AgentSession()
            session.output.audio = heard.playout
            await session.start(Agent(instructions=""))
            spoken = session.say("two seconds of it", audio=audio())
            await spoken.wait_for_playout()
            assert heard.finished == [(2.0, False)]
            cut = session.say("cut short", audio=audio())
            await anyio.sleep(0.5)
            await cut.interrupt()
            ((position, interrupted),) = heard.finished[1:]
            assert interrupted
            assert 0.4 < position <= 0.5
            await session.aclose()

    virtual_time.run(main)


def test_what_was_heard_when() -> None:
    """For a recorder: each stretch of a speech between pauses, told before the speech's end."""

    async def main(loop: VirtualTime) -> None:
        async with playing(loop) as heard:
            told: list[tuple[float, float, float]] = []
            ended_after: list[int] = []
            heard.playout.on(
                "playback_progressed",
                lambda event: told.append(
                    (round(event.started_at, 6), round(event.offset, 6), round(event.duration, 6))
                ),
            )
            heard.playout.on("playback_finished", lambda _: ended_after.append(len(told)))
            await heard.playout.capture_frame(speech(0.1))
            heard.playout.flush()
            await anyio.sleep(0.05)
            heard.playout.pause()
            await anyio.sleep(0.05)
            heard.playout.resume()
            await heard.playout.wait_for_playout()
            assert heard.frames == [0.0, 0.02, 0.04, 0.1, 0.12]
            assert told == [(0.0, 0.0, 0.06), (0.1, 0.06, 0.04)]
            await heard.playout.capture_frame(speech(1.0))
            await anyio.sleep(0.05)
            heard.playout.clear_buffer()
            assert told[2:] == [(0.14, 0.0, 0.05)]
            assert ended_after == [2, 3]

    virtual_time.run(main)


def test_heard_later_than_it_is_sent() -> None:
    """Where a frame takes a known time to the caller, that is when it was heard."""

    async def main(loop: VirtualTime) -> None:
        async with anyio.create_task_group() as tasks:
            playout = Playout(
                lambda _: None, sample_rate=RATE, heard_after=0.066, now=lambda: loop.time() + 5
            )
            told: list[float] = []
            playout.on("playback_progressed", lambda event: told.append(event.started_at))
            tasks.start_soon(playout.run)
            await playout.capture_frame(speech(0.1))
            playout.flush()
            await playout.wait_for_playout()
            assert told == pytest.approx([5.066])
            tasks.cancel_scope.cancel()

    virtual_time.run(main)
