"""Two runs that differ in everything that is compared, in hostile words."""

from __future__ import annotations

from telemetry.comparison import Changed, Comparison, Pair, Reshaped, compare
from telemetry.viewer import Runs


def runs(*, slower_ms: float = 150.0, hostile: bool = False) -> Runs:
    """Two runs of thirty turns in two scenarios; the second's synthesis is slower."""
    name = "<img src=x onerror=alert(1)>" if hostile else "booking"
    pairs = [
        Pair(
            ("typed", name)[number % 2],
            {"response": 700.0 + number, "synthesis": 200.0 + number, "llm": 90.0},
            {"response": 700.0 + slower_ms, "synthesis": 200.0 + slower_ms, "llm": 91.0},
        )
        for number in range(30)
    ]
    changed = (Changed(name, 2, "For four?", f"For {name}\u202e?"),) if slower_ms else ()
    reshaped = (Reshaped(name, ("call > turn",), ("call > turn > tool",)),) if slower_ms else ()
    found = tuple(compare(pairs, ["response", "llm", "synthesis"]))
    return Runs("a.json", "b.json", Comparison(len(pairs), 1, found, changed, reshaped))
