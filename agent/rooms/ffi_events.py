"""Events of LiveKit's native client, each handed to its owner only: rooms share a process.

livekit 1.1 hands every event to every subscriber, on that subscriber's event loop: with a thread
for each call, one caller's frame wakes all the threads, and whoever waits for an answer is handed
all frames meanwhile. The cost grows with the square of the rooms: when ten spoke at once, answers
took seconds, which made more of them wait, and none came any more. Here a frame goes to its own
stream, a room's event to that room, and a source's "taken" to whoever waits for it.

A track's audio takes a shorter way than livekit's ``AudioStream``, which has two queues, a task and
three copies on the loop: it is copied once, in the client's thread, which wakes the loop when there
is something to be heard.

That takes private parts of livekit, and they are only used in this module. They belong to the
version that ``pyproject.toml`` asks for: a test fails when they change.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import itertools
import logging
import os
import threading
import time
from collections import deque
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import anyio
from livekit import rtc
from livekit.rtc._ffi_client import FfiClient, FfiHandle, FfiQueue
from livekit.rtc._proto import audio_frame_pb2, ffi_pb2

from agent.audio import Silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from livekit.rtc._proto.ffi_pb2 import FfiEvent

    Key = tuple[str, int]
    """The kind of an event, and the number of what it is about."""
    _Owner = Callable[[FfiEvent], object]
    """It is called by the client's threads."""

log = logging.getLogger(__name__)

_END_TIMEOUT_SECONDS: Final = 5.0
"""Time that the native client has to say that a stream has ended, once it was told to end it."""
_numbers: Final = itertools.count(1 << 62)
"""Numbers of the requests made here: far from livekit's own."""
_installing: Final = threading.Lock()
_THREADS_VARIABLE: Final = "TOKIO_WORKER_THREADS"
"""Environment variable with the number of threads in which the native client does what isn't
WebRTC's own, signalling and handing out audio (https://docs.rs/tokio/latest/tokio/runtime)."""


def start_client() -> None:
    """Start the native client, with one thread for events unless the environment says otherwise.

    By default it has one for each core. They take turns with tasks of some microseconds, and each
    turn wakes one that sleeps: an eighth of the CPU of a silent room.

    To be called once, before a job: two whose threads start the client at the same time start two,
    and wait for callbacks that the other gets. Then LiveKit ends the process.
    """
    os.environ.setdefault(_THREADS_VARIABLE, "1")
    rtc.AudioResampler(16_000, 24_000)  # the first object does it


@asynccontextmanager
async def heard(
    track: rtc.Track,
    *,
    sample_rate: int,
    frame_ms: int,
    take: Callable[[bytes, float], None],
    together: int = 1,
) -> AsyncIterator[anyio.Event]:
    """Have a track's audio taken inside the block, on this loop: mono PCM16 at ``sample_rate`` Hz,
    ``frame_ms`` milliseconds at a time, and the Unix time at which each came. In a long silence so
    many of them are taken ``together``. The event is set when the track has ended."""
    ear = _Ear(track, sample_rate, frame_ms, take, together)
    try:
        yield ear.ended
    finally:
        with anyio.CancelScope(shield=True):
            await ear.aclose()


