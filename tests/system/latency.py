"""``python -m tests.system.latency``: what callers measure, against what telemetry says.

A LiveKit server, a worker (``parley start``) and all the callers are a process each, on one clock.
The callers come a second apart, hear the greeting, ask and hear the reply some times, and hang up.
*Apart* is the difference of both figures, by size. Where it comes from: how much *later* than for
telemetry the interval begins for the caller, and ends, when the sound comes out of the caller's own
jitter buffer. Whoever gets no answer is named and counted, and makes the program exit with 1.

A caller has joined when the server let it in: LiveKit's ``joined_at``, which both ends know. It
can't hear anything before its connection stands; from then on it is *connected to greeting*, beside
the same figure of telemetry's, which can't know of that moment.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import numpy as np

from agent import gateway
from agent.rooms.call import JOIN_TO_GREETING
from telemetry import attributes as names
from tests.system import livekit
from tests.system.callers import PATIENCE, Caller, question
from tests.system.worker import working

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.rooms import LiveKit
    from telemetry.store import StoredConversation

TARGET: Final = 0.150
"""Seconds that both may be apart (p95)."""
STAGGER: Final = 1.0
"""Seconds between two callers' coming."""
GREETING: Final = "join to greeting"
CONNECTED: Final = "connected to greeting"
REPLY: Final = "speech end to reply"


@dataclass(frozen=True, slots=True)
class Measured:
    """An interval in seconds: as its caller had it, and as telemetry has it."""

    what: str
    caller: float
    telemetry: float
    began_later: float
    """How much later the caller has it begin than telemetry; so it ends ``later`` than that."""

    @property
    def later(self) -> float:
        """How much longer the caller's is."""
        return self.caller - self.telemetry


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one run with so many callers."""

    found: list[Measured] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    """Who got no answer, and to what."""


async def measure(server: LiveKit, name: str, rooms: int, rounds: int, home: Path) -> Run:
    """Have so many callers call a worker of their own, and ask so many times each.

    ``name`` is this run's alone: conversations and the worker's store have it in theirs.
    """
    speech, run = question(), Run()
    with working(server, home, name=name) as worker:

        async def call(number: int) -> None:
            await anyio.sleep(number * STAGGER)
            caller, replies = Caller(server, f"{name}-{number}"), list[tuple[float, float]]()
            what = "the call"
            try:
                async with caller:
                    what = "the greeting"
                    await caller.hear_greeting()
                    for asked in range(1, rounds + 1):
                        what = f"question {asked}"
                        await caller.ask(speech)
                        replies.append(answered(caller))
                    what = "the hanging up"
                    await caller.hang_up()
            except (TimeoutError, gateway.ConnectError, gateway.Disconnected) as error:
                why = str(error) or f"nothing heard in {PATIENCE:g} s"
                run.unanswered.append(f"{caller.id}, {what}: {why}")
                return
            record = await anyio.to_thread.run_sync(worker.conversation, caller.id)
            run.found.extend(compare(caller, replies, record))

        async with anyio.create_task_group() as tasks:
            for number in range(rooms):
                tasks.start_soon(call, number)
    return run


def answered(caller: Caller) -> tuple[float, float]:
    """When a caller had asked, and when it was answered; ``TimeoutError`` if it was not."""
    if caller.spoke_until is None or caller.replied_at is None:
        raise TimeoutError("the call was over before")
    return caller.spoke_until, caller.replied_at


def compare(
    caller: Caller, replies: Sequence[tuple[float, float]], record: StoredConversation
) -> list[Measured]:
    """A call's intervals, each beside telemetry's."""
    root = next(span for span in record.spans if span.op == names.OP_CONVERSATION)
    responses = [span for span in record.spans if span.op == names.OP_RESPONSE]
    joined = caller.call.joined_at
    assert caller.greeted_at is not None
    assert joined is not None
    greeting = root.attributes[JOIN_TO_GREETING]
    connected = caller.call.connected_at
    found = [
        Measured(GREETING, caller.greeted_at - joined, greeting, 0.0),
        Measured(CONNECTED, caller.greeted_at - connected, greeting, connected - joined),
    ]
    for spoke, replied in replies:
        same = min(responses, key=lambda span: abs(span.ended_at - replied))
        latency = same.attributes[names.RESPONSE_LATENCY]
        found.append(Measured(REPLY, replied - spoke, latency, spoke - same.started_at))
    return found


def table(rooms: int, run: Run) -> str:
    """Lines of the table, in milliseconds."""
    lines = []
    for what in (GREETING, CONNECTED, REPLY):
        of_it = [each for each in run.found if each.what == what]
        if not of_it:
            continue
        apart = [abs(each.later) for each in of_it]
        figures = (
            np.median([each.caller for each in of_it]),
            np.median(apart),
            np.percentile(apart, 95),
            np.median([each.began_later for each in of_it]),
            np.median([each.began_later + each.later for each in of_it]),
        )
        cells = "".join(f"{figure * 1000:12.0f}" for figure in figures)
        ok = "" if figures[2] <= TARGET or what == CONNECTED else "  over"
        lines.append(f"{rooms:5}  {what:22}{len(of_it):4}{cells}{ok}\n")
    lines += [f"{rooms:5}  UNANSWERED {each}\n" for each in run.unanswered]
    return "".join(lines)


async def measure_all(server: LiveKit, rooms: Sequence[int], rounds: int, home: Path) -> int:
    """Measure with so many rooms, one after another; returns how many callers got no answer."""
    titles = ("caller p50", "apart p50", "apart p95", "begins later", "ends later")
    sys.stdout.write(
        f"milliseconds; both are to agree within {TARGET * 1000:.0f} (p95)\n"
        f"rooms  {'interval':24} n{''.join(f'{title:>12}' for title in titles)}\n"
    )
    unanswered = 0
    for number, count in enumerate(rooms, 1):
        run = await measure(server, f"run{number}", count, rounds, home)
        unanswered += len(run.unanswered)
        sys.stdout.write(table(count, run))
        sys.stdout.flush()
    return unanswered


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.latency")
    parser.add_argument("--rooms", type=int, nargs="+", default=[1, 2, 5, 10], metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="R", help="questions in each")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, livekit.running(Path(home) / "log") as server:
        lost = anyio.run(measure_all, server.livekit, asked.rooms, asked.rounds, Path(home))
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
