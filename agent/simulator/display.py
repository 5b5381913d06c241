"""A simulation on the terminal: progress while it runs, tables and a summary when it has."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich import box, progress
from rich.console import Group
from rich.table import Table
from rich.text import Text

from agent.simulator.report import (
    CallResult,
    Progress,
    Report,
    TurnResult,
    percentile,
    same_words,
)
from telemetry.attributes import STAGES
from telemetry.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, RenderableType


MOST_TABLES: Final = 24
"""Number of calls up to which each has its table."""


@contextmanager
def watch(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Show the progress: a bar for each call on a terminal, plain lines of text anywhere else.

    Yields the ``on_progress`` of a :class:`~agent.simulator.run.Simulation`.
    """
    if not console.is_terminal:
        yield lambda event: console.print(
            printable(f"{event.conversation} {event.turn}/{event.turns} {event.what}"),
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        return
    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=16),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[what]}", markup=False, style="dim"),
    )
    with progress.Progress(*columns, console=console) as bars:
        calls: dict[str, progress.TaskID] = {}

        def show(event: Progress) -> None:
            call = calls.get(event.conversation)
            if call is None:
                call = calls[event.conversation] = bars.add_task(
                    printable(event.conversation), what=""
                )
            what = printable(event.what)
            bars.update(call, total=event.turns, completed=event.turn, what=what)

        yield show


def render(report: Report) -> RenderableType:
    """A table for each call, its failures, the figures, and a summary.

    Of more than :data:`MOST_TABLES` calls only those that failed have a table.
    """
    shown = [call for call in report.calls if len(report.calls) <= MOST_TABLES or not call.passed]
    return Group(
        *map(_call, shown), *_heard_at_callers(report), *_time_spent(report), *_sum(report)
    )


def _call(call: CallResult) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1))
    table.add_column("heard", ratio=2)
    table.add_column("replied", ratio=3)
    table.add_column("response", justify="right")
    table.add_column("at the caller", justify="right")
    for turn in call.turns:
        table.add_row(_heard(turn), _replied(turn), _ms(turn.e2e_ms), _ms(turn.measured_ms))
    line = "" if call.line == "clean" else f"line {printable(call.line)}  "
    return Group(
        Text.assemble(
            (printable(call.id), "bold"),
            f"  {printable(call.outcome or 'no outcome')}  ",
            (line, "dim"),
            _trace(call),
        ),
        table,
        *(_red(failure) for failure in call.all_failures),
    )


def _red(failure: str) -> Text:
    return Text(printable(failure), style="red")


def _heard(turn: TurnResult) -> Text:
    caller, words, heard = map(printable, (turn.caller, turn.words, turn.heard))
    if not turn.reached:
        return Text.assemble((f"{caller} (not reached)", "dim"))
    if turn.kind == "typed":
        return Text.assemble(caller, (" (typed)", "dim"))
    if not words:
        return Text.assemble((caller, "dim"), heard and f" {heard}")
    if same_words(turn.words, turn.heard):
        return Text(heard)
    return Text.assemble(heard or "nothing", (f" (said: {words})", "yellow"))


def _replied(turn: TurnResult) -> Text:
    """The agent's words, the turn's effect on its speech, and the stages of its response."""
    order = [*STAGES, *(stage for stage in turn.stages_ms if stage not in STAGES)]
    took = [(stage.replace("_", " "), turn.stages_ms.get(stage, 0.0)) for stage in order]
    notes = [f"{printable(stage)} {ms:.0f}" for stage, ms in took if round(ms)]
    if turn.interruption is not None:
        after = "" if turn.stop_ms is None else f" after {turn.stop_ms:.0f} ms"
        notes.insert(0, f"{_OVER[turn.interruption]}{after}")
    return Text.assemble(printable(turn.reply), ("\n" + " · ".join(notes) if notes else "", "dim"))


_OVER: Final = {
    "stops": "agent stopped",
    "resumes": "agent paused and went on",
    "none": "agent spoke on",
}


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"


def _heard_at_callers(report: Report) -> Iterator[RenderableType]:
    """A table of the figures that callers measured, beside telemetry's."""
    table = Table(box=box.SIMPLE_HEAD, title="at the callers, from the audio", title_justify="left")
    table.add_column("")
    table.add_column("median", justify="right")
    table.add_column("p95", justify="right")
    for name, values in (
        ("response", report.measured),
        ("response, as telemetry has it", report.told),
        ("agent stops when talked over", report.stops),
    ):
        if values:
            table.add_row(name, _ms(percentile(values, 50)), _ms(percentile(values, 95)))
    if table.row_count:
        yield table


def _time_spent(report: Report) -> Iterator[RenderableType]:
    """A table of each stage: median and 95th percentile, over the turns that were answered."""
    table = Table(box=box.SIMPLE_HEAD, title="where the time went", title_justify="left")
    table.add_column("stage")
    table.add_column("median", justify="right")
    table.add_column("p95", justify="right")
    for stage, took in report.stages.items():
        if any(round(ms) for ms in took):
            table.add_row(
                printable(stage.replace("_", " ")),
                _ms(percentile(took, 50)),
                _ms(percentile(took, 95)),
            )
    if table.row_count:
        yield table


def _trace(call: CallResult) -> Text:
    if call.trace_id is None:
        return Text("no trace: the call was never accepted", style="red")
    if call.trace_failures:
        return Text(f"trace {printable(call.trace_id)} is wrong", style="red")
    return Text(f"trace {printable(call.trace_id)} is complete", style="green")


def _sum(report: Report) -> Iterator[Text]:
    passed = sum(call.passed for call in report.calls)
    facts = [f"{passed} of {len(report.calls)} conversations passed"]
    if (median := percentile(report.measured, 50)) is not None:
        p95 = percentile(report.measured, 95)
        facts.append(f"response {median:.0f} ms (median), {p95:.0f} ms (p95)")
    if (differ := percentile(report.disagreements, 95)) is not None:
        facts.append(f"telemetry within {differ:.0f} ms of the callers (p95)")
    if (rate := report.word_error_rate) is not None:
        facts.append(f"word error rate {rate:.1%}")
    facts += [
        f"{report.talk_over:.1f} s of talking over",
        f"{report.missed} missed and {report.spurious} spurious replies",
        *(
            [f"cut off: {report.cut_off} of {report.with_pauses} sentences with pauses"]
            if report.with_pauses
            else []
        ),
        f"{report.stats['orphan_spans']} orphans, {report.stats['dropped_spans']} drops",
    ]
    yield Text(" · ".join(facts), style="bold green" if report.passed else "bold red")
    rates = report.word_error_rates
    if len(rates) > 1 or any(line != "clean" for _, line in rates):
        said = (f"{name} ({line}) {rate:.1%}" for (name, line), rate in sorted(rates.items()))
        rated = printable(", ".join(said))
        yield Text(f"word error rate by scenario (line): {rated}", style="dim")
    # Once more, and last: what failed is what is looked for first, and its table may be far above.
    for call in report.calls:
        yield from (_red(f"{call.id}: {failure}") for failure in call.all_failures)
    yield from map(_red, report.failures)
    if report.busy is not None:
        late = f"callers' own audio left them up to {report.busy:.0f} ms late"
        yield Text(f"This machine was too busy to tell: {late}.", style="yellow")
    if report.command:
        again = "To run it again" if report.passed else "To see it fail again"
        yield Text(f"{again}: {printable(report.command)}")
