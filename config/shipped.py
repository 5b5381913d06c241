"""Configuration that comes with Parley."""

from __future__ import annotations

from pathlib import Path

_SCENARIOS = Path(__file__).parent / "scenarios"


def scenario_files(folder: str = ".") -> list[Path]:
    """The shipped scenarios, by name: those that are run unless others are named, or those of a
    folder among them: ``pauses``."""
    return sorted((_SCENARIOS / folder).glob("*.yaml"))


def question() -> Path:
    """A caller's question, "Are you open on Monday?": a WAV, 16 kHz mono PCM16."""
    return _SCENARIOS / "audio" / "opening_hours-1.wav"
