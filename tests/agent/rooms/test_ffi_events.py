"""Each stream and source of a process is woken by what is its own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
from livekit import rtc
from livekit.rtc._ffi_client import FfiClient, FfiQueue
from livekit.rtc._proto import ffi_pb2

from agent.rooms.ffi_events import AudioSource, _RoutingQueue, own_frames_only

RATE = 16_000
FRAMES = 25
SAMPLES = RATE // 50


class Microphone:
    """A source, its track, and a stream of that track: as in a room, without one."""

    def __init__(self, loud: int) -> None:
        self.source = AudioSource(RATE, 1, queue_size_ms=200)
        self.track = rtc.LocalAudioTrack.create_audio_track("microphone", self.source)
        self.stream = own_frames_only(
            rtc.AudioStream.from_track(
                track=self.track, sample_rate=RATE, num_channels=1, frame_size_ms=20
            )
        )
        self.frame = loud.to_bytes(2, "little") * SAMPLES
        self.heard: Counter[int] = Counter()

    async def speak(self) -> None:
        for _ in range(FRAMES):
            await self.source.capture_frame(rtc.AudioFrame(self.frame, RATE, 1, SAMPLES))

    async def listen(self) -> None:
        async for event in self.stream:
            self.heard[event.frame.data[0]] += 1
            if self.heard.total() >= FRAMES:
                return

    async def aclose(self) -> None:
        await self.stream.aclose()
        await self.source.aclose()


async def test_each_stream_hears_its_own_source() -> None:
    """Two that speak at once are not heard by each other, nor by who waits for something else."""
    microphones = Microphone(1000), Microphone(2000)
    bystander = FfiClient.instance.queue.subscribe()
    try:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for each in microphones:
                    tasks.start_soon(each.speak)
                    tasks.start_soon(each.listen)
        for each, other in (microphones, microphones[::-1]):
            assert each.heard.total() >= FRAMES
            assert not set(each.heard) & set(other.heard) - {0}
        assert bystander.empty()
    finally:
        FfiClient.instance.queue.unsubscribe(bystander)
        for each in microphones:
            await each.aclose()


async def test_nothing_stays_behind() -> None:
    """A stream that is closed owns nothing, and subscribes to nothing."""
    before = len(FfiClient.instance.queue._subscribers)
    microphone = Microphone(1000)
    await microphone.speak()
    await microphone.aclose()
    routing: Any = FfiClient.instance.queue
    assert len(routing._subscribers) == before
    assert not routing._owners


async def test_an_event_that_comes_while_its_owner_is_named() -> None:
    """An event is lost to nobody when its owner is named between the look-up and the hand-out."""
    routing = _RoutingQueue(FfiQueue())
    queue = routing.subscribe()

    class Owners(dict[Any, Any]):
        """Names the owner right after the first look-up has missed: a client's thread, outrun."""

        def get(self, key: Any, default: Any = None) -> Any:
            found = super().get(key, default)
            if not self:
                routing.assign(key, queue)
            return found

    routing._owners = Owners()
    event = ffi_pb2.FfiEvent()
    event.room_event.room_handle = 7
    routing.put(event)
    with anyio.fail_after(5):
        assert await queue.get() == event
    assert queue.empty()


def test_both_queues_have_one_lock() -> None:
    """Who still holds the queue that was replaced shares its subscribers, and their lock."""
    before: FfiQueue[ffi_pb2.FfiEvent] = FfiQueue()
    assert _RoutingQueue(before)._lock is before._lock
