"""Speeches as a caller would have heard them."""

from __future__ import annotations

from agent.simulator.hearing import AgentSpeech
from agent.simulator.voice import Voice


def speech(
    since: float,
    until: float,
    *,
    cut: bool = False,
    held: tuple[float, float] | None = None,
    words: str = "",
) -> AgentSpeech:
    """Heard from here to there, but for where it was held back."""
    out, on = held or (until, until)
    stretches = [(since, out), (on, until)] if held else [(since, until)]
    return AgentSpeech(
        began_at=since,
        voice=Voice(stretches),
        words=[words] if words else [],
        ended_at=until,
        cut=cut,
    )