class _Ear:
    """What hears a track. The native client's threads hand it each frame, and the loop is woken if
    there is something to be heard, or when enough has come."""

    def __init__(
        self,
        track: rtc.Track,
        sample_rate: int,
        frame_ms: int,
        take: Callable[[bytes, float], None],
        together: int,
    ) -> None:
        self.ended = anyio.Event()
        self._take = take
        self._together = together
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        self._silence = Silence(sample_rate)
        self._arrived: deque[tuple[bytes, float]] = deque()
        """Frames that the loop is yet to take."""
        self._routing = _routing_queue()
        with self._routing.early() as queue:
            given = FfiClient.instance.request(_asked(track, sample_rate, frame_ms))
            self._handle = FfiHandle(given.new_audio_stream.stream.handle.id)
            self._key = "audio_stream_event", self._handle.handle
            queue.own(self._key, self._hear)

    async def aclose(self) -> None:
        """Hear nothing any more; returns when nothing of it is on its way."""
        self._is_open = False
        self._handle.dispose()
        with anyio.move_on_after(_END_TIMEOUT_SECONDS) as waiting:
            await self.ended.wait()
        if waiting.cancelled_caught:
            log.warning("rooms: a track that is heard no more didn't end in time")

    def _hear(self, event: FfiEvent) -> None:
        """Take note of a frame, in whichever thread it comes."""
        said = event.audio_stream_event
        if said.HasField("eos"):
            # here and not by who closes it: that may be cancelled once more as it waits, and the
            # frames before this one need somebody who disposes of them
            self._routing.disown(self._key)
            self._wake(self._end)
            return
        frame = said.frame_received.frame
        if not self._is_open:
            FfiHandle(frame.handle.id).dispose()
            return
        pcm = ctypes.string_at(frame.info.data_ptr, 2 * frame.info.samples_per_channel)
        FfiHandle(frame.handle.id).dispose()
        self._arrived.append((pcm, time.time()))
        self._silence.hear(pcm)
        if not self._silence.is_long or len(self._arrived) >= self._together:
            self._wake(self._take_all)

    def _wake(self, function: Callable[[], None]) -> None:
        """Have this called on the loop. One that is closed has left its track: that is ended here,
        and its end comes as any other's."""
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            self._is_open = False
            self._arrived.clear()
            self._handle.dispose()

    def _take_all(self) -> None:
        while self._arrived:
            pcm, at = self._arrived.popleft()
            if self._is_open:
                self._take(pcm, at)

    def _end(self) -> None:
        self._take_all()
        self.ended.set()


def _asked(track: rtc.Track, sample_rate: int, frame_ms: int) -> ffi_pb2.FfiRequest:
    request = ffi_pb2.FfiRequest()
    asked = request.new_audio_stream
    asked.track_handle = track._ffi_handle.handle
    asked.type = audio_frame_pb2.AudioStreamType.AUDIO_STREAM_NATIVE
    asked.sample_rate, asked.num_channels = sample_rate, 1
    asked.frame_size_ms = frame_ms
    asked.queue_size_frames = 0
    return request


def own_events_only(room: rtc.Room) -> None:
    """Have a room that is connected woken by its own events."""
    assert room._ffi_handle is not None
    _routing_queue().assign(("room_event", room._ffi_handle.handle), room._ffi_queue)


class AudioSource(rtc.AudioSource):
    """A source that is woken by nobody else's frames while it waits for one to be taken."""

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """See :meth:`livekit.rtc.AudioSource.capture_frame`; nothing waits for the playing."""
        if self._ffi_handle.disposed:
            return
        taken: asyncio.Future[FfiEvent] = self._loop.create_future()
        request = ffi_pb2.FfiRequest()
        asked = request.capture_audio_frame
        asked.source_handle = self._ffi_handle.handle
        asked.request_async_id = next(_numbers)
        asked.buffer.CopyFrom(frame._proto_info())

        def note(event: FfiEvent, _: rtc.AudioFrame = frame) -> None:
            # the frame's memory must stay until then, even if nobody waits any more
            if not taken.done():
                taken.set_result(event)

        queue, key = _routing_queue(), ("capture_audio_frame", asked.request_async_id)
        queue.expect(key, self._loop, note)
        try:
            FfiClient.instance.request(request)
        except BaseException:
            queue.disown(key)  # what wasn't asked for never comes
            raise
        if error := (await taken).capture_audio_frame.error:
            raise RuntimeError(error)


