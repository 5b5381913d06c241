"""A caller of any LiveKit agent: a participant who speaks, types, presses buttons and reads."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, Self

from livekit import api, rtc

from tests.agents.models import RATE, speech

if TYPE_CHECKING:
    from agent.rooms import LiveKit

PATIENCE_SECONDS: Final = 30.0
FRAME_SECONDS: Final = 0.02
STATE: Final = "lk.agent.state"


class Guest:
    """One caller: ``async with Guest(…) as guest``.

    Args:
        livekit: the server.
        room: the room to join.
        agent: the agent that is asked to join; nobody is if it is empty.
        identity: the caller's.
    """

    def __init__(
        self, livekit: LiveKit, room: str, *, agent: str = "", identity: str = "caller"
    ) -> None:
        self.room = room
        self._livekit, self._asks_for, self._identity = livekit, agent, identity
        self._room = rtc.Room()
        self._source = rtc.AudioSource(RATE, 1, queue_size_ms=100)
        self._say: asyncio.Queue[tuple[bytes, asyncio.Event]] = asyncio.Queue()
        self._texts: list[str] = []
        self._reading: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        dispatch = [api.RoomAgentDispatch(agent_name=self._asks_for)] if self._asks_for else []
        token = (
            api.AccessToken(self._livekit.key, self._livekit.secret)
            .with_identity(self._identity)
            .with_grants(api.VideoGrants(room_join=True, room=self.room))
            .with_room_config(api.RoomConfiguration(agents=dispatch))
        )
        for event in ("participant_connected", "participant_attributes_changed"):
            self._room.on(event, self._note)
        self._room.register_text_stream_handler("lk.transcription", self._read)
        await self._room.connect(self._livekit.url, token.to_jwt())
        track = rtc.LocalAudioTrack.create_audio_track("caller", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self._room.local_participant.publish_track(track, options)
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        microphone = tasks.create_task(self._microphone())
        self._stack.callback(microphone.cancel)
        if self._asks_for:
            await self._until(self._is_listened_to)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._room.disconnect()
        await self._stack.aclose()
        await self._source.aclose()

    async def delete_room(self) -> None:
        """End the call for all; else the server waits for somebody to come back."""
        async with api.LiveKitAPI(
            self._livekit.url, self._livekit.key, self._livekit.secret
        ) as server:
            await server.room.delete_room(api.DeleteRoomRequest(room=self.room))

    # -- what a caller does ------------------------------------------------------------------------

    async def says(self, words: str) -> None:
        """Say something; when that is over the agent may still have to hear the end."""
        spoken = asyncio.Event()
        await self._say.put((speech(words), spoken))
        await spoken.wait()

    async def types(self, words: str) -> None:
        """Type something."""
        await self._room.local_participant.send_text(words, topic="lk.chat")

    async def presses(self, button: str) -> None:
        """Press a button of the app."""
        await self._room.local_participant.perform_rpc(
            destination_identity=self._agent.identity, method=button, payload=""
        )

    async def reads(self, words: str) -> None:
        """Read these words, said by either side, and wait until the agent listens."""
        await self._until(lambda: words in self._texts and self._is_listened_to())
        self._texts.remove(words)

    # -- the room's side ---------------------------------------------------------------------------

    @property
    def _agent(self) -> rtc.RemoteParticipant:
        found = self._room.remote_participants.values()
        return next(one for one in found if STATE in one.attributes)

    def _is_listened_to(self) -> bool:
        """Whether an agent listens; one that was not asked to join may not say."""
        found = self._room.remote_participants.values()
        states = [one.attributes[STATE] for one in found if STATE in one.attributes]
        return states == ["listening"] or not (states or self._asks_for)

    def _note(self, *_: Any) -> None:
        self._changed.set()

    def _read(self, reader: rtc.TextStreamReader, _: str) -> None:
        async def reading() -> None:
            self._texts.append((await reader.read_all()).strip())
            self._changed.set()

        task = asyncio.create_task(reading())
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _microphone(self) -> None:
        """Send speech or silence, at the pace at which they are heard."""
        size = int(FRAME_SECONDS * RATE) * 2
        while True:
            pcm, spoken = bytes(size), None
            if not self._say.empty():
                pcm, spoken = self._say.get_nowait()
            for at in range(0, len(pcm), size):
                frame = pcm[at : at + size].ljust(size, b"\0")
                await self._source.capture_frame(rtc.AudioFrame(frame, RATE, 1, size // 2))
            if spoken is not None:
                await self._source.wait_for_playout()
                spoken.set()

    async def _until(self, holds: Any) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not in {PATIENCE_SECONDS:g} s; unread: {self._texts}") from None
