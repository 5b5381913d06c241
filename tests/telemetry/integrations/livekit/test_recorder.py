"""Sessions that are recorded: when it was said, and what goes wrong without the call noticing."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.voice import io

import telemetry
from telemetry.integrations.livekit import Recorder
from telemetry.store import TraceStore
from telemetry.store.ogg import seconds_of
from telemetry.testing import capture
from telemetry.trace.audio import AudioFile
from tests.telemetry.ogg import HZ, samples_of

from .call import Call, calling
from .providers import Speaker

if TYPE_CHECKING:
    from telemetry import Conversation, Summary
    from telemetry.summary import Keep

RATE = 16_000
FRAME_SECONDS = 0.02
STALL_SECONDS = 0.3
BEEPS = (0.5, 1.5, 1.8)
"""The seconds at which a caller beeps. The line stalls before the second, and has come through with
the third."""


class Line(io.AudioInput):
    """A caller who beeps, on a line that stands still once."""

    def __init__(self) -> None:
        super().__init__(label="line")
        self.began_at = 0.0
        self._count = 0

    async def __anext__(self) -> rtc.AudioFrame:
        if not self._count:
            self.began_at = time.time()
        self._count += 1
        spoken = self._count * FRAME_SECONDS
        if spoken > 2.2:
            raise StopAsyncIteration
        arrives = 1.7 if 1.7 - STALL_SECONDS < spoken < 1.7 else spoken
        await asyncio.sleep(self.began_at + arrives - time.time())
        size = round(RATE * FRAME_SECONDS)
        at = (np.arange(size) + (self._count - 1) * size) / RATE
        beeps = sum(((at >= start) & (at < start + 0.1)) * 1.0 for start in BEEPS)
        wave = np.sin(2 * np.pi * 440 * at) * beeps * 20_000
        return rtc.AudioFrame(wave.astype("<i2").tobytes(), RATE, 1, size)


async def _recorded(
    conversation: Conversation, recorder: Recorder, line: io.AudioInput, **given: object
) -> None:
    """Read a session's audio input as the session would."""
    session = AgentSession[None](vad=None, **given)  # type: ignore[arg-type]  # a session's
    session.input.audio, session.output.audio = line, Speaker()
    await recorder.begin(session, conversation)
    audio = session.input.audio
    assert audio is not None
    async for _ in audio:
        pass
    conversation.close()
    await recorder.aclose()


async def test_a_line_that_stands_still_moves_nothing(tmp_path: Path) -> None:
    """Each beep is where it was spoken, though what came while the line stood came at once."""
    path, line = tmp_path / "traces.db", Line()
    with capture(store=path) as captured:
        conversation = telemetry.conversation("call")
        await _recorded(conversation, Recorder(), line)
        assert captured.runtime.flush(30)
        with closing(TraceStore(path)) as store:
            [found] = store.recordings(conversation.record())
    caller, agent = samples_of(found.path)
    loud = np.flatnonzero(np.abs(caller.astype(int)) > 6_000)
    starts = loud[np.flatnonzero(np.diff(loud, prepend=-HZ) > 0.05 * HZ)]
    offset = found.started_at - line.began_at
    assert starts / HZ + offset == pytest.approx(BEEPS, abs=0.02)
    assert not np.any(np.abs(agent.astype(int)) > 300)
    assert found.path.stat().st_mode & 0o777 == 0o600
    assert found.path.parent.stat().st_mode & 0o777 == 0o700


async def test_said_earlier_than_it_arrives(tmp_path: Path) -> None:
    """As in a jitter buffer, of which the transport knows."""
    path, line = tmp_path / "traces.db", Line()
    with capture(store=path) as captured:
        conversation = telemetry.conversation("call")
        await _recorded(conversation, Recorder(heard_late=lambda: 0.2), line)
        assert captured.runtime.flush(30)
        with closing(TraceStore(path)) as store:
            [found] = store.recordings(conversation.record())
    loud = np.flatnonzero(np.abs(samples_of(found.path)[0].astype(int)) > 6_000)
    first = loud[0] / HZ + found.started_at - line.began_at
    assert first == pytest.approx(BEEPS[0] - 0.2, abs=0.02)


def _keep_none(_: Summary) -> bool:
    return False


@pytest.mark.parametrize(("keep", "left"), [(None, 1), (_keep_none, 0)])
async def test_a_whole_session(tmp_path: Path, keep: Keep | None, left: int) -> None:
    """It is in the store while it runs; when it is over, what isn't to be kept is deleted."""
    path = tmp_path / "traces.db"
    with capture(store=path) as captured:
        call, recorder = Call({"hello": "Hello."}), Recorder(keep=keep)
        async with calling(call, recorder=recorder) as conversation:
            await call.asks("hello")
            assert await captured.runtime.aflush(30)
            with closing(TraceStore(path)) as store:
                [running] = store.recordings(conversation.record())
            assert running.seconds is None
            assert running.path.exists()
        assert await captured.runtime.aflush(30)
        await recorder.aclose()
        with closing(TraceStore(path)) as store:
            assert len(store.recordings(conversation.record())) == left
        assert len([*running.path.parent.iterdir()]) == left
    assert captured.runtime.stats().dropped == {}


