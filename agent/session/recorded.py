"""The calls whose audio is recorded, and kept."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from telemetry.integrations.livekit import Recorder

from .line import Outcome

if TYPE_CHECKING:
    from telemetry import Summary

    from .line import Line

_FAILED: Final = frozenset({Outcome.FAILED.value, Outcome.REFUSED.value})


class Record(enum.StrEnum):
    """The recordings that stay when a call is over."""

    OFF = "off"
    """None: nothing is recorded."""
    FAILED = "failed"
    """Of calls in which something failed. Of the others they are deleted as the call ends."""
    ALL = "all"
    """Of all calls."""

    def recorder(self, line: Line) -> Recorder | None:
        """The recorder of a call on this line; None if it isn't recorded."""
        match self:
            case Record.OFF:
                return None
            case Record.FAILED:
                return Recorder(keep=failed, heard_late=line.heard_late)
            case Record.ALL:
                return Recorder(heard_late=line.heard_late)


def failed(call: Summary) -> bool:
    """True if something failed in a call: a span, a turn, the call itself; or an error was
    reported."""
    return call.failed or call.outcome in _FAILED
