"""A recording that can't go on: it ends, with one line, and the call doesn't notice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.voice import io
from livekit.agents.voice.recorder_io import recorder_io

from telemetry.integrations.livekit import recording
from telemetry.integrations.livekit.recording import Recording
from telemetry.store.ogg import seconds_of

from .providers import Speaker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RATE = 16_000
FRAMES = 60
"""Of 20 ms: two of the batches that are placed together, and more."""


class _Words(io.AudioInput):
    """A caller of so many frames, who come at once."""

    def __init__(self) -> None:
        super().__init__(label="line")
        self.left = FRAMES

    async def __anext__(self) -> rtc.AudioFrame:
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        return rtc.AudioFrame(b"\1\1" * 320, RATE, 1, 320)


async def _begun(file: Path, heard_late: Callable[[], float]) -> tuple[Recording, io.AudioInput]:
    """A recording that runs, and what the session listens to."""
    one = Recording(AgentSession[None](vad=None), heard_late)
    heard = one.record_input(_Words())
    one.record_output(Speaker())
    await one.start(output_path=file)
    return one, heard


def _track_is_gone() -> float:
    raise LookupError("no such track")


GONE = "a recording ends here, and the call goes on: LookupError: no such track"


async def test_a_transport_that_raises(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Asked how late the caller is heard: the session goes on hearing all of them."""
    one, heard = await _begun(tmp_path / "call.ogg", _track_is_gone)
    assert len([frame async for frame in heard]) == FRAMES
    await one.aclose()
    assert caplog.messages == [GONE]
    assert seconds_of(tmp_path / "call.ogg") is not None


async def test_a_transport_that_raises_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is completed, and its thread ends."""
    one, heard = await _begun(tmp_path / "call.ogg", _track_is_gone)
    for _ in range(5):
        await anext(heard)
    await one.aclose()
    assert not one.recording
    assert caplog.messages == [GONE]


class _Clock:
    """The module :mod:`time`, on a machine whose clock somebody sets."""

    def __init__(self) -> None:
        self.set_forward = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        """Unix time, as the clock has it."""
        return time.time() + self.set_forward


@pytest.mark.parametrize("seconds", [60.0, -60.0])
async def test_a_clock_that_is_set(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
) -> None:
    """Neither is the gap written and held in memory, nor is it waited until the clock is there
    again."""
    clock = _Clock()
    monkeypatch.setattr(recorder_io, "time", clock)
    monkeypatch.setattr(recording, "time", clock)
    one, heard = await _begun(tmp_path / "call.ogg", lambda: 0.0)
    for _ in range(FRAMES // 2):
        await anext(heard)
    clock.set_forward = seconds
    assert len([frame async for frame in heard]) == FRAMES // 2
    await one.aclose()
    assert caplog.messages == [
        "a recording ends here, and the call goes on: the machine's clock was set"
    ]
    length = seconds_of(tmp_path / "call.ogg")
    assert length is not None
    assert length < abs(seconds) / 2
