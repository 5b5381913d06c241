"""How many calls a core holds: a gateway with more and more callers, and when it is late.

One process serves the gateway on one event loop, as ``parley serve`` does, with recognition,
the language model and synthesis faked, telemetry and its store included. Callers speak to it from
a process of their own, each a sentence every six seconds, and wait for the answer.

With several processes on one port (``--processes 1,2``) each is to hold as many calls as one does
alone. The callers need a part of the cores as well, so where there are few, it isn't the lag that
says so, but the CPU of a session: N processes hold N times as many as one if it is the same.

As a program it is one of these::

    python -m tests.bench.density serve 100 20 FOLDER 0 1 8765
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
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from livekit.agents import Agent

import telemetry
from agent import gateway
from agent.cli import process
from agent.listening import reserved
from agent.session import VoiceSession
from agent.siblings import Place

from .figures import Figure
from .load import call_all, program, tell, told, watch
from .sessions import null_plugins

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Iterator, Sequence

    from agent.session import Line, SessionRequest

SIZES: Final = (25, 50, 100, 150, 200)
LAG_TARGET_MS: Final = 50.0
TARGET_SESSIONS: Final = 150
SHARE_HELD: Final = 0.9
"""Share of what a process holds alone that it is to hold beside others: two hold 1.8 times that."""
_SEATS: Final = "seats"
"""Name of the file by which they share seats."""
_SETTLE_SECONDS: Final = 8.0
"""Time the callers have to begin, and to be answered once."""
_LATE_SECONDS: Final = 2.0
"""Time to an answer from which it is late; it takes half a second when nothing is."""


def _open_session(request: SessionRequest, line: Line) -> VoiceSession:
    agent = functools.partial(Agent, instructions="")
    return VoiceSession(request, line, agent=agent, plugins=null_plugins, silence=0)


async def _serve(sessions: int, seconds: float, place: Place, port: int) -> dict[str, float]:
    """Serve; measure for so long once a line comes."""
    async with anyio.create_task_group() as tasks:
        serve = functools.partial(
            gateway.serve, port=port, max_sessions=sessions, grace=2.0, place=place
        )
        tell(await tasks.start(serve, _open_session))
        await asyncio.to_thread(sys.stdin.readline)
        found = await watch(seconds)
        tell(json.dumps(found))
        await asyncio.to_thread(sys.stdin.readline)  # the callers have what they came for
        tasks.cancel_scope.cancel()
    return found


def run(sessions: int, seconds: float, processes: int) -> tuple[dict[str, float], list[float]]:
    """The figures of so many processes together with so many callers, and the seconds that each
    answer took. CPU and memory are added up; of the lags it is the largest."""
    with (
        tempfile.TemporaryDirectory() as folder,
        reserved("127.0.0.1", 0, "the port") as port,
        ExitStack() as ended,
    ):
        Path(folder, _SEATS).touch()
        servers = [
            ended.enter_context(
                program("density", "serve", sessions, seconds, folder, number, processes, port)
            )
            for number in range(processes)
        ]
        urls = [told(server) for server in servers]
        whole = _SETTLE_SECONDS + seconds
        callers = program("density", "call", urls[0], sessions, whole, _SETTLE_SECONDS)
        told(callers)  # all have been taken
        for server in servers:
            _order(server, "measure")
        found = [json.loads(told(server)) for server in servers]
        answers = json.loads(told(callers))
        callers.wait(30)
        for server in servers:
            server.communicate("end\n", timeout=60)
        added = {name: sum(each[name] for each in found) for name in ("cpu", "rss")}
        worst = {name: max(each[name] for each in found) for name in found[0]}
        return worst | added, [math.inf if one is None else one for one in answers]


def _order(server: subprocess.Popen[str], what: str) -> None:
    assert server.stdin is not None
    server.stdin.write(what + "\n")
    server.stdin.flush()


def measure(
    sizes: Iterable[int], seconds: float, processes: Sequence[int] = (1,)
) -> Iterator[Figure]:
    """For each number of callers a process: CPU, lag, answers that are late or missing."""
    for size in sizes:
        alone: float | None = None
        """CPU of a session where the first number of processes holds them."""
        for number in processes:
            found, answers = run(size * number, seconds, number)
            name = f"{size} sessions" if number == 1 else f"{number} times {size} sessions"
            yield from _figures(name, found, answers, is_target=size * number == TARGET_SESSIONS)
            each = found["cpu"] / (size * number)
            alone = alone or each
            against, target = "", None
            if number != processes[0]:
                against = f"with {processes[0]}"
                target = 1 / SHARE_HELD
            yield Figure(
                f"{name}: CPU of one",
                each,
                "% core",
                each / alone if against else None,
                against,
                target,
            )


def _figures(
    name: str, found: dict[str, float], answers: list[float], *, is_target: bool
) -> Iterator[Figure]:
    came = [one for one in answers if one < math.inf]
    late = sum(one > _LATE_SECONDS for one in came)
    yield Figure(f"{name}: CPU", found["cpu"], "% core")
    yield Figure(f"{name}: loop lag p50", found["p50"], "ms")
    target = LAG_TARGET_MS if is_target else None
    yield Figure(f"{name}: loop lag p99", found["p99"], "ms", target=target)
    yield Figure(f"{name}: loop lag at most", found["max"], "ms")
    if came:
        yield Figure(f"{name}: answer, median", statistics.median(came), "s")
    ratio = late / max(len(answers), 1)
    yield Figure(f"{name}: late answers", late, "", ratio, f"of {len(answers)}")
    missing = len(answers) - len(came)
    ratio = missing / max(len(answers), 1)
    target = 0.0 if is_target else None
    yield Figure(f"{name}: missing answers", missing, "", ratio, f"of {len(answers)}", target)


def main() -> None:
    """The program."""
    match sys.argv[1:]:
        case ["serve", sessions, seconds, folder, number, of, port]:
            seats = os.open(Path(folder, _SEATS), os.O_RDWR)
            place = Place(Path(folder), int(number), int(of), seats)
            with telemetry.init(store=Path(folder, "traces.db")):
                process.run(_serve, int(sessions), float(seconds), place, int(port))
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
