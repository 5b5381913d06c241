"""A caller's end: a participant of a room of its own, with the gateway client's interface."""

from __future__ import annotations

import json
import logging
import secrets
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

import anyio
from livekit import api, rtc

from agent import gateway

from .ffi_events import AudioSource, heard, own_events_only
from .line import CONNECTION, SINGLE_PEER_CONNECTION, TOPIC
from .request import CONVERSATION, TRACE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from agent.gateway import Start

    from .server import LiveKit

log = logging.getLogger(__name__)

SAMPLE_RATE_HZ: Final = 16_000
"""Sample rate of a caller's audio, both ways."""
_FRAME_MS: Final = 20
TOKEN_TTL: Final = timedelta(minutes=10)
_CLOSE_TIMEOUT_SECONDS: Final = 3.0
_LAST_WORDS_SECONDS: Final = 1.0
"""Time for the last words of an agent that has left: they come by another way than that news."""
_MAX_UNREAD_MESSAGES: Final = 1024
"""Number of messages and frames kept for a caller that is slow to read: twenty seconds of them."""


class Call:
    """A call in progress, as :class:`agent.gateway.client.Call` is: iterate over it for the agent's
    messages, and its 20 ms frames as ``bytes``.

    The frames go on while the agent is silent. Iteration ends after ``ended``, and raises
    :class:`~agent.gateway.Disconnected` when the connection goes before.
    """

    def __init__(self, room: rtc.Room, source: AudioSource) -> None:
        self.id = ""
        """The conversation's id, once it has started."""
        self.trace_id = ""
        """The id of the conversation's trace, likewise."""
        self.connected_at = 0.0
        """The Unix time at which the connection stood."""
        self._room = room
        self._source = source
        self._incoming, self._received = anyio.create_memory_object_stream[
            "gateway.GatewayMessage"
        ](_MAX_UNREAD_MESSAGES)
        self._ended = False
        self._started = anyio.Event()
        self._agent: str | None = None
        self._why: str | None = None
        """The reason why there is no connection any more."""
        self._hearing: dict[str, anyio.CancelScope] = {}
        self._tasks = anyio.create_task_group()

    @property
    def ahead_seconds(self) -> float:
        """Length of the agent's audio that comes before it is to be played: a frame's."""
        return gateway.FRAME_SECONDS

    @property
    def joined_at(self) -> float | None:
        """The Unix time at which the server let the caller in, by its own clock; None before."""
        joined = self._room.local_participant.joined_at if self.connected_at else None
        return None if joined is None else joined.timestamp()

    async def send_audio(self, frame: bytes) -> None:
        """Send 20 ms of mono PCM16 at :data:`SAMPLE_RATE_HZ`. Pacing is the caller's."""
        self._check()
        await self._source.capture_frame(rtc.AudioFrame(frame, SAMPLE_RATE_HZ, 1, len(frame) // 2))

    async def send_text(self, text: str, headers: Mapping[str, str] | None = None) -> None:
        """Send a typed turn; its trace ``headers`` name the span that it becomes a child of."""
        await self._send(gateway.Text(text=text, headers=dict(headers or {})))

    async def send_gap(self, seconds: float) -> None:
        """Tell how long the caller has waited for an answer, by its own ears."""
        await self._send(gateway.Gap(seconds=seconds))

    async def end(self) -> None:
        """Hang up politely; ``ended`` comes back."""
        await self._send(gateway.End())

    def __aiter__(self) -> Self:
        """Messages in the order they come."""
        return self

    async def __anext__(self) -> gateway.GatewayMessage:
        """The next message."""
        if self._ended:
            raise StopAsyncIteration
        try:
            message = await self._received.receive()
        except anyio.EndOfStream:
            raise gateway.Disconnected(gateway.CloseCode.GOING_AWAY, self._why or "") from None
        self._ended = isinstance(message, gateway.Ended)
        return message

    async def _send(self, message: gateway.CallerMessage) -> None:
        self._check()
        data = gateway.encode(message)
        try:
            await self._room.local_participant.publish_data(data, topic=TOPIC)
        except Exception as error:  # the client's, whatever it is
            raise gateway.Disconnected(gateway.CloseCode.GOING_AWAY, str(error)) from error

    def _check(self) -> None:
        if self._why is not None:
            raise gateway.Disconnected(gateway.CloseCode.GOING_AWAY, self._why)

    # -- the room's side ---------------------------------------------------------------------------

    @asynccontextmanager
    async def _joined(self, url: str, token: str, open_timeout: float) -> AsyncIterator[None]:
        """Be in a call inside the block."""
        room = self._room
        room.on("track_subscribed", self._subscribed)
        room.on("track_unsubscribed", self._unsubscribed)
        room.on("data_received", self._told)
        room.on("participant_attributes_changed", lambda _, agent: self._met(agent))
        room.on("participant_disconnected", self._left)
        room.on("disconnected", self._disconnected)
        failed: Exception | None = None
        async with self._tasks:
            try:
                await self._join(url, token, open_timeout)
                yield
            except Exception as error:  # noqa: BLE001 - raised below, not in a group
                failed = error
            finally:
                with anyio.move_on_after(_CLOSE_TIMEOUT_SECONDS, shield=True):
                    await room.disconnect()
                    await self._source.aclose()
                self._incoming.close()
                self._received.close()
                self._tasks.cancel_scope.cancel()
        if failed is not None:
            raise failed

    async def _join(self, url: str, token: str, open_timeout: float) -> None:
        """Join the room, open the microphone, wait for the agent."""
        room = self._room
        try:
            with anyio.fail_after(open_timeout):
                options = rtc.RoomOptions(
                    rtc_config=CONNECTION, single_peer_connection=SINGLE_PEER_CONNECTION
                )
                await room.connect(url, token, options)
                self.connected_at = time.time()
                own_events_only(room)
                track = rtc.LocalAudioTrack.create_audio_track("caller", self._source)
                await room.local_participant.publish_track(
                    track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
                )
                for agent in room.remote_participants.values():
                    self._met(agent)
                await self._started.wait()
        except TimeoutError:
            raise gateway.ConnectError(
                f"{url}: no agent came in {open_timeout:g} s: is a worker registered there, and "
                "has it room for a call?"
            ) from None
        except rtc.room.ConnectError as error:
            raise gateway.ConnectError(f"can't join a room at {url}: {error}") from error

    def _met(self, agent: rtc.Participant) -> None:
        if CONVERSATION in agent.attributes and TRACE in agent.attributes:
            self.id, self.trace_id = agent.attributes[CONVERSATION], agent.attributes[TRACE]
            self._agent = agent.identity
            self._started.set()

    def _told(self, packet: rtc.DataPacket) -> None:
        if packet.topic == TOPIC:
            self._put(gateway.parse_gateway_message(packet.data.decode()))

    def _put(self, message: gateway.GatewayMessage) -> None:
        try:
            self._incoming.send_nowait(message)
        except anyio.WouldBlock:
            log.warning("rooms: dropped %s: the caller doesn't listen", type(message).__name__)
        except anyio.ClosedResourceError:
            pass  # it has hung up

    def _subscribed(
        self, track: rtc.Track, _: rtc.TrackPublication, owner: rtc.RemoteParticipant
    ) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            scope = self._hearing[track.sid] = anyio.CancelScope()
            self._tasks.start_soon(self._hear, track, scope)

    def _unsubscribed(
        self, track: rtc.Track, _: rtc.TrackPublication, owner: rtc.RemoteParticipant
    ) -> None:
        if (scope := self._hearing.pop(track.sid, None)) is not None:
            scope.cancel()

    async def _hear(self, track: rtc.Track, scope: anyio.CancelScope) -> None:
        with scope:
            async with heard(
                track, sample_rate=SAMPLE_RATE_HZ, frame_ms=_FRAME_MS, take=self._put_frame
            ) as ended:
                await ended.wait()

    def _put_frame(self, frame: bytes, _: float) -> None:
        self._put(frame)

    def _left(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._agent:
            self._tasks.start_soon(self._be_alone, participant.identity)

    async def _be_alone(self, agent: str) -> None:
        await anyio.sleep(_LAST_WORDS_SECONDS)
        if agent not in self._room.remote_participants:  # it may have reconnected
            self._lost("the agent left the call")

    def _disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self._lost(f"LiveKit disconnected the caller: {rtc.DisconnectReason.Name(reason)}")

    def _lost(self, why: str) -> None:
        if self._why is None:
            self._why = why
            self._incoming.close()


@asynccontextmanager
async def connect(
    livekit: LiveKit,
    *,
    start: Start,
    agent_name: str = "",
    room: str | None = None,
    open_timeout: float = 20.0,
) -> AsyncIterator[Call]:
    """Call the agent from a room of one's own; the call has started inside the block.

    The contents of ``start`` go with the room as its metadata. Leaving the block leaves the room,
    which hangs up. ``agent_name`` asks for that agent; ``open_timeout``, in seconds, is for joining
    and for an agent to come. Raises :class:`~agent.gateway.ConnectError`.
    """
    call = Call(rtc.Room(), AudioSource(SAMPLE_RATE_HZ, 1, queue_size_ms=200))
    identity = str((start.user or {}).get("id") or f"caller-{secrets.token_hex(4)}")
    where = room or new_room(start.id)
    token = caller_token(livekit, room=where, identity=identity, start=start, agent_name=agent_name)
    async with call._joined(livekit.url, token, open_timeout):
        yield call


def new_room(id: str | None = None) -> str:
    """A name that no room has had: to one that the server still keeps, some seconds after a call
    has left it, no agent comes."""
    return "-".join(filter(None, ("call", id, secrets.token_hex(4))))


def caller_token(
    livekit: LiveKit,
    *,
    room: str,
    identity: str,
    start: Start | None = None,
    agent_name: str = "",
    ttl: timedelta = TOKEN_TTL,
) -> str:
    """A token that lets one caller into one room, for a short time.

    ``start`` becomes the room's metadata, if the caller is the first in it; with an ``agent_name``
    that agent is asked for, with the same metadata.
    """
    metadata = ""
    if start is not None:
        said = start.model_dump(by_alias=True, exclude_none=True, exclude={"type", "sample_rate"})
        metadata = json.dumps(said)
    dispatch = [api.RoomAgentDispatch(agent_name=agent_name, metadata=metadata)]
    return (
        api.AccessToken(livekit.key, livekit.secret)
        .with_identity(identity)
        .with_ttl(ttl)
        .with_grants(api.VideoGrants(room_join=True, room=room))
        .with_room_config(
            api.RoomConfiguration(metadata=metadata, agents=dispatch if agent_name else [])
        )
        .to_jwt()
    )
