"""What is typed in LiveKit's chat, by senders that break it off, never stop, or never finish."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import anyio
from livekit import rtc

from agent.gateway import MAX_TEXT_CHARACTERS
from agent.metrics import Limit
from agent.rooms import chat
from tests.agent.counted import reaching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


class Reader:
    """A text stream as LiveKit hands it over; chunks come as they are asked for."""

    def __init__(self, *chunks: str, then: Exception | None = None, ends: bool = True) -> None:
        self.closed = False
        self.left = list(chunks)
        self._then = then
        self._ends = ends

    async def __aiter__(self) -> AsyncIterator[str]:
        while self.left:
            yield self.left.pop(0)
        if self._then is not None:
            raise self._then
        if not self._ends:
            await anyio.sleep_forever()

    def close(self) -> None:
        self.closed = True


async def heard(reader: Reader) -> list[str]:
    """What a session hears of it."""
    said: list[str] = []
    await chat.read(cast("rtc.TextStreamReader", reader), said.append)
    assert reader.closed
    return said


async def test_a_text_is_heard() -> None:
    """A text is heard once, whole; a blank one isn't."""
    assert await heard(Reader("A table ", "for two")) == ["A table for two"]
    assert await heard(Reader(" ", "\n")) == []


async def test_a_text_without_end() -> None:
    """Of a text that is too long no more is read than a turn may have."""
    reader = Reader(*["x" * 1000] * 100, ends=False)
    assert await heard(reader) == ["x" * MAX_TEXT_CHARACTERS]
    assert len(reader.left) == 100 - MAX_TEXT_CHARACTERS // 1000


async def test_a_text_that_is_broken_off() -> None:
    """What was broken off isn't heard, and ends nothing."""
    assert await heard(Reader("A table", then=rtc.StreamError("aborted"))) == []


async def test_a_text_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What isn't whole in time isn't heard."""
    monkeypatch.setattr(chat, "READ_TIMEOUT_SECONDS", 0.01)
    with reaching(Limit.TEXT, times=1):
        assert await heard(Reader("A table", ends=False)) == []
