"""The transports from simulated callers to the agent: each starts it, and is a block.

All yield a :class:`agent.simulator.Connect`; the agent is stopped at the end of the block.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from agent.stopping import Stopping

from . import process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from livekit.agents import AgentSession

    import telemetry
    from agent.session import VoiceSession
    from agent.simulator import Connect
    from config import Settings

ASK_AGAIN_AFTER_SECONDS: Final = 3.0
"""Time until a silent caller is asked again: people get longer, callers from a file needn't."""

ROOMS_AGREE_MS: Final = 150.0
"""Difference allowed between telemetry and a caller in a room on response latency (p95): the worker
can't know of the caller's own jitter buffer."""


class Histories:
    """The agent's sessions in this process, each until it is asked for."""

    def __init__(self) -> None:
        self._sessions: dict[str, VoiceSession] = {}

    def keep(self, session: VoiceSession) -> None:
        """Keep a session that is opened, in whatever thread."""
        self._sessions[session.id] = session

    def take(self, conversation: str) -> AgentSession[None] | None:
        """LiveKit's session of a conversation, once; None if it never started."""
        session = self._sessions.pop(conversation, None)
        return None if session is None else session.pipeline


@asynccontextmanager
async def gateway(
    settings: Settings, environ: Mapping[str, str], *, sessions: int, histories: Histories
) -> AsyncIterator[Connect]:
    """The gateway, on a port of its own."""
    from agent import gateway
    from agent.worker import worker

    async with (
        worker(
            process.choice(settings),
            agent=settings.agent,
            environ=environ,
            silence=ASK_AGAIN_AFTER_SECONDS,
            record=process.record(settings),
            turns=process.turns(settings),
            opened=histories.keep,
        ) as open_session,
        anyio.create_task_group() as tasks,
    ):
        url = await tasks.start(
            functools.partial(gateway.serve, open_session, port=0, max_sessions=sessions)
        )
        yield functools.partial(gateway.connect, url)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def livekit(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    sessions: int,
    histories: Histories,
    runtime: telemetry.Runtime,
) -> AsyncIterator[Connect]:
    """A worker at the settings' LiveKit server, with a room of its own for each caller.

    It goes by a name that nobody else has: the server gives it no one else's calls, and these
    callers to no other worker. Raises :class:`~agent.errors.InputError` when there is no such
    server, or it doesn't take the key.
    """
    from agent import rooms
    from agent.rooms import client

    from .probes import Problem
    from .probes import livekit as probe
    from .rooms import livekit as server_of
    from .rooms import options

    server = server_of(settings)
    try:  # at once: a worker would wait for its server to start
        await probe(server.url, server.key, server.secret)
    except Problem as problem:
        raise rooms.RoomsError(str(problem)) from None
    name = f"simulation-{secrets.token_hex(4)}"
    stopping = Stopping()
    async with anyio.create_task_group() as tasks:
        await tasks.start(
            functools.partial(
                rooms.serve,
                server,
                process.choice(settings),
                agent=settings.agent,
                environ=environ,
                traced=lambda: contextlib.nullcontext(runtime),
                stopping=stopping,
                opened=histories.keep,
                options=dataclasses.replace(
                    options(settings),
                    agent_name=name,
                    max_sessions=sessions,
                    executor="thread",
                    host="127.0.0.1",
                    health_port=0,
                    metrics_port=None,
                    silence=ASK_AGAIN_AFTER_SECONDS,
                ),
            )
        )
        yield functools.partial(client.connect, server, agent_name=name)
        stopping.drain.set()
