"""Sentry's moods and the store's: what they add to the lag of the event loop.

``parley serve`` with fast speech holds twenty calls at a time in a process of its own, as in
:mod:`tests.soak`; its callers and Sentry are in this one. Calls come and go the whole time, so
that there is always something to deliver. Moods and healthy times take turns in that one process:
what a mood adds is its p99 over the mean of the healthy times before it and after.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.ingest import Ingest
from tests.soak.callers import Callers
from tests.soak.plan import Fault
from tests.soak.world import World

from .figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SESSIONS: Final = 20
LAG_TARGET_MS: Final = 10.0
ROUNDS: Final = 2
MOODS: Final = {
    "Sentry hung": Fault(0.0, "sentry", "hangs"),
    "Sentry refusing": Fault(0.0, "sentry", "refuses"),
    "Sentry: 429": Fault(0.0, "sentry", "429"),
    "Sentry: 500": Fault(0.0, "sentry", "500"),
    "store full": Fault(0.0, "store", "full"),
    "store locked": Fault(0.0, "store", "locked"),
}
_BEFORE_SECONDS: Final = 12.0
"""Time the callers have to begin, and a process to warm up."""
_ONSET_SECONDS: Final = 1.0
"""Time a mood has to be met."""
_AFTER_SECONDS: Final = 40.0
"""Time there is, at most, for what waited to be delivered, before the next healthy time."""
_STORE_AFTER_SECONDS: Final = 6.0
"""A store that was in trouble is tried again after five seconds at most."""
_LONGEST_CALL_SECONDS: Final = 12.0

Lag = dict[str, float]


async def _measured(
    world: World, callers: Callers, seconds: float, rounds: int
) -> dict[str, list[Lag]]:
    """What each mood added to the lag, a round each, and the lag of the healthy times."""
    added: dict[str, list[Lag]] = defaultdict(list)
    await world.start()
    callers.come()
    await asyncio.sleep(_BEFORE_SECONDS)
    before = await _watch(world, seconds)
    added["healthy"].append(before)
    order = [*MOODS.items()]
    for _ in range(rounds):
        for name, fault in order:
            await world.begin(fault)
            await asyncio.sleep(_ONSET_SECONDS)
            during = await _watch(world, seconds)
            world.heal(fault)
            await _until_all_is_sent(world, fault)
            after = await _watch(world, seconds)
            added["healthy"].append(after)
            added[name].append(
                {key: during[key] - (before[key] + after[key]) / 2 for key in during}
            )
            before = after
        order.reverse()
    await callers.go()
    await world.stop()
    return added


async def _watch(world: World, seconds: float) -> Lag:
    return await asyncio.to_thread(world.gateway.watch, seconds)


async def _until_all_is_sent(world: World, fault: Fault) -> None:
    """Wait until next to nothing waits: what comes and goes is always some."""
    until = time.monotonic() + _AFTER_SECONDS
    if fault.kind == "store":
        await asyncio.sleep(_STORE_AFTER_SECONDS)
    while time.monotonic() < until:
        seen = await asyncio.to_thread(world.gateway.look)
        if seen.stats["waiting"] <= 2:
            return
        await asyncio.sleep(0.5)


async def run(
    folder: Path, seconds: float, *, sessions: int = SESSIONS, rounds: int = ROUNDS
) -> Mapping[str, list[Lag]]:
    """Each mood for so long, and as long without any."""
    with Ingest() as ingest:
        world = World(folder, ingest, {"PARLEY_MAX_SESSIONS": str(sessions + 2)})
        try:
            callers = Callers(f"ws://127.0.0.1:{world.port}", sessions, 1, _LONGEST_CALL_SECONDS)
            return await _measured(world, callers, seconds, rounds)
        finally:
            world.gateway.kill()  # nothing is left where something went wrong


def measure(seconds: float, sessions: int = SESSIONS) -> Iterator[Figure]:
    """The lag of healthy times, and what each mood adds to it; all in so many seconds or so."""
    each = seconds / (2 * ROUNDS * len(MOODS) + 1)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(run(Path(folder), each, sessions=sessions))
    for name, rounds in found.items():
        own = statistics.median(one["p99"] for one in rounds)
        wall = statistics.median(one["wall"] for one in rounds)
        if name == "healthy":
            yield Figure(f"loop lag p99, {sessions} sessions", own, "ms")
            yield Figure("the same with what other programs took", wall, "ms")
            spread = statistics.pstdev(one["p99"] for one in rounds)
            yield Figure("the same, from one healthy time to another", spread, "ms")
        else:
            yield Figure(f"more lag p99, {name}", own, "ms", target=LAG_TARGET_MS)
            yield Figure(f"more with other programs, {name}", wall, "ms")
