"""The bounds of a store: what is kept in it, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The most there may be; else the oldest go, and of what waits for Sentry the least worth."""

    conversations: int = 10_000
    """Conversations that are kept, the newest."""
    seconds: float = 30 * 86_400.0
    """The age up to which they are kept."""
    bytes: int = 2_000_000_000
    """The size of the file past which the oldest go."""
    unsent_seconds: float = 3 * 86_400.0
    """The age up to which envelopes wait for Sentry."""
    unsent_bytes: int = 500_000_000
    """Of envelopes of a process that wait for Sentry, compressed."""
    recording_seconds: float = 30 * 86_400.0
    """The age up to which recordings are kept; they go with their conversation in any case."""
    recording_bytes: int = 2_000_000_000
    """Of all recordings together, past which the oldest go."""
