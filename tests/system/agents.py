"""``python -m tests.system.agents AGENT EXECUTOR``: a worker with one of ``tests/agents``.

It takes calls for the agent of that name as LiveKit's own command would, with a thread or a process
for each job. What each session's history says when its job ends goes into the working directory.
``SENTRY_DSN`` is the worker's own, ``JOBS_SENTRY_DSN`` that of its jobs' processes.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livekit.agents import AgentServer, AgentSession, JobContext, JobExecutorType, cli, llm

from agent.rooms.loops import watch_if_safe
from telemetry.integrations import livekit as livekit_telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    from livekit.agents.metrics import AgentSessionUsage

    from telemetry import Conversation, Stats

sessions: dict[str, AgentSession[Any]] = {}
"""The sessions of this process, by their traces."""


@dataclass(frozen=True)
class Kept:
    """What is known of a session when its job ends, with telemetry's counts of the process."""

    history: llm.ChatContext
    usage: AgentSessionUsage
    stats: Stats


def noting(trace: Callable[..., Conversation]) -> Callable[..., Conversation]:
    """``trace``, which notes whose session it was given."""

    @functools.wraps(trace)
    def traced(session: AgentSession[Any], *args: Any, **options: Any) -> Conversation:
        conversation = trace(session, *args, **options)
        sessions[conversation.trace_id] = session
        return conversation

    return traced


async def keep(ctx: JobContext) -> None:
    """Put down what the sessions of a job say, as the fields of :class:`Kept`."""
    name = ctx.job.agent_name
    runtime = sys.modules[f"tests.agents.{name}"].runtime
    for trace_id, session in sessions.items():
        # what an agent is configured with holds its tools, which don't pickle
        said = [item for item in session.history.items if item.type != "agent_config_update"]
        _put_down(trace_id, (llm.ChatContext([*said]), session.usage, runtime.stats()))


def _put_down(trace_id: str, kept: object) -> None:
    unfinished = Path(f"{trace_id}.part")
    unfinished.write_bytes(pickle.dumps(kept))
    unfinished.rename(f"{trace_id}.kept")


def main() -> None:
    """The program."""
    name, executor = sys.argv[1:]
    sys.stdout = sys.stderr  # where a Program is read; LiveKit logs to stdout
    agent = importlib.import_module(f"tests.agents.{name}")
    os.environ["SENTRY_DSN"] = os.environ["JOBS_SENTRY_DSN"]
    watch_if_safe(os.environ)
    server = AgentServer(
        job_executor_type=JobExecutorType(executor),
        num_idle_processes=0,  # one that still starts when the worker stops is killed, and reported
        initialize_process_timeout=60.0,
        load_threshold=math.inf,
        host="127.0.0.1",
        port=0,
    )
    server.rtc_session(agent.entrypoint, agent_name=name, on_session_end=keep)
    sys.argv[1:] = ["start"]
    cli.run_app(server)


livekit_telemetry.trace = noting(livekit_telemetry.trace)

if __name__ == "__main__":
    main()
