"""``make soak`` in small: a few faults of each kind, and nobody unaccounted for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

import telemetry
from tests.ingest import Ingest
from tests.soak.account import account
from tests.soak.callers import Called
from tests.soak.gateway import Vitals
from tests.soak.plan import Fault, drawn
from tests.soak.run import Phases, soak
from tests.soak.vitals import leaks, slope
from tests.soak.world import Ended

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.timeout(240, func_only=True), pytest.mark.anyio]

CHAOS: Final = (
    Fault(0.5, "sentry", "hangs", 4.0),
    Fault(1.0, "store", "locked", 1.0),
    Fault(2.0, "clock", "stepped to", -60.0),
    Fault(2.5, "loop", "stands still", 0.5),
    Fault(6.0, "sentry", "500", 2.0),
    Fault(9.0, "process", "killed"),
)
WARM_UP: Final = (
    Fault(0.5, "sentry", "429", 2.0),
    Fault(1.0, "store", "full", 1.0),
    Fault(2.5, "store", "moved away", 0.5),
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_all_are_accounted_for(tmp_path: Path) -> None:
    """Conversations are delivered, or recovered after a kill; tasks, threads and files are as many
    as before."""
    phases = Phases(CHAOS, 9.0, WARM_UP, 3.5, 4.0)
    report = await soak(tmp_path, phases, callers=6, seed=1, longest_call=3.0)
    assert report.problems == []
    assert [each.code for each in report.ended] == [None, 0]
    found = report.account
    assert found.delivered > 0
    assert found.delivered + found.recovered + found.younger == report.told
    assert sum(report.faults.values()) == len(CHAOS) + len(WARM_UP)


def test_a_plan_is_repeatable() -> None:
    """The same seed, the same faults; a longer run begins as a shorter one. No process ends while
    the store is in trouble, or has just been."""
    plan = drawn(5, 300.0, kills=True)
    assert plan == drawn(5, 300.0, kills=True)
    assert set(drawn(5, 60.0, kills=True)) <= set(plan)
    assert {fault.kind for fault in plan} == {"process", "sentry", "store", "clock", "loop"}
    assert not [fault for fault in drawn(5, 300.0, kills=False) if fault.kind == "process"]
    troubles = [fault for fault in plan if fault.kind == "store"]
    ends = [fault.at for fault in plan if fault.kind == "process"]
    assert not [at for at in ends for each in troubles if each.at <= at < each.settled_at]


def test_a_conversation_that_nobody_has_is_lost(tmp_path: Path) -> None:
    """Unless it began less than a second before its process was killed: on the account it is
    neither at Sentry nor in the store."""
    young, old = Called("young", "a" * 32, at=99.5), Called("old", "b" * 32, at=98.0)
    with Ingest() as ingest:
        store = tmp_path / "traces.db"
        with telemetry.init(store=store, dsn=ingest.dsn), telemetry.conversation("call") as call:
            known = Called(call.id, call.trace_id, at=98.0)
        found = account([known, young, old], [Ended(90.0, 100.0)], [store], ingest)
    assert (found.delivered, found.younger) == (1, 1)
    assert found.lost == ["old never reached Sentry", "old has no end in the store"]


def vitals(threads: dict[str, int], tasks: dict[str, int], files: dict[str, int]) -> Vitals:
    """Vitals, of which these counts are of interest."""
    return Vitals(
        at=0.0, rss_mb=200.0, blocks=0, threads=threads, tasks=tasks, files=files, stats={}
    )


def test_what_there_is_more_of_is_a_leak() -> None:
    """Tasks, threads, files; threads of pools and connections that are kept alive are none."""
    before = vitals({"MainThread": 1}, {"_serve": 1}, {"socket": 3})
    same = vitals({"MainThread": 1, "AnyIO worker thread": 2}, {}, {"socket": 7})
    more = vitals({"MainThread": 1, "left": 1}, {"_serve": 2}, {"socket": 8})
    assert leaks(before, same) == []
    assert leaks(before, more) == [
        "task _serve: 1 before, 2 after",
        "thread left: 0 before, 1 after",
        "file socket: 3 before, 8 after",
    ]


def test_memory_that_grows_is_told_from_memory_that_does_not() -> None:
    """A megabyte a minute is a leak, whatever comes and goes; that alone is none; a short time
    tells nothing."""
    flat = [(50.0 * number, 200.0 + number % 2) for number in range(7)]
    growing = [(at, mb + at / 60) for at, mb in flat]
    assert slope(flat).is_leak is False
    assert slope(growing).is_leak is True
    assert slope(growing[:4]).is_leak is None
