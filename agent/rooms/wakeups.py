"""Who is woken by LiveKit's native client, when many rooms share a process.

livekit 1.1 hands every event to every subscriber, on that subscriber's event loop: with a thread
for each call, one caller's frame wakes all the threads. The cost grows with the square of the
rooms: ten took a whole core. Here each stream, room and source is woken by what is its own.

That takes private parts of livekit, and they are only used in this module; where they are gone
(a test says so) everything works as it does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from livekit import rtc
from livekit.rtc._ffi_client import FfiClient
from livekit.rtc._proto import ffi_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from livekit.rtc._proto.ffi_pb2 import FfiEvent

_MEDIA: Final = frozenset({"audio_stream_event", "video_stream_event", "capture_audio_frame"})


def own_frames_only(stream: rtc.AudioStream) -> rtc.AudioStream:
    """Have a stream woken by its own frames; returns it."""
    handle = stream._ffi_handle.handle

    def is_own(event: FfiEvent) -> bool:
        return (
            event.WhichOneof("message") == "audio_stream_event"
            and event.audio_stream_event.stream_handle == handle
        )

    _narrow(stream._ffi_queue, is_own)
    return stream


def own_events_only(room: rtc.Room) -> None:
    """Have a room that is connected woken by its own events, and by no media."""
    assert room._ffi_handle is not None
    handle = room._ffi_handle.handle

    def is_own(event: FfiEvent) -> bool:
        kind = event.WhichOneof("message")
        return kind not in _MEDIA and (
            kind != "room_event" or event.room_event.room_handle == handle
        )

    _narrow(room._ffi_queue, is_own)


class AudioSource(rtc.AudioSource):
    """A source that is woken by sources only while it waits for a frame to be taken."""

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """See :meth:`livekit.rtc.AudioSource.capture_frame`; nothing waits for the playing."""
        if self._ffi_handle.disposed:
            return
        request = ffi_pb2.FfiRequest()
        request.capture_audio_frame.source_handle = self._ffi_handle.handle
        request.capture_audio_frame.buffer.CopyFrom(frame._proto_info())
        queue = FfiClient.instance.queue.subscribe(loop=self._loop, filter_fn=_is_captured)
        try:
            asked = FfiClient.instance.request(request).capture_audio_frame.async_id
            # the frame's memory must stay until then
            await queue.wait_for(lambda event: event.capture_audio_frame.async_id == asked)
        finally:
            FfiClient.instance.queue.unsubscribe(queue)


def _is_captured(event: FfiEvent) -> bool:
    return event.WhichOneof("message") == "capture_audio_frame"


def _narrow(queue: Any, wanted: Callable[[FfiEvent], bool]) -> None:
    """Replace the filter of a subscription."""
    everything = FfiClient.instance.queue
    with everything._lock:
        for number, (subscriber, loop, _) in enumerate(everything._subscribers):
            if subscriber is queue:
                everything._subscribers[number] = (subscriber, loop, wanted)
                return
    raise LookupError("no such subscription: livekit has changed")
