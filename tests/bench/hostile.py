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
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

import telemetry
from agent import desk, gateway
from agent.providers import Plugins, scripted, voice_activity
from agent.session import VoiceSession

from .attackers import KINDS
from .figures import Figure
from .load import call_all, program, tell, told, watch
from .sessions import Recognizer, Voice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.session import Line, SessionRequest

SESSIONS: Final = 20
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


async def _keep_book(book: Path) -> None:
    """Run the reservations service until standard input ends."""
    async with anyio.create_task_group() as tasks:
        tell(await tasks.start(functools.partial(desk.serve, book, port=0)))
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
        tell(url)
        other = int(await asyncio.to_thread(sys.stdin.readline))
        found = await watch(seconds, other)
        tasks.cancel_scope.cancel()
    return found


# -- what the benchmark makes of it ----------------------------------------------------------------


def run(kind: str | None, seconds: float) -> tuple[dict[str, float], dict[str, int]]:
    """The figures with this attacker, or none, and what it was told, with how often."""
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder, "book.db")
        keeper = program("hostile", "book", book, Path(folder, "book-traces.db"))
        service = told(keeper)
        server = program("hostile", "serve", service, seconds, Path(folder, "traces.db"))
        url = told(server)
        length = _BEFORE_SECONDS + seconds + 5
        callers = program("hostile", "call", url, SESSIONS, length)
        attacker = None
        with suppress(subprocess.TimeoutExpired):
            callers.wait(_BEFORE_SECONDS)
        if kind is not None:
            attacker = program("attackers", kind, url, service, book, seconds)
        found, _ = server.communicate(f"{keeper.pid}\n", timeout=seconds + 60)
        reasons = "{}" if attacker is None else attacker.communicate(timeout=30)[0]
        callers.wait(30)
        keeper.communicate(timeout=30)
        return json.loads(found), json.loads(reasons)


def measure(seconds: float) -> Iterator[Figure | str]:
    """Figures of each attacker beside those of none, and what each was told."""
    alone, _ = run(None, seconds)
    lag, memory = alone["p99"], alone["rss"]
    yield Figure(f"loop lag p99, {SESSIONS} sessions", lag, "ms")
    yield Figure("the same with what other programs took", alone["wall"], "ms")
    yield Figure("memory", memory, "MB")
    for kind in KINDS:
        found, reasons = run(kind, seconds)
        more = found["p99"] - lag
        yield Figure(f"more lag p99, attacker: {kind}", more, "ms", target=LAG_TARGET_MS)
        more = found["rss"] - memory
        yield Figure(f"more memory, attacker: {kind}", more, "MB", target=MEMORY_TARGET_MB)
        reasons = {why: count for why, count in reasons.items() if not why.startswith("1001")}
        first = next(iter(reasons), "nothing: it is within the limits")
        times = sum(reasons.values())
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
            asyncio.run(call_all(url, int(callers), float(seconds)))
        case _:
            sys.exit(f"usage: see {__doc__}")


if __name__ == "__main__":
    main()
