"""Typed text from LiveKit's chat: a stream, read no further than a turn may be long."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio
from livekit import rtc

from agent.gateway import MAX_TEXT_CHARACTERS
from agent.metrics import Limit, reached

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

TOPIC: Final = "lk.chat"
"""The topic on which LiveKit's frontends send typed text."""
READ_TIMEOUT_SECONDS: Final = 2.0
"""Time for a text to arrive."""


async def read(reader: rtc.TextStreamReader, hear: Callable[[str], None]) -> None:
    """Read a stream and pass its text on, cut at :data:`~agent.gateway.MAX_TEXT_CHARACTERS`.

    A text that is blank, is broken off or takes more than :data:`READ_TIMEOUT_SECONDS` is ignored.
    """
    text = ""
    try:
        with anyio.fail_after(READ_TIMEOUT_SECONDS):
            async for chunk in reader:
                text += chunk
                if len(text) >= MAX_TEXT_CHARACTERS:
                    break
    except (rtc.StreamError, TimeoutError) as error:  # its sender's, and no reason to end the call
        if isinstance(error, TimeoutError):
            reached(Limit.TEXT)
        why = str(error) or f"not whole in {READ_TIMEOUT_SECONDS:g} s"
        log.info("rooms: a typed text is ignored: %s", why)
        return
    finally:
        reader.close()  # else what is unread is kept for it as long as the process lives
    if text.strip():
        hear(text[:MAX_TEXT_CHARACTERS])
