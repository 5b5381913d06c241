"""A caller's hearing: the agent's audio and messages, sorted into rounds as they arrive.

A round is a turn of the caller and all that comes of it, until the caller's next turn; the
greeting answers nobody and is a round of its own. Times are Unix seconds at the caller.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import anyio

from agent.gateway import protocol
from agent.simulator.audio import FRAME_SECONDS, first_audible, last_audible
from agent.simulator.voice import Voice

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.session.line import Outcome

HELD_SECONDS: Final = 0.6
"""Silence in the middle of a speech that is being held back, not pausing for breath. A line that is
silent and one on which nothing comes are the same to a caller."""
_ECHO_FRAMES: Final = 10
"""Number of frames that may wait to be heard back through the caller's own microphone."""


@dataclass(slots=True)
class AgentSpeech:
    """One speech of the agent's, as it was heard."""

    began_at: float
    voice: Voice = field(default_factory=Voice)
    words: list[str] = field(default_factory=list)
    """The words of it, as the agent tells them."""
    ended_at: float | None = None
    cut: bool = False
    """True when its end was cut off: the gateway had the rest of it thrown away."""

    @property
    def holds(self) -> list[tuple[float, float]]:
        """Times at which it was held back, and went on."""
        return [
            (out, on)
            for (_, out), (on, _) in pairwise(self.voice.stretches)
            if on - out > HELD_SECONDS
        ]

    @property
    def silent_at(self) -> float:
        """Time at which it was last heard; its beginning, if it never was."""
        return self.began_at if self.voice.last is None else self.voice.last

    def audible_since(self, now: float) -> float | None:
        """Time since which it can be heard; None while it can't, or is held back."""
        last = self.voice.last
        if last is None or now - last > HELD_SECONDS:
            return None
        holds = self.holds
        return holds[-1][1] if holds else self.voice.first

    def hear(self, frame: bytes, at: float) -> None:
        """Take its next frame."""
        first, last = first_audible(frame), last_audible(frame)
        if first is not None and last is not None:
            self.voice.add(at + first, at + last)


@dataclass(slots=True)
class Round:
    """All that came of a turn."""

    heard: list[str] = field(default_factory=list)
    """Words that the agent heard from the caller."""
    reply: list[str] = field(default_factory=list)
    """Words of the agent."""
    tools: list[protocol.Tool] = field(default_factory=list)
    began_at: float | None = None
    """The caller's first voiced sample, or when it typed; None while it has done neither."""
    voiced_until: float | None = None
    """The caller's last voiced sample."""
    reached_until: float | None = None
    """The last of them that the line didn't swallow."""
    answered: bool = False
    """True when the agent has begun to speak, and the caller not spoken since."""
    audible_at: float | None = None
    """The first audible sample of that answer."""
    spoken_into: int = 0
    """Speeches of the agent's that began before the caller had finished."""
    pauses_ms: tuple[int, ...] = ()
    """Lengths of the pauses that the caller makes within the turn."""
    is_said: bool = False
    """True once all of it is said, where there are such pauses."""
    taken_at: float | None = None
    """Time at which the agent first took the turn for finished: it began to think, or to speak."""
    failures: list[str] = field(default_factory=list)
    """Reasons why the caller gave up."""

    @property
    def measured(self) -> float | None:
        """Seconds from the caller's last voiced to the agent's first audible sample."""
        if self.voiced_until is None or self.audible_at is None:
            return None
        return self.audible_at - self.voiced_until

    @property
    def cut_off_after(self) -> float | None:
        """Seconds after the beginning of a turn with pauses at which the agent took it for
        finished; None if it let the caller finish."""
        taken, began, until = self.taken_at, self.began_at, self.voiced_until
        if not self.pauses_ms or taken is None or began is None or until is None:
            return None
        return taken - began if taken <= until or not self.is_said else None

    @property
    def swallowed(self) -> float:
        """Seconds of the end of what the caller said that the line swallowed."""
        if self.voiced_until is None or self.reached_until is None:
            return 0.0
        return self.voiced_until - self.reached_until


