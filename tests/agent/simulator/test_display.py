"""What a terminal shows of a run, meanwhile and afterwards."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from agent.simulator.display import render, watch
from agent.simulator.report import Progress
from tests.agent.simulator.results import CALL, CUT_OFF, CUTTING, GOOD, NOISE, PAUSED, TURN


def test_tables_show_what_happened() -> None:
    """Words, latencies, stages, the trace and every failure are on the terminal."""
    failed = replace(
        CALL,
        id="booking-2",
        turns=(TURN, CUTTING, NOISE),
        trace_failures=("no span of op [bold]tts",),
    )
    console = Console(file=io.StringIO(), width=160)
    console.print(render(replace(GOOD, calls=(CALL, failed))))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for part in (
        "booking-1  completed",
        "For which day?",
        "600 ms",
        "610 ms",
        "endpointing 400 · llm 200",
        "where the time went",
        f"trace {'a' * 32} is complete",
        f"trace {'a' * 32} is wrong",
        "trace: no span of op [bold]tts",
        "1 of 2 conversations passed",
        "word error rate 0.0%",
        "0 orphans, 0 drops",
        "agent stopped after 340 ms",
        "agent paused and went on",
        "agent stops when talked over",
        "To see it fail again: parley simulate booking --seed 7",
    ):
        assert part in shown
    _, _, after = shown.partition("1 of 2 conversations passed")
    assert "booking-2: trace: no span of op [bold]tts" in after, "what failed comes last, again"


def test_who_was_cut_off_is_counted() -> None:
    """Of the sentences that have pauses; where there are none, nothing is said of it."""
    shown = []
    for turns in ((TURN,), (TURN, PAUSED, CUT_OFF)):
        console = Console(file=io.StringIO(), width=160)
        console.print(render(replace(GOOD, calls=(replace(CALL, turns=turns),))))
        assert isinstance(console.file, io.StringIO)
        shown.append(" ".join(console.file.getvalue().split()))
    assert "cut off" not in shown[0]
    assert "cut off: 1 of 2 sentences with pauses" in shown[1]


def test_a_machine_too_busy_to_measure_on_is_named() -> None:
    """Callers that couldn't keep time themselves make the figures mean little: that is said."""
    late = replace(GOOD, calls=(replace(CALL, late_ms=400.0),))
    assert (GOOD.busy, late.busy) == (None, 400.0)
    console = Console(file=io.StringIO(), width=160)
    console.print(render(late))
    assert isinstance(console.file, io.StringIO)
    assert "too busy to tell: callers' own audio left them up to 400 ms" in console.file.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_shown(terminal: bool) -> None:
    """What happens is shown as lines, or as bars on a terminal; words are never markup."""
    console = Console(file=io.StringIO(), width=120, force_terminal=terminal)
    with watch(console) as on_progress:
        on_progress(Progress("booking-1", "booking", 0, 2, "calling"))
        on_progress(Progress("booking-1", "booking", 1, 2, "[/b] a table"))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "1/2" in shown
    assert "[/b] a table" in shown
