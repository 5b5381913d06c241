"""What a hostile caller costs the others: lag of the event loop and memory, with each and without.

One process holds the gateway and twenty conversations with the example (recognition and synthesis
faked, all else real, telemetry with its store included), another the reservations service, as they
are deployed (``parley serve``, ``parley reservations``). Twenty callers speak to it from a process
of their own, and an attacker (:mod:`tests.bench.attackers`) does what it can from another, again
and again. Lag is that of the conversations' loop; memory that of both processes.

As a program it is one of these::

    python -m tests.bench.hostile book reservations.db book-traces.db
    python -m tests.bench.hostile serve http://127.0.0.1:8780 20 traces.db
    python -m tests.bench.hostile call ws://127.0.0.1:8765 20 30
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import numpy as np

import telemetry
from agent import desk, gateway
from agent.providers import Plugins, scripted, voice_activity
from agent.session import VoiceSession

from .attackers import KINDS
from .figures import Figure
from .sessions import FRAME, RATE, Recognizer, Voice, caller_frames, settle_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.session import Line, SessionRequest

SESSIONS: Final = 20
TICK_SECONDS: Final = 0.005
LAG_TARGET_MS: Final = 10.0
MEMORY_TARGET_MB: Final = 50.0
_BEFORE_SECONDS: Final = 6.0
"""Time the callers have to begin."""


def _plugins() -> Plugins:
    return Plugins(
        vad=voice_activity.detector(),
        stt=Recognizer(),
        llm=scripted.LLM(desk.FrontDesk.script),
        tts=Voice(),
    )


def _rss_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _tell(url: str) -> None:
    sys.stdout.write(url + "\n")
    sys.stdout.flush()


async def _keep_book(book: Path) -> None:
    """Run the reservations service until standard input ends."""
    async with anyio.create_task_group() as tasks:
        _tell(await tasks.start(functools.partial(desk.serve, book, port=0)))
        await asyncio.to_thread(sys.stdin.read)
        tasks.cancel_scope.cancel()


async def _serve(service: str, seconds: float) -> dict[str, float]:
    """Serve; measure for so long from the moment the service's process number comes."""
    async with anyio.create_task_group() as tasks, desk.Reservations.connect(service) as book:

        def open_session(request: SessionRequest, line: Line) -> VoiceSession:
            make = functools.partial(desk.FrontDesk, book)
            return VoiceSession(request, line, agent=make, plugins=_plugins)

        url = await tasks.start(
            functools.partial(
                gateway.serve, open_session, port=0, max_sessions=SESSIONS + 5, grace=2.0
            )
        )
        _tell(url)
        other = int(await asyncio.to_thread(sys.stdin.readline))
        found = await _measure(seconds, (os.getpid(), other))
        tasks.cancel_scope.cancel()
    return found


async def _measure(seconds: float, processes: tuple[int, ...]) -> dict[str, float]:
    """The loop's lag as far as it is this process's own doing, and all of it; the memory's peak,
    of all these processes.

    Own is what the process worked while the loop was late: on a machine that does nothing else
    that is all of it, and here other programs, the attacker's among them, take their time as well.
    """
    loop = asyncio.get_running_loop()
    settle_memory()
    lags: list[float] = []
    own: list[float] = []
    peak, until = 0.0, loop.time() + seconds
    while (now := loop.time()) < until:
        used = time.process_time()
        await asyncio.sleep(TICK_SECONDS)
        lag = loop.time() - now - TICK_SECONDS
        lags.append(lag * 1e3)
        own.append(min(lag, time.process_time() - used) * 1e3)
        if len(lags) % 20 == 0:
            peak = max(peak, sum(map(_rss_mb, processes)))
    return {
        "p99": float(np.percentile(own, 99)),
        "max": max(own),
        "wall": float(np.percentile(lags, 99)),
        "rss": peak,
    }


