"""Turns: which there are, what each answers, and what they come to together.

A turn (``conversation.turn``) begins when the caller starts to speak, or the agent does unasked,
and ends when the agent's reply has played or was cut. LiveKit has no such span: its ``user_turn``
and ``agent_turn`` stand side by side. Here both become children of their turn.

What happens in a turn is told by LiveKit's spans (:mod:`.spans`) and its session's events
(:mod:`.events`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ... import attributes as names
from ..harmless import harmless
from .latency import percentiles
from .turn import Caller, Turn, Usage
from .vocabulary import ORIGIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...trace.conversation import Conversation
    from ...trace.span import Span


class Turns:
    """The turns of one conversation.

    Attributes:
        conversation: theirs.
        hearing: the caller's latest turn, until it is over.
        session_span: LiveKit's span of the session, once that has started.
        asked_from: speeches that haven't begun, and the caller's own span that asked for each.
        usage: what models were used in all.
    """

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.hearing: Turn | None = None
        self.session_span: Span | None = None
        self.asked_from: dict[str, str] = {}
        self.usage = Usage()
        self._turns: dict[str, Turn] = {}
        self._spoken_in: dict[str, Turn] = {}
        self._count = 0
        self._interruptions = 0
        self._latencies: list[float] = []
        self._on_close: list[Callable[[], object]] = []

    # -- which turn ------------------------------------------------------------------------------

    def begin(self, caller: Caller, parent: Span, started_at: float | None) -> Turn:
        """A new turn, of the caller's or of an agent that speaks unasked."""
        if (before := self.hearing) is not None and not before.is_open:
            self.end(before)  # it waited for an answer; none will come now
        initiator = "agent" if caller is Caller.SILENT else "user"
        span = parent.start_span(
            names.OP_TURN,
            f"turn {self._count}",
            started_at=started_at,
            attributes={names.TURN_INDEX: self._count, names.TURN_INITIATOR: initiator},
        )
        span.origin = ORIGIN
        turn = self._turns[span.id] = Turn(span, self._count, caller)
        self._count += 1
        if caller is Caller.SPEAKING:
            self.hearing = turn
        return turn

    def of(self, span: Span | None) -> Turn | None:
        """The turn that a span is in."""
        while span is not None:
            if (turn := self._turns.get(span.id)) is not None:
                return turn
            span = span.parent
        return None

    def speech_in(self, turn: Turn, speech_id: str) -> None:
        """A speech of the agent's belongs to this turn."""
        turn.speeches.add(speech_id)
        self._spoken_in[speech_id] = turn

    def of_speech(self, speech_id: str) -> Turn | None:
        """The turn that a speech of the agent's belongs to."""
        return self._spoken_in.get(speech_id)

    def speech_over(self, speech_id: str) -> None:
        """A speech of the agent's is done."""
        self.asked_from.pop(speech_id, None)
        turn = self._spoken_in.pop(speech_id, None)
        if turn is not None:
            turn.speeches.discard(speech_id)
            self.part_over(turn, turn.over_at or time.time())

    def speaking(self) -> Turn | None:
        """The newest turn in which the agent has begun to be heard, and isn't done."""
        return next((t for t in self._newest_first() if t.speeches and t.heard), None)

    def audible(self, at: float) -> None:
        """The first audible sample of agent speech left at this time."""
        for turn in self._newest_first():
            if turn.speeches and turn.marks.audible_at is None:
                turn.marks.audible_at = at
                return

    # -- how it goes -----------------------------------------------------------------------------

    def heard_elsewhere(self, turn: Turn, now: float) -> None:
        """The agent starts to speak in one turn: what that is to another one of the caller's."""
        other = self.hearing
        if other is None or other is turn:
            return
        if other.speaking_since is not None:
            other.span.set({names.INTERRUPTED_BY: "agent"})
            turn.span.set({names.INTERRUPTS: other.index})
        elif other.awaits_answer and not other.is_open:
            # asked within a tool of an older turn, which goes on now
            other.marks.first_frame_at = now
            self.part_over(other, now)

    def spoken(self, turn: Turn, agent_turn: Span) -> None:
        """A speech is over: say how it went where it was heard, and who cut it short."""
        how: dict[str, Any] = {
            key: agent_turn.attributes[key]
            for key in (names.INTERRUPTED, names.PLAYED)
            if key in agent_turn.attributes
        }
        if how.get(names.INTERRUPTED):
            source = agent_turn.attributes.get("lk.interruption.source", "programmatic")
            by_user = source != "programmatic"
            how[names.INTERRUPTED_BY] = "user" if by_user else "application"
        if not turn.release(agent_turn, how):
            return
        turn.span.set(how)
        if how.get(names.INTERRUPTED):
            self._interruptions += 1
            other = self.hearing
            if by_user and other is not None and other is not turn:
                other.span.set({names.INTERRUPTS: turn.index})

    def part_over(self, turn: Turn, now: float) -> None:
        """End the turn if that was its last part; a question stays open to a late answer."""
        turn.over_at = max(now, turn.over_at or now)
        if not turn.is_open and not (turn.awaits_answer and turn is self.hearing):
            self.end(turn)

    def end(self, turn: Turn) -> None:
        """End the turn, whatever is open in it."""
        if self._turns.pop(turn.span.id, None) is None:
            return
        if self.hearing is turn:
            self.hearing = None
        ended_at = time.time() if turn.is_open or turn.over_at is None else turn.over_at
        latency = turn.end(ended_at)
        if latency is not None:
            self._latencies.append(latency)

    # -- the session -----------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """True from the start of the session until it closes."""
        return self.session_span is not None and self.session_span.is_open

    def on_close(self, function: Callable[[], object]) -> None:
        """Call ``function`` when the session is over, before the conversation is closed."""
        self._on_close.append(harmless(function))

    def close(self, error: BaseException | None = None) -> None:
        """The session is over: end what is open, sum up, close the conversation."""
        while self._on_close:
            self._on_close.pop()()
        for turn in list(self._turns.values()):
            self._end(turn)
        self._sum_up(error)
        self.conversation.close(error)

    @harmless
    def _end(self, turn: Turn) -> None:
        self.end(turn)

    @harmless
    def _sum_up(self, error: BaseException | None) -> None:
        if error is not None and self.session_span is not None:
            self.session_span.fail(error)
            self.session_span.finish()  # LiveKit doesn't end it when it can't start
        self.conversation.set(
            {
                names.CONVERSATION_TURNS: self._count,
                names.CONVERSATION_INTERRUPTIONS: self._interruptions,
                **percentiles(self._latencies),
                **self.usage.attributes(),
            }
        )

    def _newest_first(self) -> list[Turn]:
        return list(self._turns.values())[::-1]
