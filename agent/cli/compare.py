"""``parley compare``: two runs of the simulator on the terminal, and a limit for CI."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from agent import simulator
from agent.errors import InputError
from telemetry.printable import printable

from . import terminal

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.comparison import Comparison, Difference

_LIMIT: Final = re.compile(r"(\d{1,6}(?:\.\d+)?) ?(%|ms)")


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that a response, or a stage of it, may get slower; one of the two is given."""

    ms: float | None = None
    share: float | None = None

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read a limit like ``10%`` or ``50ms``. Raises :class:`InputError`."""
        found = _LIMIT.fullmatch(text.strip())
        if found is None:
            raise InputError(f"--fail-over {text!r} should be like 10% or 50ms")
        number = float(found[1])
        return cls(share=number / 100) if found[2] == "%" else cls(ms=number)


def compare(before: Path, after: Path, fail_over: str | None) -> bool:
    """Show what differs; False if something got slower by more than ``fail_over`` allows.

    Raises:
        InputError: a file is no report, or the limit is none.
    """
    limit = None if fail_over is None else Limit.parse(fail_over)
    found = compared(before, after)
    _show(found)
    if limit is None:
        return True
    over = found.slower_by(limit.ms, limit.share)
    for one in over:
        _say(f"{_where(one)} is slower than --fail-over {fail_over} allows")
    return not over


def compared(before: Path, after: Path) -> Comparison:
    """All that differs between two reports. Raises :class:`InputError`."""
    found = simulator.compare_runs(simulator.read_run(before), simulator.read_run(after))
    if not found.pairs:
        raise InputError(f"{before} and {after} have no turn with a response in common")
    return found


def _show(found: Comparison) -> None:
    _say(f"{found.pairs} turns paired, {found.unpaired} in one run only")
    if found.news:
        terminal.console().print(_table(found.news))
    else:
        _say("No difference in latency beyond noise.")
    for changed in found.changed:
        _say(f"{changed.scenario}, turn {changed.turn}: other words")
        _say(f"  - {changed.before}")
        _say(f"  + {changed.after}")
    for reshaped in found.reshaped:
        _say(f"{reshaped.scenario}: another trace")
        for path in reshaped.gone:
            _say(f"  - {path}")
        for path in reshaped.new:
            _say(f"  + {path}")
    if not (found.news or found.changed or found.reshaped):
        _say("No difference.")


def _table(news: list[Difference]) -> Table:
    table = Table("", "turns", "before", "after", "shift (ms)", "95% interval", box=None)
    for one in news:
        table.add_row(
            Text(printable(_where(one))),
            str(one.pairs),
            f"{one.before_ms:.0f}",
            f"{one.after_ms:.0f}",
            f"{one.shift_ms:+.0f}",
            f"{one.low_ms:+.0f} to {one.high_ms:+.0f}",
        )
    return table


def _where(one: Difference) -> str:
    measure = one.measure.replace("_", " ")
    return measure if one.group is None else f"{one.group}: {measure}"


def _say(text: str) -> None:
    terminal.say(printable(text))
