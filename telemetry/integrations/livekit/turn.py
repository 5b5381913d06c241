"""One turn: what was seen of it, and what it comes to when it is over."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from ... import attributes as names
from .latency import Marks, Step, tile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...trace.span import Span
    from .livekit_span import LiveKitSpan


class Caller(Enum):
    """The caller's part in a turn."""

    SILENT = auto()
    """None: the agent spoke unasked."""
    SPEAKING = auto()
    """They speak, or have paused."""
    DECIDED = auto()
    """They are done; the agent is being asked what it makes of it."""
    ASKED = auto()
    """They are done, and an answer is due."""
    DECLINED = auto()
    """They are done, and the agent chose not to answer."""
    DROPPED = auto()
    """Nothing came of it: a noise, a word taken back."""

    @property
    def is_open(self) -> bool:
        """True while more may come."""
        return self in (Caller.SPEAKING, Caller.DECIDED)


class Usage:
    """The models that were used, and how much of them."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._models: dict[str, None] = {}

    def add(self, name: str, amount: float) -> None:
        """Count more of something; names as under :data:`telemetry.attributes.USAGE`."""
        self._sums[name] = self._sums.get(name, 0) + amount

    def served_by(self, model: str) -> None:
        """A model took part."""
        self._models[model] = None

    def attributes(self) -> dict[str, Any]:
        """All of it as attributes."""
        sums: dict[str, Any] = {names.USAGE + name: total for name, total in self._sums.items()}
        return sums | ({names.MODELS: list(self._models)} if self._models else {})


class Turn:
    """One turn, until :meth:`end`.

    Attributes:
        caller: the caller's part in it.
        is_framed: whether LiveKit says when the caller's part is over (``user_turn``); a realtime
            model that hears by itself only tells of speech.
        is_realtime: whether the model makes the sound itself.
        speeches: ids of the agent's speeches in it that aren't done.
        over_at: when its last part ended (Unix seconds).
        decider: the task that said or decided something last for the caller. A speech made in it
            is the answer.
        false_interruptions: how often its speech was paused for nothing.
        requests: spans of requests to providers. LiveKit doesn't end that of a synthesis which it
            discards; they end with the turn at the latest.
        speaking: the latest ``agent.speech`` in it.
        answered_at: when the agent began to speak with no tool at work (Unix seconds): the answer,
            where the first words were "One moment, please".
    """

    def __init__(self, span: Span, index: int, caller: Caller) -> None:
        self.span = span
        self.index = index
        self.caller = caller
        self.is_framed = True
        self.is_realtime = False
        self.marks = Marks()
        self.usage = Usage()
        self.speaking_since: float | None = None
        self.speeches: set[str] = set()
        self.over_at: float | None = None
        self.decider: asyncio.Task[Any] | None = None
        self.false_interruptions = 0
        self.requests: list[LiveKitSpan] = []
        self.speaking: Span | None = None
        self.answered_at: float | None = None
        self._words: dict[str, list[str]] = {}
        self._held: list[tuple[Span, float]] = []

    @property
    def heard(self) -> bool:
        """True once any of the agent's speech has been played."""
        return self.marks.first_frame_at is not None

    @property
    def is_open(self) -> bool:
        """True while anything in it is under way."""
        return self.caller.is_open or bool(self.speeches)

    @property
    def awaits_answer(self) -> bool:
        """True while the caller is done and has heard nothing."""
        return self.caller in (Caller.DECIDED, Caller.ASKED) and not self.heard

    def said(self, name: str, text: str) -> None:
        """Add words of the caller's or the agent's."""
        self._words.setdefault(name, []).append(text)
        self.span.attributes[name] = " ".join(self._words[name])

    def hold(self, span: Span, ended_at: float) -> None:
        """Keep a span that is over until it is known how its part of the turn went."""
        self._held.append((span, ended_at))

    def release(self, parent: Span, how: Mapping[str, Any]) -> bool:
        """Finish the spans held below ``parent``, with what became known; whether there were any.

        A turn's own attributes say the same of its last speech.
        """
        held = [(span, ended_at) for span, ended_at in self._held if span.parent is parent]
        self._held = [entry for entry in self._held if entry not in held]
        for span, ended_at in held:
            span.set(how)
            span.finish(ended_at)
        return bool(held)

    def step(self, started_at: float) -> Step | None:
        """The request to the model that started then, else the last one."""
        steps = self.marks.steps
        same = (step for step in steps if step.started_at == started_at)
        return next(same, steps[-1] if steps else None)

    def end(self, ended_at: float) -> float | None:
        """Sum it up and finish its spans; returns the response latency in seconds, if it has one.

        The response and its stages become spans of their own, and attributes of the turn.
        """
        for request in self.requests:
            request.end()
        for span, span_ended_at in self._held:
            span.finish(span_ended_at)
        self._held = []
        self.span.set(self.usage.attributes())
        if self.false_interruptions:
            self.span.set({names.FALSE_INTERRUPTIONS: self.false_interruptions})
        latency = self._respond()
        self.span.finish(max(ended_at, self.marks.audible_at or ended_at))
        return latency

    def _respond(self) -> float | None:
        stages = tile(self.marks)
        if not stages:
            return None
        started_at, ended_at = stages[0].started_at, stages[-1].ended_at
        latency = ended_at - started_at
        facts: dict[str, float] = {names.RESPONSE_LATENCY: latency}
        for stage in stages:
            key = names.LATENCY_STAGE + stage.name
            facts[key] = facts.get(key, 0.0) + stage.duration
        first_words = self.marks.first_frame_at
        answered_at = self.answered_at or 0.0
        if first_words is not None and first_words < answered_at:
            facts[names.ANSWER_LATENCY] = answered_at - started_at
        self.span.set(facts)
        response = self.span.start_span(
            names.OP_RESPONSE, "response", started_at=started_at, attributes=facts
        )
        for stage in stages:
            response.start_span(
                f"{names.OP_RESPONSE}.{stage.name}", stage.name, started_at=stage.started_at
            ).finish(stage.ended_at)
        response.finish(ended_at)
        return latency


def current_task() -> asyncio.Task[Any] | None:
    """The task that this runs in, if it is one."""
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None
