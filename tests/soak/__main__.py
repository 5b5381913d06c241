"""``python -m tests.soak [--minutes 10] [--seed N] [--callers 20]``: soak, and print the table."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .plan import Fault, drawn
from .run import Phases, Report, soak

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .world import Ended

CHAOS_SHARE: Final = 0.3
WARM_UP_SHARE: Final = 0.3
"""Of the time; the rest is quiet."""


def main() -> None:
    """The program. Exit code 1 if anything isn't accounted for, or leaks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--callers", type=int, default=20)
    parser.add_argument("--lifecycle", choices=["transaction", "stream"], default="transaction")
    parser.add_argument("--log", type=Path, help="write the last process's log there")
    parser.add_argument("--folder", type=Path, help="an empty folder, where the stores stay")
    given = parser.parse_args()
    phases = _phases(given.seed, given.minutes * 60)
    _say(f"seed {given.seed}, {given.callers} callers, {given.lifecycle} lifecycle")
    for name, faults in (("faults", phases.chaos), ("without kills", phases.warm_up)):
        _say(f"{name}:", *map(str, faults))
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        report = asyncio.run(
            soak(
                folder,
                phases,
                callers=given.callers,
                seed=given.seed,
                lifecycle=given.lifecycle,
            )
        )
    if given.log is not None:
        given.log.write_text("\n".join(report.log) + "\n")
    _say(*_lines(report))
    sys.exit(1 if report.problems else 0)


def _phases(seed: int, seconds: float) -> Phases:
    chaos, warm_up = CHAOS_SHARE * seconds, WARM_UP_SHARE * seconds
    return Phases(
        chaos=[*drawn(seed, chaos, kills=True), Fault(chaos, "process", "killed")],
        chaos_seconds=chaos,
        warm_up=drawn(seed, warm_up, kills=False),
        warm_up_seconds=warm_up,
        quiet_seconds=seconds - chaos - warm_up,
    )


def _lines(report: Report) -> Iterator[str]:
    found = report.account
    yield ""
    yield f"attempts       {_counts(report.attempts)}"
    yield f"faults         {_counts(report.faults)}"
    yield f"processes      {', '.join(map(_end, report.ended))}"
    yield (
        f"conversations  {report.told} begun: {found.delivered} delivered, {found.recovered} "
        f"aborted and recovered, {found.younger} younger than a second when killed, "
        f"{len(found.lost)} lost; {found.sent_twice} sent twice"
    )
    if report.slope is not None:
        told = "too short to tell" if report.slope.is_leak is None else "of one process"
        yield (
            f"memory         {report.slope.mb_per_minute:+.2f} ± {report.slope.noise:.2f} MB a "
            f"minute in {report.slope.seconds:.0f} s, {told}"
        )
    if report.vitals:
        for name in ("tasks", "threads", "files"):
            counts = [sum(getattr(each, name).values()) for each in report.vitals]
            yield f"{name:14} {counts[0]} before, {counts[-1]} after"
        yield f"RSS            {', '.join(f'{each.rss_mb:.1f}' for each in report.vitals)} MB"
        yield f"blocks         {', '.join(str(each.blocks) for each in report.vitals)}"
        yield f"dropped        {report.vitals[-1].stats['dropped'] or 'nothing'}"
    yield from (f"WRONG          {problem}" for problem in report.problems)


def _end(ended: Ended) -> str:
    if ended.code is None:
        return "killed"
    return f"{'left' if ended.is_left else 'ended'} {ended.seconds:.1f} s after SIGTERM"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
