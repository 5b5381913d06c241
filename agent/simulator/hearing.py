"""What a caller hears: the agent's audio and messages, sorted into rounds as they arrive.

A round is a turn of the caller and all that comes of it, until the caller's next turn; the
greeting answers nobody and is a round of its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from agent.gateway import protocol
from agent.simulator.audio import first_audible

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.session.line import Outcome


@dataclass(slots=True)
class Round:
    """What came of a turn. Times are Unix seconds at the caller."""

    heard: list[str] = field(default_factory=list)
    """What the caller was heard to say."""
    reply: list[str] = field(default_factory=list)
    """What the agent said."""
    tools: list[protocol.Tool] = field(default_factory=list)
    voiced_until: float | None = None
    """The caller's last voiced sample."""
    answered: bool = False
    """The agent has begun to speak, and the caller not spoken since."""
    audible_at: float | None = None
    """The first audible sample of that answer."""
    failures: list[str] = field(default_factory=list)
    """What the caller gave up on."""

    @property
    def measured(self) -> float | None:
        """Seconds from the caller's last voiced to the agent's first audible sample."""
        if self.voiced_until is None or self.audible_at is None:
            return None
        return self.audible_at - self.voiced_until


class Hearing:
    """Takes in what the gateway sends, and lets the caller wait for it."""

    def __init__(self) -> None:
        self.current = Round()
        self.outcome: Outcome | None = None
        """How the call ended, once the agent has said so."""
        self._playing = False
        self._busy = False
        self._words_due = False
        self._speaking_in = self.current
        self._changed = anyio.Event()

    # -- what happens ------------------------------------------------------------------------------

    def begin(self) -> Round:
        """The caller's turn begins: what arrives now belongs to a new round."""
        self.current = Round()
        return self.current

    def voiced(self, at: float) -> None:
        """The caller is speaking; what the agent said meanwhile doesn't answer this."""
        self.current.voiced_until = at
        self.current.answered = False
        self.current.audible_at = None

    def take(self, message: protocol.GatewayMessage) -> None:
        """Something has just arrived."""
        match message:
            case bytes():
                self._listen(message)
                return
            case protocol.AudioStarted():
                self._playing = self._words_due = True
                self._speaking_in = self.current
                self.current.answered = True
            case protocol.AudioEnded():
                self._playing = False
            case protocol.State():
                self._busy = message.agent in {"thinking", "speaking"}
            case protocol.Words(speaker="user", final=True):
                self.current.heard.append(message.text)
            case protocol.Words(speaker="agent", final=True):
                # words come when they have been played: the caller may have cut in since
                self._speaking_in.reply.append(message.text)
                self._words_due = False
            case protocol.Tool():
                self.current.tools.append(message)
            case protocol.Ended():
                self.outcome = message.outcome
        self._changed.set()
        self._changed = anyio.Event()

    def _listen(self, frame: bytes) -> None:
        now = time.time()
        this = self.current
        if this.answered and this.audible_at is None:
            offset = first_audible(frame)
            if offset is not None:
                this.audible_at = now + offset  # a frame is played as it arrives

    # -- waiting -----------------------------------------------------------------------------------

    async def answer(self) -> None:
        """Wait until the agent has begun to answer."""
        await self._until(lambda: self.current.answered)

    async def quiet(self, gap: float) -> None:
        """Wait until the agent has had nothing to say for ``gap`` seconds."""
        while True:
            await self._until(lambda: self._silent)
            with anyio.move_on_after(gap) as pause:
                await self._until(lambda: not self._silent)
            if pause.cancelled_caught:
                return

    async def words(self) -> None:
        """Wait until the words of what the agent said have arrived."""
        await self._until(lambda: not self._words_due)

    @property
    def _silent(self) -> bool:
        return not (self._playing or self._busy)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self._changed.wait()
