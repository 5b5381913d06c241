"""The run: callers come and go while faults happen, then a quiet time, then the account."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from telemetry.store import TraceStore, TraceStoreError
from tests.ingest import Ingest

from .account import Account, account
from .callers import Callers
from .vitals import Slope, leaks, slope
from .world import Ended, World

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .gateway import Vitals
    from .plan import Fault

SETTLE_SECONDS: Final = 30.0
"""Time for the last call's remains to go: threads of pools, connections that are kept alive."""
ROUND_SECONDS: Final = 40.0
"""Time for a round of callers, in the quiet time."""
DELIVERY_SECONDS: Final = 120.0
"""Time for Sentry to get all that waits, once it is well."""


@dataclass(slots=True)
class Report:
    """What became of everything."""

    account: Account = field(default_factory=Account)
    told: int = 0
    """Conversations that a caller was told the id of."""
    attempts: dict[str, int] = field(default_factory=dict)
    """Calls and attempts, by how they ended for the caller."""
    faults: dict[str, int] = field(default_factory=dict)
    vitals: list[Vitals] = field(default_factory=list)
    """Of the long-lived process, between rounds of callers, and after the last of them."""
    slope: Slope | None = None
    ended: list[Ended] = field(default_factory=list)
    """The ends of all processes, in order."""
    problems: list[str] = field(default_factory=list)
    """All that isn't as it should be, a line each."""
    log: list[str] = field(default_factory=list)
    """The log of the last process."""


@dataclass(frozen=True, slots=True)
class Phases:
    """What happens when. Times are seconds."""

    chaos: Sequence[Fault]
    """What ends processes is among these."""
    chaos_seconds: float
    warm_up: Sequence[Fault]
    """Faults before the quiet time, of the process that lives through it."""
    warm_up_seconds: float
    quiet_seconds: float


async def soak(
    folder: Path,
    phases: Phases,
    *,
    callers: int,
    seed: int,
    lifecycle: str = "transaction",
    longest_call: float = 9.0,
) -> Report:
    """Run it. ``folder`` is for the processes and their store, ``longest_call`` in seconds."""
    report = Report()
    settings = {
        "PARLEY_MAX_SESSIONS": str(max(1, callers - 2)),
        "PARLEY_TRACE_LIFECYCLE": lifecycle,
    }
    with Ingest() as ingest:
        world = World(folder, ingest, settings)
        try:
            await world.start()
            coming = Callers(world.gateway.url, callers, seed, longest_call)
            await _with_callers(world, coming, phases.chaos, phases.chaos_seconds)
            await _with_callers(world, coming, phases.warm_up, phases.warm_up_seconds)
            await _quiet(world, coming, phases.quiet_seconds, report)
            await _until_all_is_sent(world, report)
            await world.stop()
        finally:
            report.log = world.gateway.log
            world.gateway.kill()  # nothing is left where something went wrong
        report.problems += await world.recover_aside()
        for fault in (*phases.chaos, *phases.warm_up):
            name = f"{fault.kind} {fault.how}"
            report.faults[name] = report.faults.get(name, 0) + 1
        report.ended = world.ended
        report.told = len(coming.calls)
        report.attempts = dict(Counter(coming.attempts))
        report.account = account(coming.calls, world.ended, world.stores, ingest)
        report.problems += [*report.account.lost, *_bad_ends(world)]
    return report


async def _with_callers(
    world: World, coming: Callers, faults: Sequence[Fault], seconds: float
) -> None:
    """Have callers come and go for so long, and these faults happen meanwhile."""
    coming.come()
    began = time.monotonic()
    beginnings = [(fault.at, 1, fault) for fault in faults]
    ends = [(fault.over_at, 0, fault) for fault in faults]
    for at, begins, fault in sorted([*beginnings, *ends], key=lambda each: each[:2]):
        await asyncio.sleep(began + at - time.monotonic())
        if begins:
            await world.begin(fault)
        else:
            world.heal(fault)
    await asyncio.sleep(began + seconds - time.monotonic())
    await coming.go()


async def _quiet(world: World, coming: Callers, seconds: float, report: Report) -> None:
    """One process, callers who come and go, and no faults: what is left of them?"""
    before = await _settled(world)
    report.vitals = [before]
    rounds = max(1, round(seconds / ROUND_SECONDS))
    for _ in range(rounds):
        await _with_callers(world, coming, (), seconds / rounds)
        report.vitals.append(await _settled(world, before))
    report.problems += leaks(before, report.vitals[-1])
    report.slope = slope([(seen.at, seen.rss_mb) for seen in report.vitals])
    if report.slope.is_leak:
        report.problems.append(f"memory grows: {report.slope}")


async def _settled(world: World, before: Vitals | None = None) -> Vitals:
    """The vitals of the process once it holds no call; until they are like those before, if they
    come to be."""
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        held = await asyncio.to_thread(world.gateway.held)
        seen = await asyncio.to_thread(world.gateway.look)
        is_quiet = held == 0 and seen.stats["waiting"] == 0
        if is_quiet and not leaks(before or seen, seen):
            return seen
        if time.monotonic() > until:
            return seen
        await asyncio.sleep(0.5)


async def _until_all_is_sent(world: World, report: Report) -> None:
    """Wait until nothing in the store waits for Sentry."""
    until = time.monotonic() + DELIVERY_SECONDS
    while True:
        try:
            left = await asyncio.to_thread(TraceStore(world.store).left)
        except TraceStoreError as error:
            report.problems.append(str(error))
            return
        if not (left.unsent or left.conversations):
            return
        if time.monotonic() > until:
            report.problems.append(f"{DELIVERY_SECONDS:g} s after the last call: {left}")
            return
        await asyncio.sleep(0.2)


def _bad_ends(world: World) -> list[str]:
    """Processes that were asked to end, and did it badly. (Late ones are in nobody's account:
    :meth:`.gateway.Gateway.stop` raises.)"""
    return [
        f"a process ended {each.seconds:.1f} s after SIGTERM with {each.code}:\n{each.said}"
        for each in world.ended
        if each.code not in (None, 0) and not each.is_left
    ]