class Hearing:
    """The ears of a caller: they take in the agent's messages, and the caller can wait for them."""

    def __init__(self) -> None:
        self.current = Round()
        self.caller = Voice()
        """The caller's own voice."""
        self.speeches: list[AgentSpeech] = []
        self.ahead_seconds = FRAME_SECONDS
        """Length of the audio that comes before it is played, at most."""
        self.outcome: Outcome | None = None
        """The call's outcome, once the agent has told it."""
        self._gap: float | None = None
        """Seconds waited for the answer that has just begun to be heard."""
        self._playing: AgentSpeech | None = None
        self._played_until = 0.0
        """End of the playing of the latest frame."""
        self._busy = False
        self._words_due = False
        self._speaking_in = self.current
        self._echo: deque[bytes] = deque(maxlen=_ECHO_FRAMES)
        self._changed = anyio.Event()

    # -- what happens ------------------------------------------------------------------------------

    def begin(self) -> Round:
        """Begin the caller's turn: all that arrives now belongs to a new round."""
        self.current = Round()
        return self.current

    def voiced(self, since: float, until: float, *, swallowed: bool = False) -> None:
        """Note that the caller is speaking; the agent's words up to now don't answer it.

        ``swallowed``: the line lost these samples, or they drowned in its noise.
        """
        this = self.current
        self.caller.add(since, until)
        if this.began_at is None:
            this.began_at = since
        elif this.answered:
            this.spoken_into += 1
        this.voiced_until = until
        if not swallowed:
            this.reached_until = until
        this.answered = False
        this.audible_at = None

    def typed(self) -> None:
        """Note that the caller has typed its turn."""
        self.current.began_at = time.time()

    def take(self, message: protocol.GatewayMessage) -> None:
        """Take in a message that has just arrived."""
        match message:
            case bytes():
                if not self._listen(message):
                    return
            case protocol.AudioStarted():
                self._playing = AgentSpeech(began_at=time.time())
                self.speeches.append(self._playing)
                self._words_due = True
                self._speaking_in = self.current
                self.current.answered = True
                self._take_turn()
            case protocol.AudioEnded():
                if self._playing is not None:
                    self._playing.ended_at = time.time()
                    self._playing.cut = message.interrupted
                self._playing = None
            case protocol.Flush():
                self._echo.clear()
                self._played_until = time.time()
                if self.speeches:
                    self.speeches[-1].voice.cut(self._played_until)
            case protocol.State():
                self._busy = message.agent in {"thinking", "speaking"}
                if message.agent == "thinking":
                    self._take_turn()
            case protocol.Words(speaker="user", final=True):
                self.current.heard.append(message.text)
            case protocol.Words(speaker="agent", final=True):
                # words come when they have been played: the caller may have cut in since
                self._speaking_in.reply.append(message.text)
                if self.speeches:
                    self.speeches[-1].words.append(message.text)
                self._words_due = False
            case protocol.Tool():
                self.current.tools.append(message)
            case protocol.Ended():
                self.outcome = message.outcome
        self._changed.set()
        self._changed = anyio.Event()

    def _take_turn(self) -> None:
        """Note that the agent takes the turn for finished, once the caller has begun it."""
        if self.current.began_at is not None and self.current.taken_at is None:
            self.current.taken_at = time.time()

    def _listen(self, frame: bytes) -> bool:
        """Hear a frame, which is played as it arrives, or after those that came before it and are
        still to be played; True if that is news to anybody.

        A sound after the end of a speech was told is a part of it: in a room, audio takes
        longer than messages.
        """
        self._echo.append(frame)
        if not self.speeches:
            return False
        speech, now = self.speeches[-1], time.time()
        unheard = speech.audible_since(now) is None
        at = max(now, min(self._played_until, now + self.ahead_seconds))
        self._played_until = at + FRAME_SECONDS
        speech.hear(frame, at)
        since = speech.audible_since(now)
        if since is None or not unheard:
            return False
        if self.current.answered and self.current.audible_at is None:
            self.current.audible_at = since
            self._gap = self.current.measured
        return True

    def new_gap(self) -> float | None:
        """Seconds that were waited for an answer, once, when it begins to be heard; else None."""
        gap, self._gap = self._gap, None
        return gap

    def echo(self) -> bytes | None:
        """The frame now heard, for a microphone that stands beside the loudspeaker."""
        return self._echo.popleft() if self._echo else None

    # -- waiting -----------------------------------------------------------------------------------

    async def answer(self) -> None:
        """Wait until the agent has begun to answer."""
        await self._until(lambda: self.current.answered)

    async def audible(self) -> float:
        """Wait until a speech of the agent's can be heard; returns since when it could.

        One that is held back, since the caller has cut into it, can't until it goes on.
        """
        while True:
            speech = self._playing
            if speech is not None and (since := speech.audible_since(time.time())) is not None:
                return since
            await self._changed.wait()

    async def quiet(self, gap: float) -> None:
        """Wait until the agent has had nothing to say for ``gap`` seconds, and wasn't heard."""
        while True:
            await self._until(lambda: self._silent)
            since = time.time()
            while self._silent:
                heard = self.speeches[-1].silent_at if self.speeches else since
                left = max(since, heard) + gap - time.time()
                if left <= 0:
                    return
                with anyio.move_on_after(left):
                    await self._until(lambda: not self._silent)

    async def words(self) -> None:
        """Wait until the words of what the agent said have arrived."""
        await self._until(lambda: not self._words_due)

    @property
    def _silent(self) -> bool:
        return self._playing is None and not self._busy

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self._changed.wait()
