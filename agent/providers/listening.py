"""The way in which a session's plugins listen to a caller who pauses."""

from __future__ import annotations

from dataclasses import dataclass

from .speech_events import MIN_SILENCE_SECONDS
from .unfinished import Ending


@dataclass(frozen=True, slots=True)
class Listening:
    """Times in seconds."""

    pause: float = MIN_SILENCE_SECONDS
    """Silence that ends a stretch of speech."""
    hold: float = 0.0
    """Time for which recognition on this machine keeps an unfinished sentence, so as to recognise
    it together with what comes: in pieces it hears nearly three times as many words wrong."""
    linger: float = 0.0
    """Time for which it keeps one that may have ended, or not (:attr:`.Ending.LOOSE`)."""

    def wait(self, end: Ending) -> float:
        """Time for which a sentence that ends like this is kept."""
        match end:
            case Ending.OPEN:
                return self.hold
            case Ending.LOOSE:
                return self.linger
            case Ending.CLOSED:
                return 0.0
