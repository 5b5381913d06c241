"""Each stream and source of a process is woken by what is its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from livekit import rtc
from livekit.rtc._ffi_client import FfiClient, FfiQueue
from livekit.rtc._proto import ffi_pb2

from agent.audio import LONG_SILENCE_SECONDS
from agent.rooms import ffi_events
from agent.rooms.ffi_events import AudioSource, _Ear, _RoutingQueue, heard

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = 16_000
FRAMES = 25
SAMPLES = RATE // 50


class Microphone:
    """A source, and its track: as in a room, without one."""

    def __init__(self, loud: int) -> None:
        self.source = AudioSource(RATE, 1, queue_size_ms=200)
        self.track = rtc.LocalAudioTrack.create_audio_track("microphone", self.source)
        self.frame = loud.to_bytes(2, "little") * SAMPLES
        self.heard: Counter[int] = Counter()
        self.enough = anyio.Event()

    async def speak(self) -> None:
        for _ in range(FRAMES):
            await self.source.capture_frame(rtc.AudioFrame(self.frame, RATE, 1, SAMPLES))

    async def listen(self) -> None:
        async with heard(self.track, sample_rate=RATE, frame_ms=20, take=self.take):
            await self.enough.wait()

    def take(self, pcm: bytes, _: float) -> None:
        assert len(pcm) == 2 * SAMPLES
        self.heard[int.from_bytes(pcm[:2], "little", signed=True)] += 1
        if self.heard.total() >= FRAMES:
            self.enough.set()

    async def aclose(self) -> None:
        await self.source.aclose()


STARTED = """
import os
from agent.rooms.ffi_events import start_client

start_client()
print(len(os.listdir("/proc/self/task")), flush=True)
os._exit(0)  # a client that has just started may abort a process that ends at once
"""


def _threads(**asked: str) -> int:
    """The number of threads of a process that has started the client."""
    surroundings = {name: each for name, each in os.environ.items() if name[:5] != "TOKIO"}
    done = subprocess.run(
        [sys.executable, "-c", STARTED],
        capture_output=True,
        text=True,
        env=surroundings | asked,
        timeout=60,
        check=True,
    )
    return int(done.stdout)


def test_the_client_has_one_thread_for_events() -> None:
    """Many cores don't make many threads that wake each other; who asks for more has more."""
    one = _threads()
    assert _threads(TOKIO_WORKER_THREADS="1") == one
    assert _threads(TOKIO_WORKER_THREADS="3") == one + 2


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
    """What has heard a track owns nothing, and subscribes to nothing."""
    before = len(FfiClient.instance.queue._subscribers)
    microphone = Microphone(1000)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(microphone.speak)
        tasks.start_soon(microphone.listen)
    await microphone.aclose()
    routing: Any = FfiClient.instance.queue
    assert len(routing._subscribers) == before
    assert not routing._owners
    assert not routing._early


class End:
    """The end of the one stream that is heard, held back until it is let go."""

    def __init__(self) -> None:
        self.came, self.let_go, self.is_taken = (threading.Event() for _ in range(3))
        owners: Any = FfiClient.instance.queue._owners
        (key,) = (key for key in owners if key[0] == "audio_stream_event")
        self._owner: Callable[[ffi_pb2.FfiEvent], object] = owners[key]
        owners[key] = self._take

    def _take(self, event: ffi_pb2.FfiEvent) -> None:
        is_end = event.audio_stream_event.HasField("eos")
        if is_end:
            self.came.set()
            self.let_go.wait(20)
        try:
            self._owner(event)
        finally:
            if is_end:
                self.is_taken.set()


async def test_one_who_is_cancelled_twice_leaves_nothing_behind() -> None:
    """The second time while it waits for the end of what it heard."""
    routing: Any = ffi_events._routing_queue()
    before = len(routing._owners)
    microphone = Microphone(1000)
    listens = asyncio.create_task(microphone.listen())
    await asyncio.sleep(0)
    end = End()
    listens.cancel()
    assert await asyncio.to_thread(end.came.wait, 20)
    listens.cancel()
    await asyncio.wait([listens])
    assert listens.cancelled()
    end.let_go.set()
    assert await asyncio.to_thread(end.is_taken.wait, 20)
    assert len(routing._owners) == before
    await microphone.aclose()


