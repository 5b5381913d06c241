"""A caller's line in a room: an :class:`agent.session.line.Line` on tracks and data.

The caller's microphone is a subscribed track; the agent's speech goes through the gateway's
:class:`~agent.gateway.playout.Playout`, which knows to the sample what was played, into a
published one. Events are told twice: as the gateway's messages, JSON on the data topic
``parley``, and as LiveKit's frontends expect it, the agent's state as an attribute and words as
transcriptions.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

import anyio
from livekit import rtc
from livekit.agents import types as livekit_names

from agent import gateway
from agent.audio import DETECTION_SECONDS, TOGETHER_IN_SILENCE, audible
from agent.gateway.line import Microphone
from agent.gateway.playout import Playout
from agent.metrics import Limit, reached
from agent.session import line as session

from .ffi_events import AudioSource, heard

if TYPE_CHECKING:
    from livekit.agents.voice import io

log = logging.getLogger(__name__)

T = TypeVar("T")

TOPIC: Final = "parley"
"""Data topic of the gateway's messages, both ways."""
CONNECTION: Final = rtc.RtcConfiguration(
    continual_gathering_policy=rtc.ContinualGatheringPolicy.GATHER_ONCE
)
SINGLE_PEER_CONNECTION: Final = False
"""Each direction has a WebRTC connection of its own, and network addresses are offered once.

As livekit 1.1 does it unless told otherwise, with one connection for both directions and addresses
gathered on and on, a participant sends up to 400 messages as it joins. LiveKit's server (1.13)
keeps 200 for each; when it is busy and more come it stops listening to that participant, without a
word to it: a call in which nobody ever hears the other. With two such participants, 7 of 850 rooms
were silent like that, ten at a time on two busy cores; with participants like these, none of
1,100."""
HEARD_RATE_HZ: Final = 16_000
"""Sample rate of the caller's audio as the session gets it: detection and recognition use it."""
HEARD_FRAME_MS: Final = round(DETECTION_SECONDS * 1000)
"""Length of a piece of it: a window of detection, which is heard as soon as it has come."""
SPOKEN_RATE_HZ: Final = 48_000
"""Sample rate of the agent's audio as it is published: what Opus is given at any other is resampled
by the native client, silence as well."""
SPOKEN_BITS_A_SECOND: Final = 80_000
"""Bitrate of the agent's audio while it speaks, at most.

Of silence five small packets a second are sent, but all of it is encoded: livekit's source makes
silence of having nothing. From this rate on Opus codes with CELT alone, which takes half of what
the hybrid with SILK takes that it chooses at livekit's default rate, 48 kbit/s: 1.1 % of a core a
call instead of 2.1 %."""
LEAD_SECONDS: Final = 0.04
"""Lead of published audio over its playing, so that a late event loop leaves no gap."""
CODEC_SECONDS: Final = 0.0265
"""Time between a sample and its packet's leaving: Opus sends 20 ms at a time, and looks 6.5 ms
ahead (RFC 6716, 2). The caller's voice takes as long, and the agent's."""
SUBSCRIBE_TIMEOUT_SECONDS: Final = 5.0
"""Time that the agent's first words wait for the caller to listen."""
SEND_TIMEOUT_SECONDS: Final = 5.0
"""Time a message has to be sent; then it is dropped, for those behind it."""
MEASURE_EVERY_SECONDS: Final = 1.0
"""Time between two measurements of the jitter buffer that the caller's audio goes through, while
the caller speaks; in silence they go on, less often."""
MEASURE_IN_SILENCE_EVERY_SECONDS: Final = 4.0
"""Time added to that while the caller is silent: each costs as much as 30 ms of audio."""
_LEAD_SILENCE: Final = bytes(round(SPOKEN_RATE_HZ * LEAD_SECONDS) * 2)
_SOURCE_QUEUE_MS: Final = 200
_MAX_UNSENT_MESSAGES: Final = 256
"""Number of messages kept for a connection too slow to take them; then the oldest are dropped."""


