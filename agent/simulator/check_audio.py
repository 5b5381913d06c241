"""Checks of a trace against the audio at the caller: latencies, interruptions, words.

Pure functions. Times are Unix seconds.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from agent.simulator.record_tree import by_id, turn_of
from agent.simulator.responses import apart
from telemetry import attributes as names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.simulator.hearing import AgentSpeech
    from agent.simulator.responses import Response
    from telemetry.records import ConversationRecord

LATENCY_APART_MS: Final = 150.0
"""Difference allowed between a response's latency in telemetry and at the caller."""
SAME_TIME_SECONDS: Final = 0.001
"""Difference allowed between a gap as the caller told it and as the trace has it."""
CUT_APART_SECONDS: Final = 1.0
"""Difference allowed between telemetry and the caller on the time a speech was cut."""
LETTERS_PER_SECOND: Final = 15.0
"""Pace of an unhurried speaker, for calls in which no speech was heard to its end."""
UNHEARD_SHARE: Final = 0.3
"""Part by which the agent can have spoken faster than at its own pace: sounds differ in length."""
UNHEARD_SECONDS: Final = 1.0
"""Length of words that can be told too many: the last one heard counts as a whole."""


def check_latency(
    measured: Sequence[float | None],
    swallowed: Sequence[float],
    told: Sequence[Response | None],
) -> Iterator[str]:
    """Check that telemetry's response latency is the caller's; seconds, for each turn."""
    turns = enumerate(zip(measured, swallowed, told, strict=True), 1)
    for turn, (at_caller, less, response) in turns:
        if at_caller is None or response is None:
            continue
        if 1000 * apart(response.latency, at_caller, less) > LATENCY_APART_MS:
            yield (
                f"turn {turn}: it has a response latency of {1000 * response.latency:.0f} ms, "
                f"the caller measured {1000 * at_caller:.0f} ms"
            )
        gap = at_caller if response.caller_gap is None else response.caller_gap
        if abs(gap - at_caller) > SAME_TIME_SECONDS:
            yield (
                f"turn {turn}: it has the caller tell a gap of {1000 * gap:.0f} ms, "
                f"the caller measured {1000 * at_caller:.0f} ms"
            )


def check_interruptions(
    record: ConversationRecord, speeches: Sequence[AgentSpeech], *, until: float
) -> Iterator[str]:
    """Check that every speech that was cut is interrupted in the trace, and no other is.

    ``until`` is when the call's end began: a speech cut by that interrupts nobody.
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
        if near is not None and abs(near.ended_at - silent_at) <= CUT_APART_SECONDS:
            told.remove(near)
        elif silent_at < until:
            yield f"the agent was cut short {_into(record, silent_at)}, which it doesn't have"
    for span in told:
        if span.ended_at < until:
            yield f"it has the agent interrupted {_into(record, span.ended_at)}, which wasn't heard"


def check_words(
    record: ConversationRecord, speeches: Sequence[AgentSpeech], *, until: float
) -> Iterator[str]:
    """Check that the words of each turn can have been heard, at the agent's own pace."""
    pace = _pace(speeches)
    unheard = list(speeches)
    spans = by_id(record)
    spoken: dict[str, float] = {}
    for span in sorted(record.spans, key=lambda span: span.started_at):
        turn = turn_of(span, spans)
        if span.op != names.OP_AGENT_SPEECH or turn is None or span.started_at >= until:
            continue
        near = min(unheard, key=lambda each: abs(each.began_at - span.started_at), default=None)
        if near is not None and abs(near.began_at - span.started_at) <= CUT_APART_SECONDS:
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


def _into(record: ConversationRecord, at: float) -> str:
    return f"{at - record.started_at:.1f} s into the call"
