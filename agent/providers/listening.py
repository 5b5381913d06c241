"""The way in which a session's plugins listen to a caller who pauses."""

from __future__ import annotations

from dataclasses import dataclass

from .speech_events import MIN_SILENCE_SECONDS


@dataclass(frozen=True, slots=True)
class Listening:
    """Times in seconds."""

    pause: float = MIN_SILENCE_SECONDS
    """Silence that ends a stretch of speech."""
    hold: float = 0.0
    """Time for which recognition on this machine keeps an unfinished sentence, so as to recognise
    it together with what comes: in pieces it hears nearly three times as many words wrong."""