async def _call_all(url: str, callers: int, seconds: float) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(callers):
            tasks.create_task(_call(url, number, seconds))
            await asyncio.sleep(0.05)


async def _call(url: str, number: int, seconds: float) -> None:
    """One caller, in real time; what the agent says is thrown away."""
    loop = asyncio.get_running_loop()
    with suppress(gateway.Disconnected):  # the gateway has measured, and ends
        async with gateway.connect(url, start=gateway.Start(sample_rate=RATE)) as call:

            async def listen() -> None:
                with suppress(gateway.Disconnected):
                    async for _ in call:
                        pass

            listening = asyncio.create_task(listen())
            began = loop.time()
            for count, frame in enumerate(caller_frames(number, speaks=True), 1):
                due = began + count * FRAME / RATE
                if due > began + seconds:
                    break
                await asyncio.sleep(due - loop.time())
                await call.send_audio(frame)
            listening.cancel()


# -- what the benchmark makes of it ----------------------------------------------------------------


def _program(module: str, *options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"{__package__}.{module}", *map(str, options)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)


def _told(program: subprocess.Popen[str]) -> str:
    """The URL that a program says when it serves."""
    assert program.stdout is not None
    return program.stdout.readline().strip()


def run(kind: str | None, seconds: float) -> tuple[dict[str, float], dict[str, int]]:
    """The figures with this attacker, or none, and what it was told, with how often."""
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder, "book.db")
        keeper = _program("hostile", "book", book, Path(folder, "book-traces.db"))
        service = _told(keeper)
        server = _program("hostile", "serve", service, seconds, Path(folder, "traces.db"))
        url = _told(server)
        length = _BEFORE_SECONDS + seconds + 5
        callers = _program("hostile", "call", url, SESSIONS, length)
        attacker = None
        with suppress(subprocess.TimeoutExpired):
            callers.wait(_BEFORE_SECONDS)
        if kind is not None:
            attacker = _program("attackers", kind, url, service, book, seconds)
        found, _ = server.communicate(f"{keeper.pid}\n", timeout=seconds + 60)
        told = "{}" if attacker is None else attacker.communicate(timeout=30)[0]
        callers.wait(30)
        keeper.communicate(timeout=30)
        return json.loads(found), json.loads(told)


def measure(seconds: float) -> Iterator[Figure | str]:
    """Figures of each attacker beside those of none, and what each was told."""
    alone, _ = run(None, seconds)
    lag, memory = alone["p99"], alone["rss"]
    yield Figure(f"loop lag p99, {SESSIONS} sessions", lag, "ms")
    yield Figure("the same with what other programs took", alone["wall"], "ms")
    yield Figure("memory", memory, "MB")
    for kind in KINDS:
        found, told = run(kind, seconds)
        more = found["p99"] - lag
        yield Figure(f"more lag p99, attacker: {kind}", more, "ms", target=LAG_TARGET_MS)
        more = found["rss"] - memory
        yield Figure(f"more memory, attacker: {kind}", more, "MB", target=MEMORY_TARGET_MB)
        told = {reason: count for reason, count in told.items() if not reason.startswith("1001")}
        first = next(iter(told), "nothing: it is within the limits")
        times = sum(told.values())
        yield f"{kind}: was told {first} ({times} times); lag p99 with all {found['wall']:.0f} ms"


def main() -> None:
    """The program."""
    match sys.argv[1:]:
        case ["book", book, store]:
            with telemetry.init(store=store):
                asyncio.run(_keep_book(Path(book)))
        case ["serve", service, seconds, store]:
            with telemetry.init(store=store):
                found = asyncio.run(_serve(service, float(seconds)))
            sys.stdout.write(json.dumps(found) + "\n")
        case ["call", url, callers, seconds]:
            os.nice(5)
            asyncio.run(_call_all(url, int(callers), float(seconds)))
        case _:
            sys.exit(f"usage: see {__doc__}")


if __name__ == "__main__":
    main()
