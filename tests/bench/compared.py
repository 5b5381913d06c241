"""What ``parley compare`` says of real runs: of two of this program, and of one that speaks later.

The simulator holds the same spoken conversations three times; in the third run synthesis begins
150 ms later, each time. Runs of a machine that does other things meanwhile do differ.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.simulator import compare_runs, read_run

from .figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOWER_MS: Final = 150.0
CALLERS: Final = 12
_SCENARIOS: Final = ("opening_hours", "booking", "correction")
_AT_ONCE: Final = 3
_OFF_MS: Final = 50.0
"""The most that the shift found may be beside the truth: the interval of so few turns."""
_SLOWER: Final = f"""
import asyncio
from agent.providers import piper

say = piper.Voice.say

async def later(self, *given):
    await asyncio.sleep({SLOWER_MS / 1000})
    await say(self, *given)

piper.Voice.say = later
"""
_PARLEY: Final = "from agent.cli import main; main()"


def measure(callers: int = CALLERS) -> Iterator[Figure]:
    """What differs between two runs of one program; how large a delay is taken for."""
    with tempfile.TemporaryDirectory(prefix="bench-compared-") as folder:
        first, again, slower = (
            _held(Path(folder, f"{name}.json"), before, callers)
            for name, before in (("a", ""), ("b", ""), ("c", _SLOWER))
        )
        same = compare_runs(read_run(first), read_run(again))
        later = compare_runs(read_run(first), read_run(slower))
    yield Figure(
        f"two runs of one program, {same.pairs} turns: latencies that differ",
        len(same.news),
        "",
        target=0,
    )
    found = [one for one in later.news if one.group is None and one.measure == "synthesis"]
    off = abs(found[0].shift_ms - SLOWER_MS) if found else math.inf
    yield Figure(
        f"synthesis {SLOWER_MS:.0f} ms later: found, and so far off", off, "ms", target=_OFF_MS
    )
    others = [
        one
        for one in later.news
        if one.group is None and one.measure not in ("synthesis", "response")
    ]
    yield Figure("and other stages that are said to differ", len(others), "", target=0)


def _held(report: Path, before: str, callers: int) -> Path:
    """The report of a run."""
    numbers = ("--callers", str(callers), "--at-once", str(_AT_ONCE), "--seed", "1")
    command = ("simulate", *_SCENARIOS, *numbers, "--report", str(report))
    subprocess.run(
        [sys.executable, "-c", before + _PARLEY, *command],
        check=False,  # what a busy machine fails by isn't what is measured
        stdout=subprocess.DEVNULL,
        cwd=report.parent,
    )
    return report