class RoomLine:
    """A :class:`agent.session.line.Line` over a room.

    :meth:`run` must be running once the room is connected; it moves audio and messages until it is
    cancelled. ``on_response`` is told the seconds from the caller's last audible sample to the
    agent's first, for each answer.
    """

    def __init__(self, room: rtc.Room, *, on_response: Callable[[float], None]) -> None:
        self.microphone = Microphone(sample_rate=HEARD_RATE_HZ, gathers=False)
        self.playout = Playout(
            self._say, sample_rate=SPOKEN_RATE_HZ, heard_after=LEAD_SECONDS + CODEC_SECONDS
        )
        self.first_audible_at: float | None = None
        """The Unix time at which the caller could first hear the agent: the greeting."""
        self.on_first_audible: Callable[[], None] = lambda: None
        """Callback for that moment."""
        self.heard_at = anyio.current_time()
        """The time of the last audio from the caller, on the loop's clock."""
        self._room = room
        self._on_response = on_response
        self._on_audible: Callable[[float], None] | None = None
        self._spoke_until: float | None = None
        self._held_back = 0.0
        """Seconds that the caller's audio is kept on its way to smooth out the network's jitter:
        so much earlier than it arrives here was it spoken."""
        self._source = AudioSource(SPOKEN_RATE_HZ, 1, queue_size_ms=_SOURCE_QUEUE_MS)
        self._frames = _Queue[bytes | None](_MAX_UNSENT_MESSAGES)
        """Frames for the track; None where a speech begins."""
        self._said_until = 0.0
        """The Unix time at which the track will have sent all it was given."""
        self._messages = _Queue[Callable[[], Awaitable[object]]](_MAX_UNSENT_MESSAGES)
        self._shown = _Queue[Callable[[], Awaitable[object]]](_MAX_UNSENT_MESSAGES)
        """Messages for LiveKit's frontends: each takes several answers, nothing waits for them."""
        self._speaks = anyio.Event()
        """Set while the caller speaks."""
        self._loop = asyncio.get_running_loop()
        self._hearing: anyio.CancelScope | None = None
        self._caller: str | None = None
        self._tasks = anyio.create_task_group()

    # -- what a session asks for -------------------------------------------------------------------

    @property
    def audio_input(self) -> io.AudioInput:
        """The caller's audio."""
        return self.microphone

    @property
    def audio_output(self) -> io.AudioOutput:
        """The playout of the agent's audio."""
        return self.playout

    def voiced_until(self) -> float | None:
        """The Unix time at which the caller was last heard."""
        arrived = self.microphone.voiced_until()
        self._spoke_until = None if arrived is None else arrived - self.heard_late()
        return self._spoke_until

    def heard_late(self) -> float:
        """The seconds between the caller's speaking and its audio's arrival here."""
        return self._held_back + CODEC_SECONDS

    def on_audible(self, function: Callable[[float], None]) -> None:
        """Call ``function`` with the Unix time of each speech's first audible sample."""
        self._on_audible = function

    def send(self, event: session.SessionEvent) -> None:
        """Tell the caller of an event."""
        match event:
            case session.StateChanged(agent=agent, user=user):
                self._note_speech(speaks=user == "speaking")
                self._tell(gateway.State(agent=agent, user=user))
                self._shown.put(functools.partial(self._show_state, agent))
            case session.Words(speaker=speaker, text=text, final=final):
                self._tell(gateway.Words(speaker=speaker, text=_text(text), final=final))
                if final:
                    self._shown.put(functools.partial(self._transcribe, speaker, _text(text)))
            case session.ToolCalled(name=name, arguments=arguments, ok=ok):
                self._tell(gateway.Tool(name=_text(name), arguments=_text(arguments), ok=ok))

    # -- the room's side ---------------------------------------------------------------------------

    async def run(self, caller: rtc.RemoteParticipant) -> None:
        """Move audio and messages between this caller and the session, until cancelled."""
        self._caller = caller.identity
        subscribed = self._subscribed
        self._room.on("track_subscribed", subscribed)
        try:
            async with self._tasks as tasks:
                tasks.start_soon(self._send, self._messages)
                tasks.start_soon(self._send, self._shown)
                for publication in caller.track_publications.values():
                    if publication.track is not None:
                        subscribed(publication.track, publication, caller)
                track = rtc.LocalAudioTrack.create_audio_track("agent", self._source)
                published = await self._room.local_participant.publish_track(track, _published())
                # what is played before anybody listens is lost: it waits meanwhile
                with anyio.move_on_after(SUBSCRIBE_TIMEOUT_SECONDS):
                    await published.wait_for_subscription()
                tasks.start_soon(self.playout.run)
                tasks.start_soon(self._play)
        finally:
            self._room.off("track_subscribed", subscribed)
            self.microphone.close()
            with anyio.CancelScope(shield=True):
                await self._source.aclose()

    async def hang_up(self, outcome: session.Outcome, patience: float) -> bool:
        """Say that the call is over, after the queue; True when that was sent in ``patience``
        seconds."""
        self.playout.clear_buffer()
        sent = anyio.Event()

        async def last() -> None:
            await self._publish(gateway.encode(gateway.Ended(outcome=outcome)))
            sent.set()

        self._messages.put(last)
        with anyio.move_on_after(patience):
            await sent.wait()
        return sent.is_set()

    def _note_speech(self, *, speaks: bool) -> None:
        if speaks:
            self._speaks.set()
        elif self._speaks.is_set():
            self._speaks = anyio.Event()

    def _subscribed(
        self, track: rtc.Track, publication: rtc.TrackPublication, owner: rtc.RemoteParticipant
    ) -> None:
        """Listen to the caller's newest audio track; one that was unpublished ends by itself."""
        if owner.identity == self._caller and track.kind == rtc.TrackKind.KIND_AUDIO:
            if self._hearing is not None:
                self._hearing.cancel()
            self._hearing = anyio.CancelScope()
            self._tasks.start_soon(self._hear, track, self._hearing)

    async def _hear(self, track: rtc.Track, scope: anyio.CancelScope) -> None:
        with scope:
            async with heard(
                track,
                sample_rate=HEARD_RATE_HZ,
                frame_ms=HEARD_FRAME_MS,
                take=self._take,
                together=TOGETHER_IN_SILENCE,
            ) as ended:
                self._tasks.start_soon(self._measure, track, scope)
                await ended.wait()
        scope.cancel()  # nothing is measured any more

    def _take(self, frame: bytes, at: float) -> None:
        self.heard_at = self._loop.time()
        self.microphone.push(frame, at)

    async def _measure(self, track: rtc.Track, hearing: anyio.CancelScope) -> None:
        """Keep up with the jitter buffer's delay, as WebRTC's statistics have it: that matters
        when the caller has spoken."""
        delay, count = 0.0, 0
        while True:
            await anyio.sleep(MEASURE_EVERY_SECONDS)
            if count:
                with anyio.move_on_after(MEASURE_IN_SILENCE_EVERY_SECONDS):
                    await self._speaks.wait()
            if hearing.cancel_called:
                return
            try:
                statistics = await track.get_stats()
            except Exception:  # noqa: BLE001 - the track is gone, or its connection
                return
            for each in statistics:
                if each.HasField("inbound_rtp"):
                    now = each.inbound_rtp.inbound
                    emitted = now.jitter_buffer_emitted_count - count
                    if emitted > 0:
                        self._held_back = (now.jitter_buffer_delay - delay) / emitted
                    delay, count = now.jitter_buffer_delay, now.jitter_buffer_emitted_count

    async def _play(self) -> None:
        """Hand frames to the track, which sends one after another: the time at which each is heard
        is known here, however late the playout was."""
        unheard = False
        async for each in self._frames:
            unheard = unheard or each is None
            frame = _LEAD_SILENCE if each is None else each
            size, begins = len(frame) // 2, max(time.time(), self._said_until)
            self._said_until = begins + size / SPOKEN_RATE_HZ
            await self._source.capture_frame(rtc.AudioFrame(frame, SPOKEN_RATE_HZ, 1, size))
            if unheard and (loud := audible(frame)).size:
                unheard = False
                self._audible(begins + int(loud[0]) / SPOKEN_RATE_HZ + CODEC_SECONDS)

    async def _send(self, messages: _Queue[Callable[[], Awaitable[object]]]) -> None:
        """Send the queue, in order. A message that can't be sent is dropped, and the first of them
        is told in the log: the call goes on."""
        failed = False
        async for message in messages:
            try:
                with anyio.fail_after(SEND_TIMEOUT_SECONDS):
                    await message()
            except Exception as error:  # noqa: BLE001 - the connection's, whatever it is
                if isinstance(error, TimeoutError):
                    reached(Limit.UNREAD)
                if not failed and self._room.isconnected():
                    failed = True
                    why = str(error) or f"not sent within {SEND_TIMEOUT_SECONDS:g} s"
                    log.warning("rooms: %s: a message is dropped: %s", self._room.name, why)

    def _say(self, message: gateway.GatewayMessage) -> None:
        """Take the playout's messages: frames to the track, the rest to the caller's program."""
        if isinstance(message, bytes):
            self._frames.put(message)
            return
        match message:
            case gateway.AudioStarted():
                self._frames.put(None)
            case gateway.Flush():
                self._frames.clear()
                self._source.clear_queue()
                self._said_until = 0.0
        self._tell(message)

    def _audible(self, at: float) -> None:
        if self.first_audible_at is None:
            self.first_audible_at = at
            self.on_first_audible()
        spoke, self._spoke_until = self._spoke_until, None
        if spoke is not None:
            self._on_response(at - spoke)
        if self._on_audible is not None:
            self._on_audible(at)

    def _tell(self, message: gateway.GatewayMessage) -> None:
        self._messages.put(functools.partial(self._publish, gateway.encode(message)))

    async def _publish(self, message: str | bytes) -> None:
        await self._room.local_participant.publish_data(
            message, topic=TOPIC, destination_identities=[self._caller or ""]
        )

    async def _show_state(self, state: str) -> None:
        attributes = {livekit_names.ATTRIBUTE_AGENT_STATE: state}
        await self._room.local_participant.set_attributes(attributes)

    async def _transcribe(self, speaker: str, text: str) -> None:
        agent = self._room.local_participant
        writer = await agent.stream_text(
            topic=livekit_names.TOPIC_TRANSCRIPTION,
            sender_identity=self._caller if speaker == "user" else agent.identity,
            attributes={livekit_names.ATTRIBUTE_TRANSCRIPTION_FINAL: "true"},
        )
        await writer.write(text)
        await writer.aclose()


def _published() -> rtc.TrackPublishOptions:
    """The options of the agent's track."""
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    options.audio_encoding.max_bitrate = SPOKEN_BITS_A_SECOND
    return options


class _Queue(Generic[T]):
    """A queue of items to be sent, in order; full, it drops the oldest."""

    def __init__(self, size: int) -> None:
        self._items: deque[T] = deque(maxlen=size)
        self._changed = anyio.Event()

    def put(self, item: T) -> None:
        """Add an item at the end."""
        if len(self._items) == self._items.maxlen:
            reached(Limit.UNREAD)
        self._items.append(item)
        self._changed.set()

    def clear(self) -> None:
        """Drop all."""
        self._items.clear()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            self._changed = anyio.Event()
            await self._changed.wait()
        return self._items.popleft()


def _text(words: str) -> str:
    """Words as they can be encoded: a model's tokens may end in the middle of a character."""
    return words.encode(errors="replace").decode()
