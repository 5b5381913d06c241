"""The contract of a transport and a session: the request, the line, the outcome.

A transport (the gateway's WebSocket, a LiveKit room, a test) builds a :class:`Line` and asks for
a session on it. The session never knows which transport it has; the transport never knows the
words that are said.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from livekit.agents.voice import io


class Outcome(enum.StrEnum):
    """The way a conversation ended."""

    COMPLETED = "completed"
    """The agent said goodbye and ended it."""
    HUNG_UP = "hung_up"
    """The caller ended it, politely or by closing the connection."""
    IDLE = "idle"
    """Nobody spoke for longer than the limit."""
    TIME_LIMIT = "time_limit"
    """It reached the longest duration allowed."""
    REFUSED = "refused"
    """The caller broke the protocol and was disconnected."""
    FAILED = "failed"
    """Something in the session raised and could not be recovered."""
    SHUTDOWN = "shutdown"
    """The process was asked to stop."""


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """A caller's words about itself, before the first sample."""

    id: str | None = None
    """The conversation's id; one is made up when None."""
    user: Mapping[str, Any] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """``sentry-trace`` and ``baggage`` of the caller's own trace, if it has one."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The agent or the caller began or stopped something."""

    agent: Literal["initializing", "idle", "listening", "thinking", "speaking"]
    user: Literal["speaking", "listening", "away"]


@dataclass(frozen=True, slots=True)
class Words:
    """Words heard from the caller, or said by the agent (what was played, at the end of it)."""

    speaker: Literal["user", "agent"]
    text: str
    final: bool


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A tool has run."""

    name: str
    arguments: str
    """JSON."""
    ok: bool


SessionEvent = StateChanged | Words | ToolCalled


class Line(Protocol):
    """A caller's side of a session, as a transport offers it."""

    @property
    def audio_input(self) -> io.AudioInput:
        """Frames of the caller's audio: mono PCM16, any sample rate, in real time."""

    @property
    def audio_output(self) -> io.AudioOutput:
        """Takes the agent's audio faster than real time, plays it in real time, reports both
        ends of playback, and throws the buffered rest away on ``clear_buffer``."""

    def voiced_until(self) -> float | None:
        """The Unix time of the last sample from the caller that can be heard, of the last two
        seconds; None when there is none. Asked once a turn: speech detection notices the end of
        speech late, the audio itself says when it was."""

    def heard_late(self) -> float:
        """The seconds between the caller's speaking and the arrival of that audio here, as far as
        they are known: :meth:`voiced_until` has taken them off."""

    def on_audible(self, function: Callable[[float], None]) -> None:
        """Call ``function`` when the first audible sample of each agent speech is sent, with the
        time that was (Unix seconds). Synthesis begins with silence; the caller waits through it."""

    def send(self, event: SessionEvent) -> None:
        """Tell the caller of an event. Never blocks, never raises."""


class Session(Protocol):
    """A conversation in progress, as a transport sees it."""

    @property
    def id(self) -> str:
        """The conversation's id."""

    @property
    def trace_id(self) -> str:
        """The id of its trace."""

    async def run(self) -> Outcome:
        """Hold the conversation. Returns when it is over and its transaction is closed.

        A failure inside is an outcome, not an exception; only cancellation passes through.
        """

    def end(self, outcome: Outcome) -> None:
        """Ask the conversation to end, for this reason; the first reason stands. A second one cuts
        the farewell short: the caller has gone, or patience has."""

    def hear(self, text: str, headers: Mapping[str, str] | None = None) -> None:
        """Take a turn that the caller typed, with the trace headers it came with."""

    def caller_gap(self, seconds: object) -> None:
        """Take what the caller says that it waited for the answer it begins to hear; it may say
        anything."""


OpenSession = Callable[[SessionRequest, Line], Session]
"""Makes a session for a line; cheap, does no I/O and doesn't start it."""
