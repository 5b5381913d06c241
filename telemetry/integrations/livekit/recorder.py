"""A session recorded by LiveKit's own recorder: caller left, agent right, on the spans' clock.

LiveKit's :class:`RecorderIO` stands between a session and its audio, writes both voices where they
belong on one time line, and encodes them in a thread of its own. A session has one by itself only
in a job, and uploads what it made to LiveKit Cloud; the one here writes a file beside the store,
and nothing leaves the machine.

The part that touches LiveKit's is :mod:`.recording`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ...store.ogg import seconds_of
from . import recording

if TYPE_CHECKING:
    from collections.abc import Callable

    from livekit.agents import AgentSession

    from ...summary import Keep
    from ...trace.audio import AudioFile
    from ...trace.transaction import Transaction

R = TypeVar("R")

DISK_SECONDS: Final = 1.0
"""Time that the disk has for an answer: a call's start waits for it."""
_THREADS: Final = 4
"""Those that wait for the disk at once, at most; the loop's own are there for DNS, too."""

logger = logging.getLogger(__name__)


class Recorder:
    """Records one session: ``livekit.trace(session, recorder=Recorder())``.

    The session's audio has to be set before it is started: by a transport of one's own, or by a
    ``RoomIO`` that was started first. Where it can't be recorded the call goes on, and one line in
    the log says why.

    Args:
        keep: asked when the conversation has ended whether the recording is to stay, in the store's
            thread; it does by default.
        heard_late: asked for the seconds between the caller's speaking and the arrival of it here,
            such as those in a jitter buffer.
    """

    def __init__(
        self, *, keep: Keep | None = None, heard_late: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._keep = keep
        self._heard_late = heard_late
        self._recording: recording.Recording | None = None
        self._file: AudioFile | None = None
        self._ending: asyncio.Task[None] | None = None

    async def begin(self, session: AgentSession[Any], conversation: Transaction) -> None:
        """Begin, as the session starts, and end when its conversation does; never raises."""
        try:
            why = await self._begin(session, conversation)
        except Exception as error:  # noqa: BLE001 - whatever it is, the call goes on
            why = f"{type(error).__name__}: {error}"
        if why is not None:
            logger.warning("conversation %s is not recorded: %s", conversation.id, why)

    async def _begin(self, session: AgentSession[Any], conversation: Transaction) -> str | None:
        """Begin; the reason why not, else None."""
        audio_input, audio_output = session.input.audio, session.output.audio
        if audio_input is None or audio_output is None:
            return "its session has no audio yet: set it, or start a RoomIO, before session.start"
        file = conversation.record_audio(keep=self._keep)
        if file is None:
            return "there is no store to keep the recording"
        try:
            await _from_disk(file.create)
        except TimeoutError:
            return "the disk doesn't answer"
        except OSError as error:
            return f"{file.path.parent} can't be written to: {error.strerror or error}"
        recording.prepare()
        self._file, self._recording = file, recording.Recording(session, self._heard_late)
        session.input.audio = self._recording.record_input(audio_input)
        session.output.audio = self._recording.record_output(audio_output)
        await self._recording.start(output_path=file.path)
        began = self._recording.recording_started_at
        assert began is not None
        file.began(began)
        loop = asyncio.get_running_loop()
        conversation.on_close(lambda: self._end_on(loop))
        if conversation.ended:
            self._end()
        return None

    async def aclose(self) -> None:
        """Wait until the file is complete; its conversation needn't have ended. Idempotent."""
        self._end()
        if self._ending is not None:
            await asyncio.shield(self._ending)

    def _end_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """End, if the loop still runs or is closed: a program may end right after."""
        assert self._recording is not None
        with suppress(RuntimeError):  # this thread has no loop
            if asyncio.get_running_loop() is loop:
                self._end()
                return
        try:
            loop.call_soon_threadsafe(self._end)
        except RuntimeError:  # it is closed: nobody else is at the recording
            self._recording.finish()

    def _end(self) -> None:
        if self._ending is None and self._recording is not None:
            self._recording.finish()
            self._ending = asyncio.get_running_loop().create_task(self._complete())

    async def _complete(self) -> None:
        assert self._recording is not None
        assert self._file is not None
        await self._recording.aclose()
        try:
            seconds = await _from_disk(functools.partial(seconds_of, self._file.path))
            if seconds is not None:
                self._file.ended(seconds)
            await _from_disk(self._file.discard)
        except OSError as error:  # a disk that doesn't answer among them
            logger.warning("the end of %s is not known: %r", self._file.path.name, error)


async def _from_disk(work: Callable[[], R]) -> R:
    """What a function returns that waits for the disk. Raises :class:`TimeoutError`."""
    loop = asyncio.get_running_loop()
    return await asyncio.wait_for(loop.run_in_executor(_threads(os.getpid()), work), DISK_SECONDS)


@functools.cache
def _threads(_: int) -> ThreadPoolExecutor:
    """The threads of a process that wait for the disk: a forked one has none of its parent's."""
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="recording")
