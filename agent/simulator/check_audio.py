"""What happened, from the audio at the caller, and whether the trace tells the same.

Interruptions, talk-over and who was heard for how long are known here without asking telemetry:
from the frames as they came. Pure functions. Times are Unix seconds.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from agent.simulator.voice import overlap
from telemetry import attributes as names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.simulator.hearing import AgentSpeech
    from agent.simulator.verdict import Response
    from agent.simulator.voice import Voice
    from telemetry.records import ConversationRecord, SpanRecord

Effect = Literal["stops", "resumes", "none"]
"""What a turn of the caller's did to the agent's speech."""

LATENCY_APART_MS: Final = 150.0
"""Milliseconds by which a response's latency may differ between telemetry and the caller."""
CUT_APART: Final = 1.0
"""Seconds by which telemetry and the caller may differ on when a speech was cut."""
LETTERS_PER_SECOND: Final = 15.0
"""Of an unhurried speaker, for calls in which no speech was heard to its end."""
UNHEARD_SHARE: Final = 0.3
"""How much faster than its own pace the agent can have spoken: sounds differ in length."""
UNHEARD_SECONDS: Final = 1.0
"""Seconds of words that can be told too many: recognising the last one heard takes its end."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a turn that began while the agent could be heard did to that speech."""

    effect: Effect
    stopped_after: float | None
    """Seconds from the caller's beginning to the last sample of the agent's that could be heard;
    None unless it stops."""


def talked_over(
    speeches: Sequence[AgentSpeech], since: float | None, until: float | None
) -> Overlap | None:
    """What a turn did to the speech it began in; None when the agent wasn't speaking.

    ``since`` is when the caller began, ``until`` when its next turn began: what happens to the
    speech after that is the next turn's doing.
    """
    if since is None:
        return None
    for speech in speeches:
        first, last = speech.voice.first, speech.voice.last
        if first is None or last is None or not first <= since:
            continue
        if since > last and not any(out <= since <= on for out, on in speech.holds):
            continue
        # held back first, thrown away later: it has stopped when nothing more comes
        if speech.cut and (until is None or last < until):
            return Overlap("stops", max(0.0, last - since))
        if any(since <= on and (until is None or out < until) for out, on in speech.holds):
            return Overlap("resumes", None)
        return Overlap("none", None)
    return None


def both_heard(caller: Voice, speeches: Sequence[AgentSpeech]) -> float:
    """Seconds in which caller and agent could be heard at once."""
    return sum(overlap(caller.stretches, speech.voice.stretches) for speech in speeches)


def apart(told: float, measured: float, swallowed: float) -> float:
    """How far a response latency that telemetry tells is from what a caller measured.

    Of the end of what the caller said the line swallowed so much; nobody can tell how much of that
    the agent still heard, so it may tell anything up to so much more.
    """
    more = told - measured
    return max(-more, more - swallowed, 0.0)


def check_latency(
    measured: Sequence[float | None],
    swallowed: Sequence[float],
    told: Sequence[Response | None],
) -> Iterator[str]:
    """Telemetry's response latency is the caller's; seconds, for each turn."""
    turns = enumerate(zip(measured, swallowed, told, strict=True), 1)
    for turn, (at_caller, less, response) in turns:
        if at_caller is None or response is None:
            continue
        if 1000 * apart(response.latency, at_caller, less) > LATENCY_APART_MS:
            yield (
                f"turn {turn}: it has a response latency of {1000 * response.latency:.0f} ms, "
                f"the caller measured {1000 * at_caller:.0f} ms"
            )


def check_interruptions(
    record: ConversationRecord, speeches: Sequence[AgentSpeech], *, until: float
) -> Iterator[str]:
    """Every speech that was cut is interrupted in the trace, and no other is.

    ``until`` is when the call's end began: what is cut by that interrupts nobody.
    """
    told = [
        span
        for span in record.spans
        if span.op == names.OP_AGENT_SPEECH and span.attributes.get(names.INTERRUPTED)
    ]
    for speech in speeches:
        if not speech.cut:
            continue
        silent_at = speech.silent_at
        near = min(told, key=lambda span: abs(span.ended_at - silent_at), default=None)
        if near is not None and abs(near.ended_at - silent_at) <= CUT_APART:
            told.remove(near)
        elif silent_at < until:
            yield f"the agent was cut short {_into(record, silent_at)}, which it doesn't have"
    for span in told:
        if span.ended_at < until:
            yield f"it has the agent interrupted {_into(record, span.ended_at)}, which wasn't heard"


def check_words(
    record: ConversationRecord, speeches: Sequence[AgentSpeech], *, until: float
) -> Iterator[str]:
    """The words that each turn has the agent say can have been heard, at the agent's own pace."""
    pace = _pace(speeches)
    unheard = list(speeches)
    spans = {span.span_id: span for span in record.spans}
    spoken: dict[str, float] = {}
    for span in sorted(record.spans, key=lambda span: span.started_at):
        turn = _turn_of(span, spans)
        if span.op != names.OP_AGENT_SPEECH or turn is None or span.started_at >= until:
            continue
        near = min(unheard, key=lambda each: abs(each.began_at - span.started_at), default=None)
        if near is not None and abs(near.began_at - span.started_at) <= CUT_APART:
            unheard.remove(near)
            spoken[turn.span_id] = spoken.get(turn.span_id, 0.0) + near.voice.seconds
    for turn in record.spans:
        words = str(turn.attributes.get(names.AGENT_WORDS, ""))
        if turn.op != names.OP_TURN or not words or turn.started_at >= until:
            continue
        heard = spoken.get(turn.span_id, 0.0)
        if len(words) / pace > heard * (1 + UNHEARD_SHARE) + UNHEARD_SECONDS:
            yield (
                f"it has the agent say {words!r:.120} {_into(record, turn.started_at)}, "
                f"of which {heard:.1f} s were heard"
            )


def _pace(speeches: Sequence[AgentSpeech]) -> float:
    """Letters per second of the agent's, from the speeches that were heard to their end."""
    whole = [
        len(" ".join(speech.words)) / speech.voice.seconds
        for speech in speeches
        if speech.words and not speech.cut and speech.ended_at is not None and speech.voice.seconds
    ]
    return statistics.median(whole) if whole else LETTERS_PER_SECOND


def _turn_of(span: SpanRecord, spans: dict[str, SpanRecord]) -> SpanRecord | None:
    for _ in spans:  # a loop of parents is another check's finding
        if span.op == names.OP_TURN:
            return span
        above = spans.get(span.parent_span_id or "")
        if above is None:
            return None
        span = above
    return None


def _into(record: ConversationRecord, at: float) -> str:
    return f"{at - record.started_at:.1f} s into the call"