class _RoutingQueue(FfiQueue["FfiEvent"]):
    """The client's queue of events, which hands an event that has an owner to its owner alone.

    It is called by the client's own threads. An owner that is found is handed its event without the
    lock; that an event has no owner is certain only with it.
    """

    def __init__(self, before: FfiQueue[FfiEvent]) -> None:
        super().__init__()
        self._subscribers, self._lock = before._subscribers, before._lock
        self._owners: dict[Key, _Owner] = {}
        self._naming = 0
        """Number of streams that are made just now, whose owners are yet to be named."""
        self._early: list[FfiEvent] = []
        """Audio without an owner that has come meanwhile."""
        self._keys: dict[int, Key] = {}
        """The keys of the queues that own events, by their ids."""

    def put(self, item: FfiEvent) -> None:
        """Hand an event to its owner; to all subscribers if it has none."""
        owner = self._owner(item)
        if owner is None:
            with self._lock:
                owner = self._owner(item)  # named since then, it is left out by the others' filters
                if owner is None:
                    if self._naming and _is_audio(item):
                        self._early.append(item)
                    super().put(item)
                    return
        with suppress(RuntimeError):  # the loop is closed: its call has ended without leaving
            owner(item)

    def _owner(self, item: FfiEvent) -> _Owner | None:
        match kind := item.WhichOneof("message"):
            case "audio_stream_event":
                return self._owners.get((kind, item.audio_stream_event.stream_handle))
            case "room_event":
                return self._owners.get((kind, item.room_event.room_handle))
            case "capture_audio_frame":  # the only one of its number
                return self._owners.pop((kind, item.capture_audio_frame.async_id), None)
        return None

    def assign(self, key: Key, queue: Any) -> None:
        """Give a subscriber's own events to it, and those of others no longer."""
        with self._lock:
            for number, (subscriber, loop, wanted) in enumerate(self._subscribers):
                if subscriber is queue:
                    self._owners[key] = _on(loop, queue.put_nowait)
                    self._keys[id(queue)] = key
                    kept = functools.partial(_is_of_another_kind, key[0], wanted)
                    self._subscribers[number] = subscriber, loop, kept
                    return
        raise LookupError("no such subscription: livekit has changed")

    @contextmanager
    def early(self) -> Iterator[_RoutingQueue]:
        """Keep the audio that comes inside the block until its owner is named there."""
        with self._lock:
            self._naming += 1
        try:
            yield self
        finally:
            with self._lock:
                self._naming -= 1
                if not self._naming:
                    self._early.clear()

    def own(self, key: Key, owner: _Owner) -> None:
        """Have a stream's events taken in the thread they come in, in their order."""
        with self._lock:
            is_over = False
            for item in self._early:
                if item.audio_stream_event.stream_handle == key[1]:
                    owner(item)
                    is_over |= item.audio_stream_event.HasField("eos")
            if not is_over:
                self._owners[key] = owner  # whoever has the next one waits for the lock till then

    def disown(self, key: Key) -> None:
        """Undo :meth:`own`, or :meth:`expect`."""
        self._owners.pop(key, None)

    def expect(
        self, key: Key, loop: asyncio.AbstractEventLoop, take: Callable[[FfiEvent], None]
    ) -> None:
        """Have one event, which is yet to come, taken on a loop."""
        self._owners[key] = _on(loop, take)

    def unsubscribe(self, queue: Any) -> None:
        """End a subscription, and what it owns."""
        super().unsubscribe(queue)
        if (key := self._keys.pop(id(queue), None)) is not None:
            self._owners.pop(key, None)


def _on(loop: asyncio.AbstractEventLoop, take: Callable[[FfiEvent], None]) -> _Owner:
    """Have an event taken on a loop."""
    return lambda item: loop.call_soon_threadsafe(take, item)


def _is_audio(event: FfiEvent) -> bool:
    return event.WhichOneof("message") == "audio_stream_event"


def _is_of_another_kind(
    own: str, wanted: Callable[[FfiEvent], bool] | None, event: FfiEvent
) -> bool:
    """True for an event that a subscriber still takes, of those handed to all: none of its ``own``
    kind."""
    return event.WhichOneof("message") != own and (wanted is None or wanted(event))


def _routing_queue() -> _RoutingQueue:
    """The client's queue, replaced the first time."""
    client = FfiClient.instance
    with _installing:
        if not isinstance(client._queue, _RoutingQueue):
            with client._queue._lock:
                client._queue = _RoutingQueue(client._queue)
        return client._queue
