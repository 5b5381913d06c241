"""Short calls without end: what a process that has had ten thousand of them still holds.

One process serves the gateway, as ``parley serve`` does, with speech faked, telemetry and its store
included. Callers in a process of their own call, wait for the greeting, hang up and call again, a
few at a time. After each tenth of the calls nobody calls for a moment, and the process says what
memory it has in use: garbage is collected and free memory given back before, for what the C library
keeps for the next calls grows for some minutes, whatever is done with it.

As a program it is one of these::

    python -m tests.bench.churn serve traces.db
    python -m tests.bench.churn call ws://127.0.0.1:8765 10000
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import numpy as np
from livekit.agents import Agent

import telemetry
from agent import gateway
from agent.cli import process
from agent.session import VoiceSession

from .figures import Figure
from .load import program, tell, told
from .sessions import RATE, null_plugins

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from agent.session import Line, SessionRequest

AT_ONCE: Final = 10
"""Callers at a time."""
PARTS: Final = 10
"""Number of looks; in the first half of the calls memory may still grow."""
HELD: Final = 50
"""Calls that are held at the end, and as many again, to see what one takes: those before them may
use what short calls have left free."""
FLAT_KB: Final = 1.0
"""Memory that a call may leave."""
_START: Final = gateway.Start(sample_rate=RATE)


class _Greeter(Agent):
    """An agent that says hello."""

    def __init__(self) -> None:
        super().__init__(instructions="")

    async def on_enter(self) -> None:
        """Say it."""
        self.session.say("Hello.")


def _open_session(request: SessionRequest, line: Line) -> VoiceSession:
    return VoiceSession(request, line, agent=_Greeter, plugins=null_plugins, silence=0)


# -- the programs ----------------------------------------------------------------------------------


async def _serve(runtime: telemetry.Runtime) -> None:
    """Serve; say what memory is in use whenever a line comes, until an empty one does."""
    async with anyio.create_task_group() as tasks:
        serve = functools.partial(gateway.serve, port=0, max_sessions=2 * HELD, grace=2.0)
        tell(await tasks.start(serve, _open_session))
        while (await asyncio.to_thread(sys.stdin.readline)).strip():
            await runtime.aflush(30.0)
            tell(json.dumps(_look()))
        tasks.cancel_scope.cancel()


def _look() -> dict[str, float]:
    gc.collect()
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "blocks": sys.getallocatedblocks(),
        "tasks": len(asyncio.all_tasks()),
    }


async def _call(url: str, calls: int) -> None:
    """Call so often, and say after each part how long the greetings took; then hold some calls."""
    for _ in range(PARTS):
        greeted: list[float] = []
        left = iter(range(calls // PARTS))
        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(_come_and_go, url, left, greeted)
        tell(json.dumps(greeted))
        await asyncio.to_thread(sys.stdin.readline)
    async with AsyncExitStack() as held:
        for _ in range(2):
            for _ in range(HELD):
                call = await held.enter_async_context(gateway.connect(url, start=_START))
                await _greeting(call)
            tell("held")
            await asyncio.to_thread(sys.stdin.readline)


async def _come_and_go(url: str, left: Iterator[int], greeted: list[float]) -> None:
    for _ in left:
        began = time.monotonic()
        async with gateway.connect(url, start=_START) as call:
            await _greeting(call)
            greeted.append(time.monotonic() - began)
            await call.end()
            async for _ in call:
                pass


async def _greeting(call: gateway.Call) -> None:
    async for message in call:
        if isinstance(message, gateway.AudioStarted):
            return


# -- what they say ---------------------------------------------------------------------------------


def measure(calls: int) -> Iterator[Figure]:
    """Memory after each part of so many calls, and how long the greetings took."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ended:
        server = ended.enter_context(program("churn", "serve", Path(folder, "traces.db")))
        callers = ended.enter_context(program("churn", "call", told(server), calls))
        looks = [_ask(server)]
        greeted: list[float] = []
        for _ in range(PARTS):
            greeted += json.loads(told(callers))
            looks.append(_ask(server))
            _order(callers, "go on")
        held: list[float] = []
        for _ in range(2):
            told(callers)
            held.append(_ask(server)["mb"])
            _order(callers, "go on")
        callers.wait(60)
        _order(server, "")
    done = calls // PARTS
    yield Figure("memory before all calls", looks[0]["mb"], "MB")
    for number, look in enumerate(looks[1:], 1):
        yield Figure(f"memory after {number * done} calls", look["mb"], "MB")
    half, last = looks[PARTS // 2], looks[-1]
    rest = done * (PARTS - PARTS // 2)
    left_kb = (last["mb"] - half["mb"]) * 1e3 / rest
    yield Figure("left by a call, in the second half", left_kb, "kB", target=FLAT_KB)
    blocks = (last["blocks"] - half["blocks"]) / rest
    yield Figure("objects left by a call, in the second half", blocks, "")
    yield Figure("tasks left", last["tasks"] - looks[0]["tasks"], "", target=0)
    yield Figure("memory of a call that is held", (held[1] - held[0]) * 1e3 / HELD, "kB")
    yield Figure("from dialling to the greeting, median", statistics.median(greeted) * 1e3, "ms")
    p99 = float(np.percentile(greeted, 99)) * 1e3
    yield Figure("from dialling to the greeting, p99", p99, "ms")


def _order(program: subprocess.Popen[str], what: str) -> None:
    assert program.stdin is not None
    program.stdin.write(what + "\n")
    program.stdin.flush()


def _ask(server: subprocess.Popen[str]) -> dict[str, float]:
    _order(server, "look")
    found: dict[str, float] = json.loads(told(server))
    return found


def main() -> None:
    """The program."""
    match sys.argv[1:]:
        case ["serve", store]:
            with telemetry.init(store=store) as runtime:
                process.run(_serve, runtime)
        case ["call", url, calls]:
            os.nice(5)
            process.run(_call, url, int(calls))
        case _:
            sys.exit(f"usage: see {__doc__}")


if __name__ == "__main__":
    main()
