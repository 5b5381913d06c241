"""How many calls a core holds: a gateway with more and more callers, and when it is late.

One process serves the gateway on one event loop, as ``parley serve`` does, with recognition,
the language model and synthesis faked, telemetry and its store included. Callers speak to it from
a process of their own, each a sentence every six seconds, and wait for the answer.

As a program it is one of these::

    python -m tests.bench.density serve 100 20 traces.db
    python -m tests.bench.density call ws://127.0.0.1:8765 100 20
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from livekit.agents import Agent

import telemetry
from agent import gateway
from agent.cli import process
from agent.session import VoiceSession

from .figures import Figure
from .load import call_all, program, tell, told, watch
from .sessions import null_plugins

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.session import Line, SessionRequest

SIZES: Final = (25, 50, 100, 150, 200)
LAG_TARGET_MS: Final = 50.0
TARGET_SESSIONS: Final = 150
_SETTLE_SECONDS: Final = 8.0
"""Time the callers have to begin, and to be answered once."""
_LATE_SECONDS: Final = 2.0
"""Time to an answer from which it is late; it takes half a second when nothing is."""


def _open_session(request: SessionRequest, line: Line) -> VoiceSession:
    agent = functools.partial(Agent, instructions="")
    return VoiceSession(request, line, agent=agent, plugins=null_plugins, silence=0)


async def _serve(sessions: int, seconds: float) -> dict[str, float]:
    """Serve; measure for so long once a line comes."""
    async with anyio.create_task_group() as tasks:
        serve = functools.partial(gateway.serve, port=0, max_sessions=sessions, grace=2.0)
        tell(await tasks.start(serve, _open_session))
        await asyncio.to_thread(sys.stdin.readline)
        found = await watch(seconds)
        tell(json.dumps(found))
        await asyncio.to_thread(sys.stdin.readline)  # the callers have what they came for
        tasks.cancel_scope.cancel()
    return found


def run(sessions: int, seconds: float) -> tuple[dict[str, float], list[float]]:
    """The gateway's figures with so many callers, and the seconds that each answer took."""
    with tempfile.TemporaryDirectory() as folder:
        server = program("density", "serve", sessions, seconds, Path(folder, "traces.db"))
        assert server.stdin is not None
        whole = _SETTLE_SECONDS + seconds
        callers = program("density", "call", told(server), sessions, whole, _SETTLE_SECONDS)
        told(callers)  # all have been taken
        server.stdin.write("measure\n")
        server.stdin.flush()
        found = json.loads(told(server))
        answers = json.loads(told(callers))
        callers.wait(30)
        server.communicate("end\n", timeout=60)
        return found, [math.inf if one is None else one for one in answers]


def measure(sizes: Iterable[int], seconds: float) -> Iterator[Figure]:
    """For each number of callers: CPU, lag, answers that are late or missing."""
    for size in sizes:
        found, answers = run(size, seconds)
        came = [one for one in answers if one < math.inf]
        late = sum(one > _LATE_SECONDS for one in came)
        is_target = size == TARGET_SESSIONS
        yield Figure(f"{size} sessions: CPU", found["cpu"], "% core")
        yield Figure(f"{size} sessions: CPU of one", found["cpu"] / size, "% core")
        yield Figure(f"{size} sessions: loop lag p50", found["p50"], "ms")
        target = LAG_TARGET_MS if is_target else None
        yield Figure(f"{size} sessions: loop lag p99", found["p99"], "ms", target=target)
        yield Figure(f"{size} sessions: loop lag at most", found["max"], "ms")
        if came:
            yield Figure(f"{size} sessions: answer, median", statistics.median(came), "s")
        ratio = late / max(len(answers), 1)
        yield Figure(f"{size} sessions: late answers", late, "", ratio, f"of {len(answers)}")
        missing = len(answers) - len(came)
        ratio = missing / max(len(answers), 1)
        yield Figure(
            f"{size} sessions: missing answers",
            missing,
            "",
            ratio,
            f"of {len(answers)}",
            target=0.0 if is_target else None,
        )


def main() -> None:
    """The program."""
    match sys.argv[1:]:
        case ["serve", sessions, seconds, store]:
            with telemetry.init(store=store):
                process.run(_serve, int(sessions), float(seconds))
        case ["call", url, callers, seconds, skip]:
            os.nice(5)
            answers = process.run(_call, url, int(callers), float(seconds), float(skip))
            tell(json.dumps([None if one == math.inf else one for one in answers]))
        case _:
            sys.exit(f"usage: see {__doc__}")


async def _call(url: str, callers: int, seconds: float, skip: float) -> list[float]:
    return await call_all(url, callers, seconds, skip_seconds=skip, on_measure=lambda: tell("now"))


if __name__ == "__main__":
    main()
