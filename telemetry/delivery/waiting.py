"""An envelope that waits for Sentry, and what it is worth."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope


class Worth(IntEnum):
    """The order in which envelopes are sent, and in which they stay where there isn't room."""

    CONVERSATION = 0
    ERROR = 1
    """The first error of its kind."""
    OTHER = 2
    """Logs, check-ins and all else."""
    REPEAT = 3
    """An error like one before."""


@dataclass(slots=True, eq=False)
class Waiting:
    """An envelope that waits, or is on its way."""

    envelope: Envelope
    number: int
    """Its place in the order in which they came."""
    events: int
    """Spans in it, or 1."""
    worth: Worth
    size: int = 0
    """Bytes of it, before compression."""
    attempts: int = 0
    not_before: float = 0.0
    """A rate limit holds it back until then (monotonic seconds)."""
    key: str | None = None
    """Its key in the store, if it goes there."""
    is_kept: bool = False
    """The store has it."""
    since: float = field(default_factory=time.time)
    """The time at which it was recorded (Unix seconds)."""
