"""The runs of ``parley tune``: one simulation after another, and the table of what came of them."""

from __future__ import annotations

import functools
import json
import tempfile
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table

from agent import simulator
from agent.errors import InputError
from agent.simulator.tuning import Trial, as_json, best, recommended, trial
from config.turns import LONGEST_SECONDS
from telemetry.printable import printable

from . import process, scenarios, terminal
from .simulate_options import Transport
from .simulation import check_writable, hold, unwritable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    import telemetry
    from agent.session.turn_taking import Detection
    from config import Settings

    from .ending import Ending

DELAYS: Final[dict[Detection, tuple[float | None, ...]]] = {
    "words": (None, 0.4),
    "model": (None, 0.5),
    "vad": (None, 0.3, 0.7, 1.0),
}
"""Least delays that are tried unless others are given; None is the detection's own."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way of finding the end of a turn; a delay that is None is the detection's own, whatever
    the operator has set."""

    detection: Detection
    min_delay: float | None = None
    max_delay: float | None = None

    def environ(self, settings: Settings) -> dict[str, str]:
        """The variables that set it, where these are the settings; an empty one is to be unset."""
        delays = {
            "PARLEY_ENDPOINTING_MIN_DELAY": (self.min_delay, settings.endpointing_min_delay),
            "PARLEY_ENDPOINTING_MAX_DELAY": (self.max_delay, settings.endpointing_max_delay),
        }
        return {"PARLEY_TURN_DETECTION": self.detection} | {
            name: "" if seconds is None else f"{seconds:g}"
            for name, (seconds, already) in delays.items()
            if seconds is not None or already is not None
        }

    def applied(self, settings: Settings) -> Settings:
        """The settings with this in them."""
        return settings.model_copy(
            update={
                "turn_detection": self.detection,
                "endpointing_min_delay": self.min_delay,
                "endpointing_max_delay": self.max_delay,
            }
        )

    def __str__(self) -> str:
        least = f", at least {self.min_delay:g} s" if self.min_delay is not None else ""
        most = f", at most {self.max_delay:g} s" if self.max_delay is not None else ""
        return f"{self.detection}{least}{most}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The choices of one command; what is empty is "not given"."""

    scenarios: tuple[str, ...]
    ways: tuple[Way, ...]
    lines: tuple[str, ...]
    seed: int
    repeat: int
    at_once: int
    json: Path | None


def grid(
    detections: Sequence[str],
    min_delays: Sequence[str],
    max_delays: Sequence[str],
    *,
    dynamic: bool = False,
) -> tuple[Way, ...]:
    """Every combination of the values of the options, as they are written, that differs from the
    others in what it does.

    With vad nobody says that more is to come, and the longest delay is never waited for: it is left
    out, unless it limits a least one that is ``dynamic``.

    Raises:
        InputError: one can't be used, or no combination can.
    """
    longest = _delays("--max-delay", max_delays) or (None,)
    given = _delays("--min-delay", min_delays)
    tried = [
        Way(detection, least, most)
        for detection in _detections(detections) or ("words", "vad")
        for least in given or DELAYS[detection]
        for most in (longest if detection != "vad" or dynamic else (None,))
    ]
    usable = [
        way
        for way in dict.fromkeys(tried)
        if way.min_delay is None or way.max_delay is None or way.min_delay <= way.max_delay
    ]
    if not usable:
        raise InputError("each --max-delay is shorter than each --min-delay: give a longer one")
    return tuple(usable)


def _detections(given: Sequence[str]) -> list[Detection]:
    known: dict[str, Detection] = {name: name for name in DELAYS}
    found = []
    for name in _split(given):
        if name not in known:
            raise InputError(f"--detection {name!r} should be one of {', '.join(known)}")
        found.append(known[name])
    return found


def _delays(option: str, given: Sequence[str]) -> tuple[float, ...]:
    found = []
    for text in _split(given):
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= LONGEST_SECONDS:
            raise InputError(
                f"{option} {text!r} should be seconds, more than 0 and at most {LONGEST_SECONDS:g}"
            )
        found.append(seconds)
    return tuple(found)


def _split(given: Sequence[str]) -> list[str]:
    return [part.strip() for text in given for part in text.split(",")]


def tune(settings: Settings, plan: Plan) -> bool:
    """Try every way, show what came of it, write the file; True if one can be recommended."""
    console = terminal.console()
    chosen = (
        scenarios.chosen(settings, plan.scenarios)
        if plan.scenarios
        else scenarios.with_pauses(settings)
    )
    lines = [simulator.Conditions.parse(line) for line in plan.lines]
    if plan.json is not None:
        check_writable("--json", plan.json)
    console.print(f"seed {plan.seed}", markup=False)
    outcome = _Outcome()
    with tempfile.TemporaryDirectory(prefix="parley-") as scratch:
        store = settings.trace_store or Path(scratch) / "traces.db"
        with (
            process.ending(settings) as ending,
            process.traced(settings, store=str(store)) as runtime,
        ):
            runs = _Runs(settings, plan, chosen, runtime, ending, store, Path(scratch))
            process.run(functools.partial(_try_all, runs, lines or [None], outcome))
    unwritten = None
    if plan.json is not None:
        figures = {**as_json(outcome.trials), "failed": outcome.failed}
        try:
            plan.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            unwritten = unwritable("--json", plan.json, error)
    _show(console, outcome, len(plan.ways))
    if unwritten is not None:
        raise simulator.ScenarioError(unwritten)
    if outcome.refused == len(plan.ways):
        raise InputError("none of it could be tried: see above")
    return recommended(outcome.trials) is not None


