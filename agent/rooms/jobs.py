"""A job: in a thread of the worker, with its models, or in a process of its own.

LiveKit gives each job an event loop of its own either way. Threads share what the worker has
loaded; a process loads it itself, as it starts, and delivers its conversation before it ends: at
exit nothing runs there any more.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict, cast

import anyio

from agent import providers
from agent.metrics import RESPONSES
from agent.worker import load

from .call import hold
from .ffi_events import start_client

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from livekit.agents import JobContext, JobProcess

    from agent.session import Record, TurnTaking
    from agent.stopping import Stops
    from agent.worker import Loaded
    from telemetry import Runtime

    from .call import Limits, Stop

log = logging.getLogger(__name__)

DELIVERY_TIMEOUT_SECONDS: Final = 8.0
"""Time that a job waits for its conversation to be delivered."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """The settings of jobs. They can be pickled, for jobs in processes of their own.

    ``stops`` is shared with them, ``traced`` configures telemetry in a process, ``environ`` is
    for the agent's class to read.
    """

    choice: providers.Choice
    agent: str
    environ: Mapping[str, str]
    silence: float
    record: Record
    turns: TurnTaking
    limits: Limits
    stops: Stops[Stop]
    traced: Callable[[], AbstractContextManager[Runtime]]


class _Userdata(TypedDict, total=False):
    loaded: Loaded
    runtime: Runtime
    resources: ExitStack
    """Resources that a process has opened; absent in a thread, where they are the worker's."""


def prepare_process(jobs: Jobs, process: JobProcess) -> None:
    """Load the models and configure telemetry in a job's own process."""
    userdata = cast("_Userdata", process.userdata)
    resources = ExitStack()
    userdata["runtime"] = resources.enter_context(jobs.traced())
    start_client()
    providers.require(jobs.choice)
    userdata["loaded"] = loaded = load(
        jobs.choice,
        agent=jobs.agent,
        silence=jobs.silence,
        record=jobs.record,
        turns=jobs.turns,
        many_calls=False,
    )
    resources.callback(loaded.models.close)
    userdata["resources"] = resources


def prepare_thread(loaded: Loaded, runtime: Runtime, process: JobProcess) -> None:
    """Hand the worker's models and telemetry to a job's thread."""
    userdata = cast("_Userdata", process.userdata)
    userdata["loaded"], userdata["runtime"] = loaded, runtime


async def run(jobs: Jobs, context: JobContext) -> None:
    """Hold the call of a job, deliver its conversation, and end the job."""
    userdata = cast("_Userdata", context.proc.userdata)
    reason = "failed"
    try:
        async with userdata["loaded"].opener(jobs.environ) as open_session:
            reason = await hold(
                context,
                open_session,
                limits=jobs.limits,
                stops=jobs.stops,
                on_response=RESPONSES.observe,
            )
    finally:
        with anyio.CancelScope(shield=True):
            if not await userdata["runtime"].aflush(DELIVERY_TIMEOUT_SECONDS):
                log.warning("rooms: not all was delivered within %g s", DELIVERY_TIMEOUT_SECONDS)
            if (resources := userdata.get("resources")) is not None:
                await anyio.to_thread.run_sync(resources.close)
        context.shutdown(reason)