async def test_without_a_store(caplog: pytest.LogCaptureFixture) -> None:
    """The call goes on, and one line says that it isn't recorded."""
    with capture():
        await _recorded(telemetry.conversation("call", id="c-1"), Recorder(), _Silence())
    assert caplog.messages == [
        "conversation c-1 is not recorded: there is no store to keep the recording"
    ]


async def test_a_folder_that_cannot_be_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Likewise."""
    (tmp_path / "traces.db.audio").write_text("a file of somebody's")
    with capture(store=tmp_path / "traces.db") as captured:
        conversation = telemetry.conversation("call", id="c-1")
        await _recorded(conversation, Recorder(), _Silence())
        assert await captured.runtime.aflush(30)
    [line] = caplog.messages
    assert line.startswith("conversation c-1 is not recorded: ")
    assert line.endswith("traces.db.audio can't be written to: File exists")
    assert (tmp_path / "traces.db.audio").read_text() == "a file of somebody's"


async def test_a_disk_that_does_not_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call goes on after a second, and the loop's threads are free all the while for others."""
    loop, waits, answers = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def create(_: AudioFile) -> None:
        loop.call_soon_threadsafe(waits.set)
        answers.wait()

    monkeypatch.setattr(AudioFile, "create", create)
    loop.set_default_executor(ThreadPoolExecutor(1))
    with capture(store=tmp_path / "traces.db"):
        conversation = telemetry.conversation("call", id="c-1")
        call = asyncio.create_task(_recorded(conversation, Recorder(), _Silence()))
        try:
            async with asyncio.timeout(10):
                await waits.wait()
                await asyncio.to_thread(time.monotonic)
                await call
        finally:
            answers.set()
    assert caplog.messages == ["conversation c-1 is not recorded: the disk doesn't answer"]


def test_a_program_that_ends_with_its_call(tmp_path: Path) -> None:
    """Nobody waits for the recorder, and its task is cancelled: the file is complete, and its
    thread has ended."""

    async def hold() -> None:
        session = AgentSession[None](vad=None)
        session.input.audio, session.output.audio = _Silence(), Speaker()
        conversation = telemetry.conversation("call")
        await Recorder().begin(session, conversation)
        conversation.close()

    before = {*threading.enumerate()}
    with capture(store=tmp_path / "traces.db"):
        asyncio.run(hold())
        for thread in {*threading.enumerate()} - before:
            if "encode" in thread.name:
                thread.join(10)
                assert not thread.is_alive()
    [file] = (tmp_path / "traces.db.audio").iterdir()
    assert seconds_of(file) is not None


async def test_a_disk_that_is_full(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call goes on; one line says that its recording ends, and it is no error of the call's."""
    monkeypatch.setattr("livekit.agents.voice.recorder_io.recorder_io.WRITE_INTERVAL", 0.1)
    with capture(store=tmp_path / "traces.db") as captured:
        conversation = telemetry.conversation("call")
        folder = tmp_path / "traces.db.audio"
        folder.mkdir()
        name = f"{conversation.trace_id}-{conversation.root.id}.ogg"
        (folder / name).symlink_to("/dev/full")
        await _recorded(conversation, Recorder(), Line())
        assert await captured.runtime.aflush(30)
        assert captured.errors == []
    [record] = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "a recording ends here, and the call goes on: " in record.getMessage()
    assert "No space left on device" in record.getMessage()
    assert record.exc_info is None


def test_a_process_that_is_killed(tmp_path: Path) -> None:
    """The file stays as far as it was written, and can be played; its conversation is aborted."""
    path = tmp_path / "traces.db"
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.kill()
    process.wait()
    process.stdout.close()
    with telemetry.init(store=path) as runtime:
        assert runtime.recover(30)
        with closing(TraceStore(path)) as store:
            [conversation] = store.conversations()
            [found] = store.recordings(conversation)
    assert conversation.status == "aborted"
    assert found.seconds is not None
    assert len(samples_of(found.path)[0]) / HZ == pytest.approx(found.seconds, abs=0.02)


class _Silence(io.AudioInput):
    """A line on which nothing comes."""

    def __init__(self) -> None:
        super().__init__(label="line")

    async def __anext__(self) -> rtc.AudioFrame:
        raise StopAsyncIteration


def _has_audio(file: Path) -> bool:
    """Whether there is more in a recording than its head."""
    return file.stat().st_size > 4_000


class _Endless(io.AudioInput):
    """A line on which there is always noise; it says when some of that has been written."""

    def __init__(self, store: Path) -> None:
        super().__init__(label="line")
        self._folder = store.with_name(f"{store.name}.audio")
        self._has_said = False

    async def __anext__(self) -> rtc.AudioFrame:
        await asyncio.sleep(FRAME_SECONDS)
        if not self._has_said and any(map(_has_audio, self._folder.glob("*"))):
            self._has_said = True
            sys.stdout.write("written\n")
            sys.stdout.flush()
        size = round(RATE * FRAME_SECONDS)
        noise = np.random.default_rng(1).integers(-9_000, 9_000, size)
        return rtc.AudioFrame(noise.astype("<i2").tobytes(), RATE, 1, size)


async def _record_until_killed(store: Path) -> None:
    with telemetry.init(store=store):
        await _recorded(telemetry.conversation("call"), Recorder(), _Endless(store))


if __name__ == "__main__":
    asyncio.run(_record_until_killed(Path(sys.argv[1])))
