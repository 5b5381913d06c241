"""Sentry is away for ten minutes, and comes back: memory meanwhile, and the time until all arrives.

``parley serve`` with fast speech holds twenty calls at a time in a process of its own, as in
:mod:`tests.soak`; its callers and Sentry are in this one. Calls come and go the whole time. Two
such processes run side by side, each with a store, a Sentry and callers of its own, and one of
them is killed in the middle of it and started again.

Memory is that of the process as the system has it. What it grew by is its peak over the peak of
its first time (:data:`WARM_UP_SHARE`): its caches fill in that, whatever Sentry does.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from telemetry import attributes as names
from tests.ingest import Ingest
from tests.soak.account import Account, account
from tests.soak.callers import Callers
from tests.soak.plan import Fault
from tests.soak.world import World

from .figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

SESSIONS: Final = 20
WARM_UP_SHARE: Final = 0.1
"""Of the time that Sentry is away: so long a process runs before its memory counts."""
RETURN_TARGET_SECONDS: Final = 120.0
GIVE_UP_SECONDS: Final = 180.0
MEMORY_TARGET_MB: Final = 20.0
_LONGEST_CALL_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.5
_AWAY: Final = Fault(0.0, "sentry", "refuses")


@dataclass(slots=True)
class Away:
    """What became of it."""

    waited: int = 0
    """Conversations that had ended when Sentry came back."""
    seconds: float = math.inf
    """From its return until it had all of them."""
    growth_mb: float = 0.0
    dropped: dict[str, int] = field(default_factory=dict)
    """Spans and errors, by reason."""
    account: Account = field(default_factory=Account)


class _Memory:
    """The memory of each process, in MB, from its start."""

    def __init__(self, world: World, warm_up: float) -> None:
        self._world = world
        self._warm_up = warm_up
        self._seen: dict[float, list[tuple[float, float]]] = defaultdict(list)

    async def watch(self) -> None:
        """Look, until this is cancelled."""
        while True:
            running = self._world.gateway
            if running.process.poll() is None:
                at = time.monotonic() - running.began_at
                self._seen[running.began_at].append((at, running.rss_mb()))
            await asyncio.sleep(_LOOK_SECONDS)

    @property
    def growth_mb(self) -> float:
        """The most that one of them grew by after its first time."""
        found = [0.0]
        for seen in self._seen.values():
            first = [mb for at, mb in seen if at <= self._warm_up]
            later = [mb for at, mb in seen if at > self._warm_up]
            if first and later:
                found.append(max(later) - max(first))
        return max(found)


class _Arrivals:
    """The traces of the conversations that Sentry has; each envelope is read once."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._read = 0
        self._traces: set[str] = set()

    def traces(self) -> set[str]:
        """Those that it has by now."""
        new = self._ingest.envelopes[self._read :]
        self._read += len(new)
        for envelope in new:
            event = envelope.get_transaction_event()
            trace = event["contexts"]["trace"] if event is not None else {}
            if trace.get("op") == names.OP_CONVERSATION:
                self._traces.add(str(trace["trace_id"]))
        return self._traces


async def run(
    folder: Path,
    seconds: float,
    *,
    killed: bool,
    sessions: int = SESSIONS,
    longest_call: float = _LONGEST_CALL_SECONDS,
) -> Away:
    """Have Sentry be away for so long; ``killed`` in the middle of that, or not."""
    found = Away()
    warm_up = WARM_UP_SHARE * seconds
    with Ingest() as ingest:
        world = World(folder, ingest, {"PARLEY_MAX_SESSIONS": str(sessions + 2)})
        try:
            await world.start()
            memory = _Memory(world, warm_up)
            callers = Callers(world.gateway.url, sessions, 1, longest_call)
            watching = asyncio.create_task(memory.watch())
            callers.come()
            await asyncio.sleep(warm_up)
            await world.begin(_AWAY)
            await asyncio.sleep(seconds / 2)
            if killed:
                await _note_drops(world, found)
                await world.kill()
                await world.start()
            await asyncio.sleep(seconds / 2)
            world.heal(_AWAY)
            await _until_all_is_there(_ended(callers, world), _Arrivals(ingest), found)
            watching.cancel()
            await callers.go()
            await _note_drops(world, found)
            await world.stop()
        finally:
            world.gateway.kill()  # nothing is left where something went wrong
        found.growth_mb = memory.growth_mb
        found.account = account(callers.calls, world.ended, world.stores, ingest)
    return found


def _ended(callers: Callers, world: World) -> set[str]:
    """The traces of the calls that are over, but for those that a kill may take."""
    killed = [ended.at for ended in world.ended]
    return {
        call.trace_id
        for call in callers.calls
        if call.over_at < math.inf and not any(0 <= at - call.at < 1.0 for at in killed)
    }


async def _until_all_is_there(waited: set[str], arrivals: _Arrivals, found: Away) -> None:
    returned = time.monotonic()
    found.waited = len(waited)
    while (now := time.monotonic()) < returned + GIVE_UP_SECONDS:
        if waited <= arrivals.traces():
            found.seconds = now - returned
            return
        await asyncio.sleep(0.2)


async def _note_drops(world: World, found: Away) -> None:
    seen = await asyncio.to_thread(world.gateway.look)
    for reason, count in seen.stats["dropped"].items():
        found.dropped[reason] = found.dropped.get(reason, 0) + count


async def _both(folder: Path, seconds: float, sessions: int) -> tuple[Away, Away]:
    folders = folder / "lives", folder / "killed"
    for each in folders:
        each.mkdir()
    lives, killed = await asyncio.gather(
        run(folders[0], seconds, killed=False, sessions=sessions),
        run(folders[1], seconds, killed=True, sessions=sessions),
    )
    return lives, killed


def measure(seconds: float, sessions: int = SESSIONS) -> Iterator[Figure]:
    """Figures of a process that lives through it, and of one that is killed."""
    with tempfile.TemporaryDirectory() as folder:
        both = asyncio.run(_both(Path(folder), seconds, sessions))
    for found, name in zip(both, ("away", "away, killed"), strict=True):
        lost = len(found.account.lost)
        twice = found.account.sent_twice
        yield Figure(f"{name}: conversations that waited", found.waited, "")
        yield Figure(
            f"{name}: until all were there", found.seconds, "s", target=RETURN_TARGET_SECONDS
        )
        yield Figure(f"{name}: memory", found.growth_mb, "MB", target=MEMORY_TARGET_MB)
        yield Figure(f"{name}: dropped", sum(found.dropped.values()), "", target=0.0)
        yield Figure(f"{name}: lost", lost, "", target=0.0)
        yield Figure(f"{name}: sent twice, under one id", twice, "")
