"""Conversations under locks that log. ``make locks`` runs each cell a hundred times."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.ingest import Ingest

from .matrix import (
    CELLS,
    HANG,
    LIFECYCLES,
    Capture,
    Cell,
    Lifecycle,
    Outcome,
    Remedy,
    Verdict,
    run,
    start,
)
from .wrapper import Moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

CONTROLS = (
    Cell(Moment.ACQUIRE, Capture.ERRORS, "transaction", Remedy.NONE),
    Cell(Moment.BEFORE, Capture.ERRORS, "stream", Remedy.NONE),
    Cell(Moment.ACQUIRE, Capture.LOGS, "transaction", Remedy.TRANSPORT),
)


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[Cell, Future[Outcome]]]:
    """All cells, run side by side; those that are to hang wait most of the time."""
    with (
        ThreadPoolExecutor(os.cpu_count()) as busy,
        ThreadPoolExecutor(len(CONTROLS)) as idle,
    ):
        yield {
            **{cell: idle.submit(run, cell, hang=HANG / 3) for cell in CONTROLS},
            **{cell: busy.submit(run, cell) for cell in CELLS},
        }


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_conversations_run_flush_and_close(
    outcomes: dict[Cell, Future[Outcome]], cell: Cell
) -> None:
    """Whatever the locks log and when: all spans and logged errors arrive, closing takes 5 s."""
    assert outcomes[cell].result() == Outcome(Verdict.GOOD)


@pytest.mark.parametrize("cell", CONTROLS, ids=str)
def test_without_the_remedy_it_hangs(outcomes: dict[Cell, Future[Outcome]], cell: Cell) -> None:
    """Under Sentry's own client, or its logging integration, the same cells deadlock."""
    assert outcomes[cell].result().verdict is Verdict.HANG


@pytest.mark.parametrize("lifecycle", LIFECYCLES)
def test_a_call_takes_no_lock_and_touches_no_file_or_socket(lifecycle: Lifecycle) -> None:
    """Spans, errors, logs and closing, while Sentry hangs: nothing that could block the loop."""
    assert _waits(lifecycle, "NullHandler") == ""


def test_what_a_call_waits_for_is_seen() -> None:
    """A handler of the application's that has a lock is found out."""
    assert "a lock" in _waits("transaction", "StreamHandler")


def _waits(lifecycle: Lifecycle, handler: str) -> str:
    with Ingest() as ingest:
        ingest.hang()
        process = start("calls", lifecycle, handler, ingest.dsn, hang=HANG)
    assert process.returncode == 0, process.stderr
    return process.stdout
