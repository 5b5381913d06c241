"""``python -m tests.system.memory``: what one more room costs, in a thread and in a process.

Both are measured in the same run: a worker holds one call, then some more, all greeted and on the
line. What counts is the proportional set size of the worker and its children (pages that
several share count once), as the kernel has it in ``smaps_rollup``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from tests.system import livekit
from tests.system.callers import Caller
from tests.system.processes import family
from tests.system.worker import working

if TYPE_CHECKING:
    from agent.rooms import LiveKit

MORE: Final = {"thread": 8, "process": 3}
"""Rooms beside the first."""
_SETTLED: Final = 4.0
"""Megabytes that four readings, a second apart, may differ by."""
_PATIENCE: Final = 60.0


async def per_room(server: LiveKit, executor: str, home: Path) -> float:
    """Megabytes that a further room takes, with this executor."""
    settings = {"PARLEY_JOB_EXECUTOR": executor, "PARLEY_SILENCE_TIMEOUT": "0"}
    with working(server, home, name=executor, **settings) as worker:
        leave = anyio.Event()

        async def call(id: str, greeted: anyio.Event) -> None:
            async with Caller(server, id, open_timeout=60.0) as caller:
                await caller.hear_greeting()
                greeted.set()
                await leave.wait()
                await caller.hang_up()

        async with anyio.create_task_group() as tasks:

            async def take(*ids: str) -> float:
                for id in ids:  # one after another: a process loads its models first
                    greeted = anyio.Event()
                    tasks.start_soon(call, id, greeted)
                    await greeted.wait()
                return await settled(worker.process.pid)

            # the server keeps an empty room for a while, and sends no second agent there
            one = await take(f"{executor}-first")
            more = MORE[executor]
            all_of_them = await take(*(f"{executor}-{number}" for number in range(more)))
            leave.set()
    return (all_of_them - one) / more


async def settled(process: int) -> float:
    """The megabytes of a process and its children, once they don't change any more: spare
    processes are still loading."""
    readings = deque[float](maxlen=4)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        readings.append(sum(map(proportional, family(process))))
        if len(readings) == readings.maxlen and max(readings) - min(readings) <= _SETTLED:
            break
        await anyio.sleep(1.0)
    return readings[-1]


def proportional(process: int) -> float:
    """Megabytes of a process, its share of shared pages included; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    (size,) = [line.split()[1] for line in lines if line.startswith("Pss:")]
    return int(size) / 1024


async def measure(server: LiveKit, home: Path) -> tuple[float, float]:
    """Megabytes per further room: in threads, in processes."""
    return await per_room(server, "thread", home), await per_room(server, "process", home)


def main() -> None:
    """The program."""
    with tempfile.TemporaryDirectory() as home, livekit.running(Path(home) / "log") as server:
        thread, process = anyio.run(measure, server.livekit, Path(home))
    sys.stdout.write(
        f"memory per further room: {thread:.1f} MB in a thread, {process:.0f} MB in a process\n"
    )


if __name__ == "__main__":
    main()