async def test_what_a_closed_loop_heard_ends() -> None:
    """A call whose loop is gone keeps no audio, and its stream is closed with the next frame."""
    routing: Any = ffi_events._routing_queue()
    before = len(routing._owners)
    microphone = Microphone(1000)

    async def hear() -> _Ear:
        return _Ear(microphone.track, RATE, 20, microphone.take, 1)

    ear = await asyncio.to_thread(asyncio.run, hear())
    end = End()
    end.let_go.set()
    await microphone.speak()
    assert await asyncio.to_thread(end.is_taken.wait, 20)
    assert len(routing._owners) == before
    assert not ear._arrived
    assert not microphone.heard
    await microphone.aclose()


async def test_a_stream_that_does_not_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever heard it doesn't wait for ever, and says so; its end is still taken."""
    monkeypatch.setattr(ffi_events, "_END_TIMEOUT_SECONDS", 0.01)
    routing: Any = ffi_events._routing_queue()
    before = len(routing._owners)
    microphone = Microphone(1000)
    async with heard(microphone.track, sample_rate=RATE, frame_ms=20, take=microphone.take):
        end = End()
    assert "didn't end in time" in caplog.text
    end.let_go.set()
    assert await asyncio.to_thread(end.is_taken.wait, 20)
    assert len(routing._owners) == before
    await microphone.aclose()


async def test_a_frame_that_cannot_be_handed_over() -> None:
    """It is expected no more when the client refuses it, as it does in a forked process."""
    routing: Any = ffi_events._routing_queue()
    before = len(routing._owners)
    microphone, client = Microphone(1000), FfiClient.instance
    process, client._pid = client._pid, 0
    try:
        with pytest.raises(RuntimeError, match="fork"):
            await microphone.speak()
    finally:
        client._pid = process
    assert len(routing._owners) == before
    await microphone.aclose()


async def test_in_a_long_silence_frames_come_together() -> None:
    """Each with the time at which it came; what can be heard waits for nothing."""
    source = AudioSource(RATE, 1, queue_size_ms=200)
    track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
    voice = (8000).to_bytes(2, "little") * SAMPLES
    wakes: list[list[float]] = [[]]
    spoken = anyio.Event()

    def take(pcm: bytes, at: float) -> None:
        if not wakes[-1]:  # the first of those taken together
            asyncio.get_running_loop().call_soon(wakes.append, [])
        wakes[-1].append(at)
        if any(pcm):
            spoken.set()

    silent = round((LONG_SILENCE_SECONDS + 1) * RATE / SAMPLES)
    with anyio.fail_after(20):
        async with heard(track, sample_rate=RATE, frame_ms=20, take=take, together=4):
            for pcm in [bytes(2 * SAMPLES)] * silent + [voice]:
                await source.capture_frame(rtc.AudioFrame(pcm, RATE, 1, SAMPLES))
            await spoken.wait()
    await source.aclose()
    assert max(map(len, wakes)) >= 4
    came = [at for wake in wakes for at in wake]
    assert came == sorted(came)
    assert len(came) >= silent


async def test_audio_that_comes_before_its_owner_is_named() -> None:
    """It is taken first, and once."""
    routing, taken = _RoutingQueue(FfiQueue()), list[int]()

    def audio(stream: int, size: int) -> ffi_pb2.FfiEvent:
        event = ffi_pb2.FfiEvent()
        event.audio_stream_event.stream_handle = stream
        event.audio_stream_event.frame_received.frame.info.samples_per_channel = size
        return event

    def take(event: ffi_pb2.FfiEvent) -> None:
        taken.append(event.audio_stream_event.frame_received.frame.info.samples_per_channel)

    routing.put(audio(7, 1))  # nobody is about to own it
    with routing.early():
        routing.put(audio(7, 2))
        routing.put(audio(8, 3))
        routing.own(("audio_stream_event", 7), take)
        routing.put(audio(7, 4))
    routing.put(audio(7, 5))
    assert taken == [2, 4, 5]
    assert not routing._early


async def test_a_stream_that_ends_before_its_owner_is_named() -> None:
    """Its owner is told, and not named: nothing comes after that."""
    routing, taken = _RoutingQueue(FfiQueue()), list[ffi_pb2.FfiEvent]()
    event = ffi_pb2.FfiEvent()
    event.audio_stream_event.stream_handle = 7
    event.audio_stream_event.eos.SetInParent()
    with routing.early():
        routing.put(event)
        routing.own(("audio_stream_event", 7), taken.append)
    assert taken == [event]
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
