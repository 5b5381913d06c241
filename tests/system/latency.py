"""``python -m tests.system.latency``: what callers measure, against what telemetry says.

A LiveKit server, a worker (``parley start``) and all the callers are a process each, on one clock.
The callers come a second apart, hear the greeting, ask and hear the reply some times, and hang up.
*Apart* is the difference of both figures, by size. Where it comes from: how much *later* than for
telemetry the interval begins for the caller, who has joined once the connection stands, and ends,
when the sound comes out of the caller's own jitter buffer.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import numpy as np

from agent.rooms.call import JOIN_TO_GREETING
from telemetry import attributes as names
from tests.system import livekit
from tests.system.callers import Caller, question
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
REPLY: Final = "speech end to reply"
_TICK: Final = 0.02
_REPLIES_MATCH: Final = 2.0
"""Seconds between a reply that was heard and telemetry's, at most, if they are the same."""


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


async def measure(server: LiveKit, rooms: int, rounds: int, home: Path) -> list[Measured]:
    """Have so many callers call a worker of their own, and ask so many times each."""
    speech, found = question(), list[Measured]()
    with working(server, home, name=f"rooms-{rooms}") as worker:

        async def call(number: int) -> None:
            await anyio.sleep(number * STAGGER)
            caller, replies = Caller(server, f"{rooms}-{number}"), list[tuple[float, float]]()
            async with caller:
                await caller.hear_greeting()
                for _ in range(rounds):
                    await caller.ask(speech)
                    assert caller.spoke_until is not None
                    assert caller.replied_at is not None, f"{caller.id}: no reply"
                    replies.append((caller.spoke_until, caller.replied_at))
                await caller.hang_up()
            record = await anyio.to_thread.run_sync(worker.conversation, caller.id)
            found.extend(compare(caller, replies, record))

        async with anyio.create_task_group() as tasks:
            for number in range(rooms):
                tasks.start_soon(call, number)
    return found


def compare(
    caller: Caller, replies: Sequence[tuple[float, float]], record: StoredConversation
) -> list[Measured]:
    """A call's intervals, each beside telemetry's."""
    root = next(span for span in record.spans if span.op == names.OP_CONVERSATION)
    responses = [span for span in record.spans if span.op == names.OP_RESPONSE]
    assert caller.greeted_at is not None
    joined = caller.call._room.local_participant.joined_at
    assert joined is not None
    found = [
        Measured(
            GREETING,
            caller.greeted_at - caller.call.joined_at,
            root.attributes[JOIN_TO_GREETING],
            caller.call.joined_at - joined.timestamp(),
        )
    ]
    for spoke, replied in replies:
        same = min(responses, key=lambda span: abs(span.ended_at - replied))
        latency = same.attributes[names.RESPONSE_LATENCY]
        found.append(Measured(REPLY, replied - spoke, latency, spoke - same.started_at))
    return found


def table(rooms: int, found: Sequence[Measured]) -> str:
    """Lines of the table, in milliseconds."""
    lines = []
    for what in (GREETING, REPLY):
        of_it = [each for each in found if each.what == what]
        apart = [abs(each.later) for each in of_it]
        figures = (
            np.median([each.caller for each in of_it]),
            np.median(apart),
            np.percentile(apart, 95),
            np.median([each.began_later for each in of_it]),
            np.median([each.began_later + each.later for each in of_it]),
        )
        cells = "".join(f"{figure * 1000:12.0f}" for figure in figures)
        ok = "" if figures[2] <= TARGET else "  over"
        lines.append(f"{rooms:5}  {what:20}{len(of_it):4}{cells}{ok}\n")
    return "".join(lines)


async def run(server: LiveKit, rooms: Sequence[int], rounds: int, home: Path) -> None:
    """Measure with so many rooms, one after another."""
    titles = ("caller p50", "apart p50", "apart p95", "begins later", "ends later")
    sys.stdout.write(
        f"milliseconds; both are to agree within {TARGET * 1000:.0f} (p95)\n"
        f"rooms  {'interval':22} n{''.join(f'{title:>12}' for title in titles)}\n"
    )
    for count in rooms:
        sys.stdout.write(table(count, await measure(server, count, rounds, home)))
        sys.stdout.flush()


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.latency")
    parser.add_argument("--rooms", type=int, nargs="+", default=[1, 2, 5, 10], metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="R", help="questions in each")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, livekit.running(Path(home) / "log") as server:
        anyio.run(run, server.livekit, asked.rooms, asked.rounds, Path(home))


if __name__ == "__main__":
    main()
