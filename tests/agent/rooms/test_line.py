"""What a caller is told, over a connection that takes nothing."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, cast

import anyio
from livekit.rtc._proto import stats_pb2

from agent import gateway
from agent.metrics import Limit
from agent.rooms import line
from agent.rooms.line import RoomLine
from agent.session import Outcome
from agent.session.line import StateChanged, ToolCalled
from tests.agent.counted import reaching

if TYPE_CHECKING:
    import pytest
    from livekit import rtc


class Room:
    """A connected room whose data channel takes what it is told to take."""

    name = "room"

    def __init__(self, *, deaf_to: str) -> None:
        self.deaf_to = deaf_to
        self.heard: list[dict[str, Any]] = []
        self.local_participant = self

    def isconnected(self) -> bool:
        return True

    async def publish_data(self, data: str, **_: object) -> None:
        message = json.loads(data)
        if message["type"] == self.deaf_to:
            await anyio.sleep_forever()
        self.heard.append(message)


def of(room: Room) -> RoomLine:
    return RoomLine(cast("rtc.Room", room), on_response=lambda _: None)


async def test_what_is_stuck_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that isn't taken is given up, and those behind it are sent."""
    monkeypatch.setattr(line, "SEND_TIMEOUT_SECONDS", 0.01)
    room = Room(deaf_to="tool")
    told = of(room)
    with anyio.fail_after(10), reaching(Limit.UNREAD, times=1):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(told._send, told._messages)
            told.send(ToolCalled("book", "{}", ok=True))
            assert await told.hang_up(Outcome.COMPLETED, 5.0)
            tasks.cancel_scope.cancel()
    assert [each["type"] for each in room.heard] == ["ended"]


async def test_more_messages_than_are_kept() -> None:
    """A connection that takes nothing has so many messages waiting, the newest, and no more."""
    told = of(Room(deaf_to="tool"))
    with reaching(Limit.UNREAD, times=10):
        for number in range(line._MAX_UNSENT_MESSAGES + 10):
            told.send(ToolCalled(f"tool {number}", "{}", ok=True))
    assert len(told._messages._items) == line._MAX_UNSENT_MESSAGES
    await told._source.aclose()


async def test_an_end_that_can_not_be_told() -> None:
    """Hanging up takes its time and no more, and says that the caller doesn't know."""
    room = Room(deaf_to="ended")
    told = of(room)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(told._send, told._messages)
            assert not await told.hang_up(Outcome.COMPLETED, 0.01)
            tasks.cancel_scope.cancel()
    assert not room.heard


async def test_speech_that_is_handed_over_late() -> None:
    """Frames that the track gets all at once are heard one after another."""
    told, audible, heard = of(Room(deaf_to="")), anyio.Event(), list[float]()

    def note(at: float) -> None:
        heard.append(at)
        audible.set()

    told.on_audible(note)
    before = time.time()
    told._say(gateway.AudioStarted())
    for sample in (0, 0, 0, 8000, 8000):
        told._say(sample.to_bytes(2, "little") * (line.SPOKEN_RATE_HZ // 50))
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(told._play)
            await audible.wait()
            tasks.cancel_scope.cancel()
    await told._source.aclose()
    assert len(heard) == 1
    assert heard[0] >= before + line.LEAD_SECONDS + 3 * 0.02 + line.CODEC_SECONDS


async def test_the_network_is_measured_while_the_caller_speaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that an answer is timed by what it was meanwhile; a silent caller costs little."""
    monkeypatch.setattr(line, "MEASURE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(line, "MEASURE_IN_SILENCE_EVERY_SECONDS", 1000.0)

    class Track:
        measured = 0
        speaks = anyio.Event()

        async def get_stats(self) -> list[stats_pb2.RtcStats]:
            self.measured += 1
            if self.measured == 9:
                told.send(StateChanged(agent="thinking", user="listening"))
                self.speaks.set()
            stats = stats_pb2.RtcStats()
            now = stats.inbound_rtp.inbound
            now.jitter_buffer_delay = 0.06 * self.measured
            now.jitter_buffer_emitted_count = self.measured
            return [stats]

    track = Track()
    told = of(Room(deaf_to=""))
    scope = anyio.CancelScope()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(told._measure, cast("rtc.Track", track), scope)
            await anyio.wait_all_tasks_blocked()
            assert track.measured == 1
            assert told.heard_late() == 0.06 + line.CODEC_SECONDS
            told.send(StateChanged(agent="listening", user="speaking"))
            await track.speaks.wait()
            await anyio.wait_all_tasks_blocked()
            assert track.measured == 9
            tasks.cancel_scope.cancel()
    await told._source.aclose()
