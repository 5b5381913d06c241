"""Response latency, tiled: every millisecond from the caller's last voiced sample to the agent's
first audible sample belongs to exactly one stage, so the stages always add up to the total.

Pure functions of time stamps (Unix seconds).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ... import attributes as names


@dataclass(slots=True)
class Step:
    """One request to the language model in a turn, and the tools that it called."""

    started_at: float
    first_token_at: float | None = None
    ended_at: float | None = None
    tools_at: float | None = None
    """The first of its tools was called."""
    tools_ended_at: float | None = None


@dataclass(slots=True)
class Marks:
    """The moments of a turn (Unix seconds); None for what didn't happen, or isn't known."""

    voiced_until: float | None = None
    """The caller's last voiced sample."""
    speech_ended: float | None = None
    """Voice activity detection declared the speech over."""
    transcript_at: float | None = None
    """The final transcript was there."""
    decided_at: float | None = None
    """The turn was decided to be over."""
    steps: list[Step] = field(default_factory=list)
    synthesis_at: float | None = None
    """The first text was given to synthesis."""
    first_byte_at: float | None = None
    """Synthesis returned its first audio."""
    first_frame_at: float | None = None
    """The first frame was sent to the caller."""
    audible_at: float | None = None
    """The first audible sample was sent; the first frame's time when nobody measured it."""

    @property
    def is_working(self) -> bool:
        """True while a tool was called whose result isn't known yet."""
        return bool(self.steps) and (
            self.steps[-1].tools_at is not None and self.steps[-1].tools_ended_at is None
        )

    # -- what is at work; each call tells when

    def model_asked(self, at: float) -> None:
        """A language model is asked, or one that speaks has begun to answer."""
        self.steps.append(Step(at))

    def model_began(self, asked_at: float, after: float) -> None:
        """The model that was asked then has given its first word, after so many seconds."""
        if step := self._step(asked_at):
            step.first_token_at = step.started_at + after

    def model_done(self, asked_at: float, at: float) -> None:
        """The model that was asked then is done."""
        if step := self._step(asked_at):
            step.ended_at = at

    def tool_called(self, at: float) -> None:
        """A tool begins to work."""
        if self.steps and self.steps[-1].tools_at is None:
            self.steps[-1].tools_at = at

    def tool_done(self, at: float) -> None:
        """A tool is done."""
        if self.steps:
            self.steps[-1].tools_ended_at = at

    def voice_asked(self, at: float) -> None:
        """Synthesis is given text."""
        if self.synthesis_at is None:
            self.synthesis_at = at

    def voice_began(self, at: float) -> None:
        """Synthesis has returned sound."""
        if self.first_byte_at is None:
            self.first_byte_at = at

    def _step(self, asked_at: float) -> Step | None:
        same = (step for step in self.steps if step.started_at == asked_at)
        return next(same, self.steps[-1] if self.steps else None)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a response, named as in :data:`telemetry.attributes.STAGES`."""

    name: str
    started_at: float
    ended_at: float

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.ended_at - self.started_at


def tile(marks: Marks) -> list[Stage]:
    """The stages of a response in order, without gaps or overlaps; empty if it has no latency.

    Stages that ran ahead of their turn (a reply generated before the turn was decided) take no
    time of their own. What lies between two stages and belongs to neither is ``unexplained``.
    """
    start, end = marks.voiced_until, marks.audible_at or marks.first_frame_at
    if start is None or end is None or end < start:
        return []
    first_frame = marks.first_frame_at or end
    boundaries: list[tuple[str, float | None]] = [
        ("endpointing", marks.speech_ended),
        ("transcription", None if _is_late(marks) else marks.transcript_at),
        ("turn_decision", marks.decided_at),
    ]
    spoken_at = marks.synthesis_at or first_frame
    steps = [step for step in marks.steps if step.started_at <= spoken_at]
    for step in steps:
        last = step is steps[-1]
        boundaries.append(("unexplained", step.started_at))
        if step.tools_at is None or (last and spoken_at <= step.tools_at):
            boundaries.append(("llm", step.first_token_at if last else step.ended_at))
            continue
        ended_at = step.tools_ended_at
        if last:  # a tool says the first words itself, while it works
            ended_at = spoken_at if ended_at is None else min(ended_at, spoken_at)
        boundaries += [("llm", step.tools_at), ("tools", ended_at)]
    boundaries += [
        ("first_sentence", marks.synthesis_at),
        ("synthesis", marks.first_byte_at),
        ("unexplained" if marks.first_byte_at is None else "audio_out", first_frame),
        ("leading_silence", end),
    ]
    stages: list[Stage] = []
    reached = start
    for name, boundary in boundaries:
        if boundary is None or boundary <= reached:
            continue
        until = min(boundary, end)
        if until > reached:
            stages.append(Stage(name, reached, until))
            reached = until
    return stages


def _is_late(marks: Marks) -> bool:
    """True if a realtime model had begun to answer before it had a transcript: nobody waited."""
    transcript_at, decided_at = marks.transcript_at, marks.decided_at
    return transcript_at is not None and decided_at is not None and transcript_at > decided_at


def percentiles(latencies: list[float]) -> dict[str, float]:
    """Nearest-rank p50 and p95 of response latencies, in seconds, as attributes; none of none."""
    if not latencies:
        return {}
    ordered = sorted(latencies)
    return {
        name: ordered[math.ceil(share * len(ordered)) - 1]
        for name, share in ((names.RESPONSE_LATENCY_P50, 0.5), (names.RESPONSE_LATENCY_P95, 0.95))
    }
