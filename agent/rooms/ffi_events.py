"""Events of LiveKit's native client, each handed to its owner only: rooms share a process.

livekit 1.1 hands every event to every subscriber, on that subscriber's event loop: with a thread
for each call, one caller's frame wakes all the threads, and whoever waits for an answer is handed
all frames meanwhile. The cost grows with the square of the rooms: when ten spoke at once, answers
took seconds, which made more of them wait, and none came any more. Here a frame goes to its own
stream, a room's event to that room, and a source's "taken" to whoever waits for it.

That takes private parts of livekit, and they are only used in this module. They belong to the
version that ``pyproject.toml`` asks for: a test fails when they change.
"""

from __future__ import annotations

import functools
import itertools
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import anyio
from livekit import rtc
from livekit.rtc._ffi_client import FfiClient, FfiQueue
from livekit.rtc._proto import ffi_pb2

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable

    from livekit.rtc._proto.ffi_pb2 import FfiEvent

    Key = tuple[str, int]
    """The kind of an event, and the number of what it is about."""
    _Owner = tuple[asyncio.AbstractEventLoop, Callable[[FfiEvent], None]]

_numbers: Final = itertools.count(1 << 62)
"""Numbers of the requests made here: far from livekit's own."""
_installing: Final = threading.Lock()


def own_frames_only(stream: rtc.AudioStream) -> rtc.AudioStream:
    """Have a stream woken by its own frames; returns it."""
    _routing_queue().assign(("audio_stream_event", stream._ffi_handle.handle), stream._ffi_queue)
    return stream


@asynccontextmanager
async def frames(track: rtc.Track, *, sample_rate: int) -> AsyncIterator[rtc.AudioStream]:
    """A track's audio inside the block: 20 ms of mono PCM16 at a time, at ``sample_rate`` Hz."""
    stream = own_frames_only(
        rtc.AudioStream.from_track(
            track=track, sample_rate=sample_rate, num_channels=1, frame_size_ms=20
        )
    )
    try:
        yield stream
    finally:
        with anyio.CancelScope(shield=True):
            await stream.aclose()


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

        _routing_queue().expect(("capture_audio_frame", asked.request_async_id), self._loop, note)
        FfiClient.instance.request(request)
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
        self._keys: dict[int, Key] = {}
        """The keys of the queues that own events, by their ids."""

    def put(self, item: FfiEvent) -> None:
        """Hand an event to its owner; to all subscribers if it has none."""
        owner = self._owner(item)
        if owner is None:
            with self._lock:
                owner = self._owner(item)  # named since then, it is left out by the others' filters
                if owner is None:
                    super().put(item)
                    return
        loop, take = owner
        with suppress(RuntimeError):  # the loop is closed: its call has ended without leaving
            loop.call_soon_threadsafe(take, item)

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
                    self._owners[key] = loop, queue.put_nowait
                    self._keys[id(queue)] = key
                    kept = functools.partial(_is_of_another_kind, key[0], wanted)
                    self._subscribers[number] = subscriber, loop, kept
                    return
        raise LookupError("no such subscription: livekit has changed")

    def expect(
        self, key: Key, loop: asyncio.AbstractEventLoop, take: Callable[[FfiEvent], None]
    ) -> None:
        """Have one event, which is yet to come, taken on a loop."""
        self._owners[key] = loop, take

    def unsubscribe(self, queue: Any) -> None:
        """End a subscription, and what it owns."""
        super().unsubscribe(queue)
        if (key := self._keys.pop(id(queue), None)) is not None:
            self._owners.pop(key, None)


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
