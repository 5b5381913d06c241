"""Budgets: a caller's share of the process, over whatever transport. No I/O.

Each counts what one caller sends against a clock that doesn't jump, and raises
:class:`~agent.gateway.protocol.ProtocolError` once that is more than anybody talks or types: the
call is closed, with the code :attr:`~agent.gateway.protocol.CloseCode.TOO_FAST`. So what waits for
a caller, what is kept of it and what a turn of it costs have a bound, and others don't pay.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from .protocol import FRAME_SECONDS, CloseCode, ProtocolError

MAX_AHEAD_SECONDS: Final = 10.0
"""Length of the audio that may come ahead of real time: what a network that stood still for so long
delivers at once."""
_SOUND_CARD: Final = 1.02
"""Seconds of audio that pass for one second: no sound card's clock is faster."""

MAX_TYPED_TURNS: Final = 10
"""Number of typed turns taken in any :data:`TYPED_WITHIN_SECONDS`: more than anybody types, and
each one may cost a request to a language model."""
TYPED_WITHIN_SECONDS: Final = 10.0
MAX_TYPED_CHARACTERS: Final = 20_000
"""Number of characters taken in any :data:`CHARACTERS_WITHIN_SECONDS`: all of them are part of what
the language model is told at each turn that follows."""
CHARACTERS_WITHIN_SECONDS: Final = 60.0


class FramePace:
    """The frames that a caller has sent ahead of real time: each is 20 ms of it, audio or not."""

    def __init__(self) -> None:
        self._ahead = 0.0
        """Seconds of it, at the time of the last frame."""
        self._at: float | None = None

    def count(self, now: float, seconds: float = FRAME_SECONDS) -> None:
        """Count so much more, at ``now``. Raises :class:`ProtocolError` when it is further
        ahead of real time than :data:`MAX_AHEAD_SECONDS`."""
        if self._at is not None:
            self._ahead = max(0.0, self._ahead - (now - self._at) * _SOUND_CARD)
        self._at = now
        self._ahead += seconds
        if self._ahead > MAX_AHEAD_SECONDS:
            limit = f"more than {MAX_AHEAD_SECONDS:g} s of audio ahead of real time"
            raise ProtocolError(CloseCode.TOO_FAST, limit)


class TypedTurns:
    """A call's latest typed turns, and how long they were."""

    def __init__(self) -> None:
        self._at: deque[float] = deque(maxlen=MAX_TYPED_TURNS)
        self._lengths: deque[tuple[float, int]] = deque()
        self._characters = 0
        """Sum of these lengths."""

    def count(self, now: float) -> None:
        """Count one more, at ``now``. Raises :class:`ProtocolError` for one too many, which isn't
        counted."""
        if len(self._at) == MAX_TYPED_TURNS and now - self._at[0] < TYPED_WITHIN_SECONDS:
            limit = f"more than {MAX_TYPED_TURNS} typed turns in {TYPED_WITHIN_SECONDS:g} s"
            raise ProtocolError(CloseCode.TOO_FAST, limit)
        self._at.append(now)

    def measure(self, now: float, characters: int) -> None:
        """Count the characters of one, at ``now``. Raises :class:`ProtocolError` for too many."""
        while self._lengths and now - self._lengths[0][0] >= CHARACTERS_WITHIN_SECONDS:
            self._characters -= self._lengths.popleft()[1]
        self._lengths.append((now, characters))
        self._characters += characters
        if self._characters > MAX_TYPED_CHARACTERS:
            limit = (
                f"more than {MAX_TYPED_CHARACTERS} typed characters in "
                f"{CHARACTERS_WITHIN_SECONDS:g} s"
            )
            raise ProtocolError(CloseCode.TOO_FAST, limit)
