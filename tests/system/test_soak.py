"""``make soak`` in small: a few faults of each kind, and nobody unaccounted for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.soak.plan import Fault, drawn
from tests.soak.run import Phases, soak
from tests.soak.vitals import slope

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


def test_memory_that_grows_is_told_from_memory_that_does_not() -> None:
    """A megabyte a minute is a leak, whatever comes and goes; a sawtooth is none; a short time
    tells nothing."""
    sawtooth = [(float(at), 200.0 + at % 17) for at in range(400)]
    growing = [(at, mb + at / 60 * 1.0) for at, mb in sawtooth]
    assert slope(sawtooth).is_leak is False
    assert slope(growing).is_leak is True
    assert slope(growing[:60]).is_leak is None
