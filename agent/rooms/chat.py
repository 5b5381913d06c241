"""What a caller types in LiveKit's chat: a text stream, read no further than a turn may be long."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio
from livekit import rtc

from agent.gateway import MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

TOPIC: Final = "lk.chat"
"""What LiveKit's frontends send typed text on."""
READ_TIMEOUT: Final = 2.0
"""Seconds for a text to arrive."""


async def read(reader: rtc.TextStreamReader, hear: Callable[[str], None]) -> None:
    """Read a stream and pass its text on, cut at :data:`~agent.gateway.MAX_TEXT` characters.

    What is blank, is broken off or takes more than :data:`READ_TIMEOUT` is left alone.
    """
    text = ""
    try:
        with anyio.fail_after(READ_TIMEOUT):
            async for chunk in reader:
                text += chunk
                if len(text) >= MAX_TEXT:
                    break
    except (rtc.StreamError, TimeoutError) as error:  # its sender's, and no reason to end the call
        why = str(error) or f"not whole in {READ_TIMEOUT:g} s"
        log.info("rooms: a typed text is left alone: %s", why)
        return
    finally:
        reader.close()  # else what is unread is kept for it as long as the process lives
    if text.strip():
        hear(text[:MAX_TEXT])
