"""``python -m tests.telemetry.locks --runs 100``: the matrix, as a table.

The exit code is 0 only if every run of every cell was good. ``--control`` runs the cells with the
remedy taken away instead, to see what it is good for; there the exit code says nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from .matrix import CELLS, HANG, Outcome, Remedy, Verdict, run


def main() -> int:
    """Run the cells and print a line for each; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="of each cell")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--only", default="", help="cells whose name has this in it")
    parser.add_argument("--control", choices=[*Remedy], help="with this remedy only")
    chosen = parser.parse_args()

    remedy = Remedy(chosen.control or Remedy.FULL)
    cells = [replace(cell, remedy=remedy) for cell in CELLS if chosen.only in str(cell)]
    hang = HANG if remedy is Remedy.FULL else HANG / 3
    out = sys.stdout.write
    line = "{:<10} {:<9} {:<12} {:>5} {:>6} {:>5}\n"
    out(line.format("lock logs", "captured", "lifecycle", "runs", "hangs", "bad"))
    good = True
    with ThreadPoolExecutor(chosen.jobs) as pool:
        for cell in cells:
            outcomes: list[Outcome] = list(
                pool.map(lambda cell: run(cell, hang=hang), [cell] * chosen.runs)
            )
            counts = Counter(outcome.verdict for outcome in outcomes)
            good = good and counts[Verdict.GOOD] == chosen.runs
            hangs, bad = counts[Verdict.HANG], counts[Verdict.BAD]
            out(line.format(cell.moment, cell.capture, cell.lifecycle, chosen.runs, hangs, bad))
            for why in sorted({o.why for o in outcomes if o.verdict is not Verdict.GOOD}):
                if not chosen.control:
                    out(f"{why}\n")
            sys.stdout.flush()
    return 0 if good or chosen.control else 1


if __name__ == "__main__":
    sys.exit(main())
