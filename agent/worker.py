"""What a worker's conversations share: models, the agent's resources, and how a session is opened.

Transports take the :data:`~agent.session.line.OpenSession` that :func:`worker` yields; they know
nothing of what is behind it.
"""

from __future__ import annotations

import gc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from livekit.agents.utils import http_context

from . import providers
from .session import VoiceSession, load_agent, resources
from .session.agents import script_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from .session import Line, OpenSession, Session, SessionRequest


@asynccontextmanager
async def worker(
    choice: providers.Choice, *, agent: str, environ: Mapping[str, str]
) -> AsyncIterator[OpenSession]:
    """Load everything that is loaded once, and yield the opener of sessions.

    Args:
        choice: which providers to use.
        agent: the agent's class, ``module:Class``.
        environ: where the agent's class finds what it connects to.

    Raises:
        AgentError: the agent can't be loaded.
        ProviderError: a provider can't be.
    """
    agent_class = load_agent(agent)
    providers.require(choice)
    # plugins that need an HTTP client share the process's one, as in a job of LiveKit's
    async with http_context.open(), resources(agent_class, environ) as make_agent:
        models = await anyio.to_thread.run_sync(providers.load, choice)
        script = script_of(agent_class)
        # What is loaded by now stays: a full collection that goes through it all again stops every
        # conversation for more than 0.1 s.
        gc.collect()
        gc.freeze()

        def open_session(request: SessionRequest, line: Line) -> Session:
            return VoiceSession(
                request, line, agent=make_agent, plugins=lambda: models.plugins(script)
            )

        try:
            yield open_session
        finally:
            with anyio.CancelScope(shield=True):  # inference that runs ends within a second
                await anyio.to_thread.run_sync(models.close)
