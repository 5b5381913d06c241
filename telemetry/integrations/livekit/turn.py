"""One turn, as a value: what is known of it, and what it comes to when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from ... import attributes as names
from .latency import Marks, Stage, percentiles, tile


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


class Late(Enum):
    """A part that may come when a turn that a realtime model hears by itself is over."""

    WORDS = auto()
    """The transcript of what the caller said."""
    FRAME = auto()
    """LiveKit's ``user_turn``, made of what a recogniser beside the model has heard."""


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


@dataclass(eq=False, slots=True)
class Totals:
    """The sums of a conversation's turns, and of what was used outside of any."""

    turns: int = 0
    interruptions: int = 0
    latencies: list[float] = field(default_factory=list)
    """Of the responses, in seconds."""
    usage: Usage = field(default_factory=Usage)

    def attributes(self) -> dict[str, Any]:
        """All of it as attributes."""
        return {
            names.CONVERSATION_TURNS: self.turns,
            names.CONVERSATION_INTERRUPTIONS: self.interruptions,
            **percentiles(self.latencies),
            **self.usage.attributes(),
        }


@dataclass(eq=False, slots=True)
class Turn:
    """One turn; :mod:`.turns` changes it, but for what is at work (:attr:`marks`). Times are Unix
    seconds.
    """

    index: int
    caller: Caller
    started_at: float
    is_framed: bool = True
    """True if LiveKit says when the caller's part is over (``user_turn``); a realtime model that
    hears by itself only tells of speech."""
    is_realtime: bool = False
    """True if the model makes the sound itself."""
    kept_for: set[Late] = field(default_factory=set)
    """The parts it is kept for when it is over, until the caller's next turn is."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The facts known of it, as attributes."""
    marks: Marks = field(default_factory=Marks)
    usage: Usage = field(default_factory=Usage)
    speaking_since: float | None = None
    """The caller is heard, since then."""
    decider: object = None
    """The task that said or decided something last for the caller. A speech made in it is the
    answer."""
    speeches: set[str] = field(default_factory=set)
    """Ids of the agent's speeches in it that aren't done."""
    taken_back: set[str] = field(default_factory=set)
    """Ids of those that were made ahead of time, and that nobody will hear."""
    work: int = 0
    """Requests under way, which may outlast what they are for."""
    over_at: float | None = None
    """When its last part ended."""
    answered_at: float | None = None
    """When the agent began to speak with no tool at work: the answer, where the first words were
    "One moment, please"."""
    false_interruptions: int = 0
    """The times that its speech was paused for nothing."""
    _words: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_heard(self) -> bool:
        """True once any of the agent's speech has been played."""
        return self.marks.first_frame_at is not None

    @property
    def is_open(self) -> bool:
        """True while anything in it is under way."""
        return self.caller.is_open or bool(self.speeches) or self.work > 0

    @property
    def awaits_answer(self) -> bool:
        """True while the caller is done and has heard nothing."""
        return self.caller in (Caller.DECIDED, Caller.ASKED) and not self.is_heard

    def said(self, name: str, text: str) -> None:
        """Add words of the caller's or the agent's, under the attribute's name."""
        self._words.setdefault(name, []).append(text)
        self.facts[name] = " ".join(self._words[name])

    def played(self, *, cut: bool, by: str | None, played: float | None) -> dict[str, Any]:
        """Facts of a speech that is over, as far as it was heard, which are then the turn's.

        Args:
            cut: whether it was cut short.
            by: LiveKit's word for who interrupted it; None if nobody did, and it broke off.
            played: seconds of it that were played, where they were counted.
        """
        how: dict[str, Any] = {names.INTERRUPTED: cut}
        if played is not None:
            how[names.PLAYED] = played
        if cut and by is not None:
            how[names.INTERRUPTED_BY] = "application" if by == "programmatic" else "user"
        self.facts |= how
        return how

    def sum_up(self) -> list[Stage]:
        """Add what it comes to to its facts; the stages of its response, none if it has none."""
        self.facts |= self.usage.attributes()
        if self.false_interruptions:
            self.facts[names.FALSE_INTERRUPTIONS] = self.false_interruptions
        stages = tile(self.marks)
        if stages:
            self.facts |= self._response(stages)
        return stages

    def _response(self, stages: list[Stage]) -> dict[str, float]:
        started_at, ended_at = stages[0].started_at, stages[-1].ended_at
        facts = {names.RESPONSE_LATENCY: ended_at - started_at}
        for stage in stages:
            key = names.LATENCY_STAGE + stage.name
            facts[key] = facts.get(key, 0.0) + stage.duration
        first_words = self.marks.first_frame_at
        answered_at = self.answered_at or 0.0
        if first_words is not None and first_words < answered_at:
            facts[names.ANSWER_LATENCY] = answered_at - started_at
        return facts
