"""The record of one session: its turns as spans, and its end.

Puts down what :mod:`.turns` says, where LiveKit's spans are.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ... import attributes as names
from ..harmless import harmless
from .tracer import current_livekit_span, current_span_of_livekit
from .turns import Turns
from .vocabulary import ORIGIN, SPEECH

if TYPE_CHECKING:
    from collections.abc import Callable

    from livekit.agents import SpeechHandle

    from ...trace.conversation import Conversation
    from ...trace.span import Span
    from .latency import Stage
    from .livekit_span import LiveKitSpan
    from .turn import Turn


class _Part:
    """The spans that a turn is made of in the trace.

    Attributes:
        span: the turn's own.
        held: spans that are over, until it is known how their part of the turn went.
        requests: LiveKit's spans of requests to providers. It doesn't end that of a synthesis
            which it discards; they end with the turn at the latest.
        speeches: the agent's speeches (``agent_turn``), by their ids.
        speaking: the latest ``agent.speech``.
        tools: ids of the calls of tools that are recorded.
    """

    def __init__(self, span: Span) -> None:
        self.span = span
        self.held: list[tuple[Span, float]] = []
        self.requests: list[LiveKitSpan] = []
        self.speeches: dict[str, Span] = {}
        self.speaking: Span | None = None
        self.tools: set[str] = set()


class Record:
    """The record of one session.

    Attributes:
        conversation: what it is recorded in.
        turns: its turns.
        session_span: LiveKit's span of the session, once that has started.
        requests: those that the application makes by itself, until they are over. LiveKit doesn't
            end a judge's; they end with the session at the latest.
        is_closing: whether it has begun to close.
        handles: LiveKit's own of speeches that aren't done.
        asked_from: speeches that haven't begun, and the caller's own span that asked for each.
    """

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.turns = Turns(self._over)
        self.session_span: Span | None = None
        self.requests: set[LiveKitSpan] = set()
        self.is_closing = False
        self.handles: dict[str, SpeechHandle] = {}
        self.asked_from: dict[str, str] = {}
        self._parts: dict[int, _Part] = {}
        self._turn_of: dict[str, Turn] = {}
        self._on_close: list[Callable[[], object]] = []

    # -- where a turn is -------------------------------------------------------------------------

    def of(self, span: Span | None) -> Turn | None:
        """The turn that a span is in."""
        while span is not None:
            if (turn := self._turn_of.get(span.id)) is not None:
                return turn
            span = span.parent
        return None

    def span_of(self, turn: Turn, parent: Span, started_at: float | None) -> Span:
        """A turn's span, which begins here if it hasn't."""
        part = self._parts.get(turn.index)
        if part is None:
            span = parent.start_span(names.OP_TURN, f"turn {turn.index}", started_at=started_at)
            span.origin = ORIGIN
            part = self._parts[turn.index] = _Part(span)
            self._turn_of[span.id] = turn
        return part.span

    def part_of(self, turn: Turn) -> _Part:
        """The spans of a turn that has begun."""
        return self._parts[turn.index]

    def here(self) -> Turn | None:
        """The turn that LiveKit acts in, or else the application."""
        return self.of(current_livekit_span()) or self.of(self.conversation.current_span())

    def unused(self, turn: Turn) -> set[str]:
        """Speeches that were made ahead of time, and not wanted so far."""
        return {
            speech
            for speech in turn.speeches
            if (handle := self.handles.get(speech)) is not None and not handle.scheduled
        }

    def go_on(self, agent_turn: LiveKitSpan, speech: str, turn: Turn | None) -> None:
        """LiveKit's span of a speech is that of this one from now on, which may be another turn's.

        So it is with a reply that was made ahead of time and is no use: its span becomes the next
        reply's, even if the agent has declined to answer in between. And so with one that was made
        of the first words of a turn, before the caller was heard to begin it.
        """
        before = agent_turn.span
        if turn is None or (whose := self.of(before)) is turn:
            return
        if whose is not None:
            for earlier, span in self.part_of(whose).speeches.items():
                if span is before:
                    span.set({SPEECH: earlier})
                    self.turns.take_back(whose, {earlier})
        part = self.part_of(turn)
        who = {key: before.attributes[key] for key in _IDENTITY if key in before.attributes}
        span = part.span.start_span(before.op, before.name, attributes={**who, SPEECH: speech})
        agent_turn.go_on_as(span)
        part.speeches[speech] = span
        self.turns.give(speech, turn)
        if (agent := who.get(names.GEN_AI_AGENT_NAME)) is not None:
            self.turns.answered_by(turn, agent)

    def asked_in(self, turn: Turn) -> Turn:
        """The turn of words that are answered by the speech that is made here, in this one."""
        whose, agent_turn = self.turns.answered_in(turn), current_span_of_livekit()
        if whose is not turn and agent_turn is not None and agent_turn.name == "agent_turn":
            self.go_on(agent_turn, agent_turn.span.attributes[SPEECH], whose)
        return whose

    # -- how it went -----------------------------------------------------------------------------

    def said(self, turn: Turn, text: str, *, cut: bool) -> None:
        """Words of the agent's are in the history, as far as they were played."""
        self.turns.said(turn, names.AGENT_WORDS, text, cut=cut)
        part = self._parts.get(turn.index)
        span = None if part is None else part.speaking
        if span is not None:  # a realtime model's messages may share one
            about = span.attributes
            before = about.get(names.AGENT_WORDS)
            about[names.AGENT_WORDS] = text if before is None else f"{before} {text}"
            about[names.INTERRUPTED] = cut or about.get(names.INTERRUPTED, False)

    def played(self, turn: Turn, agent_turn: Span) -> None:
        """A speech is over: say how it went where it was heard, and who cut it short.

        What the history says of a message stands. LiveKit's span is about the speech: that may have
        been stopped in a tool, when all its words had been played.
        """
        part, about = self.part_of(turn), agent_turn.attributes
        mine = [entry for entry in part.held if entry[0].parent is agent_turn]
        part.held = [entry for entry in part.held if entry not in mine]
        stopped = bool(about.get(names.INTERRUPTED))
        for number, (span, ended_at) in enumerate(mine, start=1):
            is_last = number == len(mine)
            how = self.turns.agent_played(
                turn,
                cut=span.attributes.get(names.INTERRUPTED, stopped and is_last),
                by=about.get("lk.interruption.source", "programmatic") if stopped else None,
                played=about.get(names.PLAYED) if is_last else None,
            )
            span.set(how)
            span.finish(ended_at)

    @harmless
    def _over(self, turn: Turn, ended_at: float, stages: list[Stage]) -> None:
        """Finish a turn's spans; the response and its stages become spans of their own."""
        part = self._parts.pop(turn.index)
        del self._turn_of[part.span.id]
        for request in part.requests:
            request.end()
        for span, span_ended_at in part.held:
            if span_ended_at > ended_at:  # a transcript that came late
                span.set({names.OUTLIVES_PARENT: True})
            span.finish(span_ended_at)
        for speech in turn.taken_back & part.speeches.keys():
            part.speeches[speech].finish(ended_at)
        part.span.set(turn.facts)
        if stages:
            started_at = stages[0].started_at
            about = {name: turn.facts[name] for name in turn.facts if name.startswith(_RESPONSE)}
            response = part.span.start_span(
                names.OP_RESPONSE, "response", started_at=started_at, attributes=about
            )
            for stage in stages:
                response.start_span(
                    f"{names.OP_RESPONSE}.{stage.name}", stage.name, started_at=stage.started_at
                ).finish(stage.ended_at)
            response.finish(stages[-1].ended_at)
        part.span.finish(ended_at)

    # -- the session -----------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """True from the start of the session until it closes."""
        return self.session_span is not None and self.session_span.is_open

    def on_close(self, function: Callable[[], object]) -> None:
        """Call ``function`` when the session is over, before the conversation is closed."""
        self._on_close.append(harmless(function))

    def close(self, error: BaseException | None = None, *, at: float | None = None) -> None:
        """The session is over: end what is open, sum up, close the conversation."""
        while self._on_close:
            self._on_close.pop()()
        self._sum_up(error, time.time() if at is None else at)
        self.conversation.close(error)

    @harmless
    def _sum_up(self, error: BaseException | None, now: float) -> None:
        if error is not None and self.session_span is not None:
            self.session_span.fail(error)
            self.session_span.finish(now)  # LiveKit doesn't end it when it can't start
        for request in list(self.requests):
            request.end()
        self.conversation.set(self.turns.close(now))


_RESPONSE = f"{names.OP_RESPONSE}."
_IDENTITY = (names.GEN_AI_AGENT_NAME, names.GEN_AI_OPERATION_NAME)