@dataclass(slots=True)
class _Outcome:
    """What came of the ways so far."""

    trials: list[Trial] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Ways whose run failed, each with why."""
    refused: int = 0
    """Number of those whose input can't be used."""

    def fail(self, way: Way, error: Exception) -> None:
        """Add one that failed, and tell of it."""
        cause = _first(error)
        refused = isinstance(cause, InputError)
        self.refused += refused
        why = str(cause) if refused else _place(cause)
        self.failed[str(way)] = why
        terminal.warn(f"{way}: {printable(why)}")


def _first(error: Exception) -> Exception:
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


def _place(error: Exception) -> str:
    """An error that nobody expects, and where it was raised: its traceback isn't shown."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"


@dataclass(frozen=True, slots=True)
class _Runs:
    """What all runs of a command have in common."""

    settings: Settings
    plan: Plan
    scenarios: Sequence[simulator.Scenario]
    runtime: telemetry.Runtime
    ending: Ending
    store: Path
    scratch: Path

    async def make(
        self, way: Way, line: simulator.Conditions | None, number: int, what: str
    ) -> simulator.Report | None:
        """One of them; None if it wasn't waited for."""
        callers = len(self.scenarios)
        return await hold(
            way.applied(self.settings),
            self.scenarios,
            load=simulator.Load(
                callers=callers,
                at_once=self.plan.at_once,
                ramp=(min(callers, self.plan.at_once) - 1) / 2,
                repeat=self.plan.repeat,
                seed=self.plan.seed,
            ),
            line=line,
            transport=Transport.GATEWAY,
            watched=_watch(what, callers * self.plan.repeat),
            runtime=self.runtime,
            ending=self.ending,
            store=self.store,
            bookings=self.scratch / f"reservations-{number}.db",
        )


async def _try_all(
    runs: _Runs, lines: Sequence[simulator.Conditions | None], outcome: _Outcome
) -> None:
    """Try each way, until there are no more or somebody has had enough."""
    number = 0
    for at, way in enumerate(runs.plan.ways, 1):
        calls: list[simulator.CallResult] = []
        try:
            for line in lines:
                number += 1
                on = "" if line is None else f", line {line}"
                what = f"{at} of {len(runs.plan.ways)}: {way}{on}"
                report = await runs.make(way, line, number, what)
                if report is None or report.interrupted:
                    return
                calls += report.calls
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are wanted
            outcome.fail(way, error)
        else:
            outcome.trials.append(trial(way.environ(runs.settings), calls))


@contextmanager
def _watch(what: str, calls: int) -> Iterator[Callable[[simulator.Progress], None]]:
    """Show how many of a run's calls are over: on a terminal as they end, else once."""
    console = terminal.console(stderr=True)
    if not console.is_terminal:
        console.print(printable(f"{what}: {calls} calls"), markup=False, soft_wrap=True)
    over: set[str] = set()
    with console.status(f"{what}: {calls} calls") as status:

        def show(event: simulator.Progress) -> None:
            if event.what.startswith("ended: "):
                over.add(event.conversation)
                status.update(f"{what}: {len(over)} of {calls} calls are over")

        yield show


def _show(console: Console, outcome: _Outcome, planned: int) -> None:
    """The table, and one recommendation in a sentence."""
    trials = outcome.trials
    found, chosen = best(trials), recommended(trials)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("")
    table.add_column("detection", no_wrap=True)
    for name in (
        "least s",
        "most s",
        "false ends",
        "missed ends",
        "p50 ms",
        "p95 ms",
        "words wrong",
    ):
        table.add_column(name, justify="right")
    for each in trials:
        delays = (each.environ.get(f"PARLEY_ENDPOINTING_{end}_DELAY") for end in ("MIN", "MAX"))
        rate = each.word_error_rate
        table.add_row(
            "*" if each in found else "",
            each.environ["PARLEY_TURN_DETECTION"],
            *(seconds or "its own" for seconds in delays),
            f"{each.false_ends} of {each.turns}",
            f"{each.missed_ends} of {each.turns}",
            *("" if ms is None else f"{ms:.0f}" for ms in (each.p50_ms, each.p95_ms)),
            "" if rate is None else f"{rate:.1%}",
            style="bold" if each is chosen else None,
        )
    if trials:
        console.print(table)
    if outcome.failed:
        console.print(f"Failed: {len(outcome.failed)} of {planned}.", style="yellow")
    if len(trials) + len(outcome.failed) < planned:
        console.print(f"Interrupted: {len(trials)} of {planned} were measured.", style="yellow")
    if chosen is None:
        why = "no turn was answered" if trials else "nothing was measured"
        console.print(f"Nothing can be recommended: {why}.", style="bold red")
        return
    ends = chosen.false_ends + chosen.missed_ends
    console.print(
        f"Recommended: {chosen.settings} ({ends} of {chosen.turns} ends wrong, answers after "
        f"{chosen.p50_ms:.0f} ms, p95 {chosen.p95_ms:.0f} ms).",
        style="bold green",
        soft_wrap=True,
    )
