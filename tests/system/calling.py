"""``python -m tests.system.calling URL STORE``: a caller of an agent that somebody else runs.

It asks with real speech, hears the replies, and reads the conversation's trace in the agent's
store. Exit code 0 only if all of that is as it should be.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from typing import TYPE_CHECKING, Any

import anyio

import telemetry
from agent import gateway, simulator
from config import scenario_files
from telemetry.store import TraceStore

if TYPE_CHECKING:
    from telemetry.records import ConversationRecord

SCENARIO = "opening_hours"


async def call(url: str, store: TraceStore, runtime: telemetry.Runtime) -> simulator.Report:
    """Hold the conversation; what came of it."""

    async def read_trace(conversation: str) -> ConversationRecord | None:
        return await anyio.to_thread.run_sync(store.conversation, conversation)

    def stats() -> dict[str, Any]:
        return dataclasses.asdict(runtime.stats())

    simulation = simulator.Simulation(
        scenarios=simulator.find_scenarios([SCENARIO], {p.stem: p for p in scenario_files()}),
        connect=functools.partial(gateway.connect, url),
        read_trace=read_trace,
        stats=stats,
    )
    return await simulation.run(simulator.Load(callers=1))


def main() -> None:
    """The program."""
    url, store = sys.argv[1:]
    with telemetry.init(auto_enabling_integrations=False) as runtime:
        report = anyio.run(call, url, TraceStore(store), runtime)
    sys.stdout.write(f"{simulator.render(report)}\n")
    sys.exit(0 if report.passed else 1)


if __name__ == "__main__":
    main()
