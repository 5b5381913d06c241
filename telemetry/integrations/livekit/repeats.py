"""An error is reported once: LiveKit logs what it has told the session of already.

A provider's error comes as an event first, then as it passes through LiveKit's tasks, wrapped or
not, and when the session closes over it.
"""

from __future__ import annotations

import logging
from typing import Final

from ...delivery.log_events import REPORTED
from ...trace.span import current_span
from ..harmless import harmless
from .livekit_span import listeners

_LOGGER: Final = "livekit.agents"
_CLOSING: Final = "AgentSession is closing due to unrecoverable error"
_DEPTH: Final = 10
"""Causes looked at; they may go in a circle."""


def reported(error: BaseException) -> None:
    """Remember that this error was reported."""
    setattr(error, REPORTED, True)


def mark() -> None:
    """From now on, mark LiveKit's log records that repeat a reported error."""
    logging.getLogger(_LOGGER).addFilter(_marked)


def _marked(record: logging.LogRecord) -> bool:
    """A filter that lets everything pass: Sentry gets a marked record as a breadcrumb only."""
    if record.levelno >= logging.ERROR and _repeats(record):
        setattr(record, REPORTED, True)
    return True


@harmless
def _repeats(record: logging.LogRecord) -> bool:
    if str(record.msg).startswith(_CLOSING):
        here = current_span()
        return here is not None and here.conversation in listeners
    error = record.exc_info[1] if record.exc_info else None
    for _ in range(_DEPTH):
        if error is None or getattr(error, REPORTED, False):
            return error is not None
        error = error.__cause__ or error.__context__
    return False
