"""Configuration that comes with Parley."""

from __future__ import annotations

from pathlib import Path


def scenario_files() -> list[Path]:
    """The shipped scenarios, by name."""
    return sorted((Path(__file__).parent / "scenarios").glob("*.yaml"))
