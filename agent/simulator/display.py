"""A simulation on the terminal: progress while it runs, tables and a summary when it has."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import progress
from rich.console import Group
from rich.table import Table
from rich.text import Text

from agent.simulator.report import CallResult, Progress, Report, TurnResult, percentile
from telemetry.attributes import STAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import Console, RenderableType


@contextmanager
def watch(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Show what happens: a bar for each call on a terminal, plain lines anywhere else.

    Yields what ``simulate`` takes as ``on_progress``.
    """
    if not console.is_terminal:
        yield lambda event: console.print(
            f"{event.conversation} {event.turn}/{event.turns} {event.what}",
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
                call = calls[event.conversation] = bars.add_task(event.conversation, what="")
            bars.update(call, total=event.turns, completed=event.turn, what=event.what)

        yield show


def render(report: Report) -> RenderableType:
    """A table for each call, what failed, and a summary."""
    return Group(*(_call(call) for call in report.calls), *_summary(report))


def _call(call: CallResult) -> RenderableType:
    table = Table(
        title=Text(f"{call.id} · {call.outcome or 'no outcome'}", style="bold"),
        title_justify="left",
        expand=True,
        show_lines=True,
    )
    for name, ratio in (("said", 3), ("heard", 3), ("replied", 4), ("response", 3)):
        table.add_column(name, ratio=ratio)
    for turn in call.turns:
        heard = Text(turn.heard) if turn.spoken else Text("(typed)", style="dim")
        table.add_row(Text(turn.caller), heard, Text(turn.reply), _response(turn))
    return Group(
        table,
        *_failed("call", call.failures),
        *(
            line
            for at, turn in enumerate(call.turns, 1)
            for line in _failed(f"turn {at}", turn.failures)
        ),
        *(_failed("trace", call.trace_failures) or [_trace(call)]),
        Text(),
    )


def _response(turn: TurnResult) -> Text:
    """``612 ms, measured 598``, and the stages that make it up."""
    if turn.e2e_ms is None and turn.measured_ms is None:
        return Text("-", style="dim")
    told = "no telemetry" if turn.e2e_ms is None else f"{turn.e2e_ms:.0f} ms"
    measured = "" if turn.measured_ms is None else f", measured {turn.measured_ms:.0f}"
    return Text.assemble((told + measured, "bold"), "\n", (_stages(turn.stages_ms), "dim"))


def _stages(stages: Mapping[str, float]) -> str:
    order = [*STAGES, *(stage for stage in stages if stage not in STAGES)]
    took = [(stage.replace("_", " "), stages.get(stage, 0.0)) for stage in order]
    return " · ".join(f"{stage} {ms:.0f}" for stage, ms in took if round(ms))


def _trace(call: CallResult) -> Text:
    if call.trace_id is None:
        return Text("no trace: the call was never accepted", style="red")
    return Text(f"trace {call.trace_id} is complete", style="green")


def _failed(where: str, failures: Sequence[str]) -> list[Text]:
    return [Text(f"{where}: {failure}", style="red") for failure in failures]


def _summary(report: Report) -> Iterator[Text]:
    passed = sum(call.passed for call in report.calls)
    facts = [f"{passed} of {len(report.calls)} conversations passed"]
    if (median := percentile(report.measured, 50)) is not None:
        p95 = percentile(report.measured, 95)
        facts.append(f"response {median:.0f} ms (median), {p95:.0f} ms (p95)")
    if (differ := percentile(report.disagreements, 95)) is not None:
        facts.append(f"telemetry within {differ:.0f} ms of the callers (p95)")
    if (rate := report.word_error_rate) is not None:
        facts.append(f"word error rate {rate:.1%}")
    facts.append(f"{report.stats['orphan_spans']} orphans, {report.stats['dropped_spans']} drops")
    yield Text(" · ".join(facts), style="bold green" if report.passed else "bold red")
    yield from (Text(failure, style="red") for failure in report.failures)
