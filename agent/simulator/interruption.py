"""Talking over each other, as the caller heard it: from the audio, without asking telemetry.

Pure functions of the frames as they came. Times are Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from agent.simulator.voice import overlap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.simulator.hearing import AgentSpeech
    from agent.simulator.voice import Voice

Effect = Literal["stops", "resumes", "none"]
"""The effect of a turn on the agent's speech: it stops, it pauses and goes on, or it goes on."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """A turn that began while the agent could be heard."""

    effect: Effect
    stopped_after: float | None
    """Seconds from the caller's beginning to the last sample of the agent's that could be heard;
    None unless it stops."""


def find_interruption(
    speeches: Sequence[AgentSpeech], since: float | None, until: float | None
) -> Interruption | None:
    """The effect of a turn on the speech it began in; None when the agent wasn't speaking.

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
            return Interruption("stops", max(0.0, last - since))
        if any(since <= on and (until is None or out < until) for out, on in speech.holds):
            return Interruption("resumes", None)
        return Interruption("none", None)
    return None


def both_heard(caller: Voice, speeches: Sequence[AgentSpeech]) -> float:
    """Seconds in which caller and agent could be heard at once."""
    return sum(overlap(caller.stretches, speech.voice.stretches) for speech in speeches)
