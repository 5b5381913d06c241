"""The things that a worker's conversations share: models, resources, the opener of sessions.

Transports take the :data:`~agent.session.line.OpenSession` that :func:`worker` yields, or one for
each event loop from :meth:`Loaded.opener`; they know nothing of the rest.
"""

from __future__ import annotations

import gc
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
from livekit.agents.utils import http_context

from telemetry.integrations.livekit import Prices

from . import providers
from .session import Record, TurnTaking, VoiceSession, load_agent, resources
from .session.agents import script_of
from .session.phrases import usual_sentences
from .session.silence import ASK_AGAIN_AFTER_SECONDS
from .session.turn_taking import USUAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from livekit.agents import Agent

    from .session import Line, OpenSession, SessionRequest

    OpenVoiceSession = Callable[[SessionRequest, Line], VoiceSession]


YOUNG_OBJECTS: Final = 5_000
"""New objects from which on Python looks for garbage among them; it takes 4 ms."""


def _unwatched(_: VoiceSession) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Loaded:
    """The agent and the models that all sessions of a process share, on whatever event loop."""

    agent: type[Agent]
    models: providers.Models
    silence: float = ASK_AGAIN_AFTER_SECONDS
    """Seconds of mutual silence before a caller is asked again; 0 for never."""
    opened: Callable[[VoiceSession], object] = _unwatched
    """Told of each session as it is opened, on the session's event loop."""
    prices: Prices | None = None
    """Prices of the models, where conversations are to say what they cost."""
    record: Record = Record.OFF
    """Which sessions are recorded."""
    turns: TurnTaking = USUAL
    """The way in which the end of a caller's turn is found."""

    @asynccontextmanager
    async def opener(self, environ: Mapping[str, str]) -> AsyncIterator[OpenVoiceSession]:
        """Open the agent's resources and connections to providers, which sessions on the running
        event loop share, and yield the opener of sessions.

        ``environ`` is where the agent's class finds what it connects to.
        """
        script = script_of(self.agent)
        turns = self.turns.of(our_words=self.models.hears_within_pauses)
        async with (
            providers.Connections.open() as connections,
            resources(self.agent, environ) as make_agent,
        ):

            def open_session(request: SessionRequest, line: Line) -> VoiceSession:
                session = VoiceSession(
                    request,
                    line,
                    agent=make_agent,
                    plugins=lambda: self.models.plugins(
                        script, connections=connections, listening=turns.listening
                    ),
                    silence=self.silence,
                    prices=self.prices,
                    record=self.record,
                    turns=turns,
                )
                self.opened(session)
                return session

            yield open_session


def load(
    choice: providers.Choice,
    *,
    agent: str,
    silence: float = ASK_AGAIN_AFTER_SECONDS,
    record: Record = Record.OFF,
    turns: TurnTaking = USUAL,
    opened: Callable[[VoiceSession], object] = _unwatched,
    many_calls: bool = True,
) -> Loaded:
    """Load everything that is loaded once per process. Blocks for seconds: run it in a thread.

    Takes a :func:`agent.providers.require` on the main thread before. Close the models at the end.

    Args:
        choice: which providers to use.
        agent: the agent's class, ``module:Class``.
        silence: seconds of mutual silence before a caller is asked again; 0 for never.
        record: which sessions are recorded.
        turns: the way in which the end of a caller's turn is found.
        opened: told of each session as it is opened, on the session's event loop.
        many_calls: whether the process holds more than one call. Then sentences that are said in
            many are made ready.

    Raises:
        AgentError: the agent can't be loaded.
        ProviderError: a provider can't be.
    """
    prices = Prices(choice.speech_prices)
    loaded = Loaded(
        load_agent(agent), providers.load(choice), silence, opened, prices, record, turns
    )
    turns.prepare()
    if many_calls:
        script = script_of(loaded.agent) if "scripted" in choice.llm else None
        loaded.models.prepare(usual_sentences(loaded.agent, script))
    settle_memory()
    return loaded


def settle_memory() -> None:
    """Have garbage collected for a process that holds calls, once everything is loaded.

    What is loaded by then stays: a full collection that goes through it all again stops every
    conversation for more than 0.1 s. And calls make many objects that live as long as they do: with
    fifty calls, looking for garbage among these takes 6 % of the CPU by Python's own thresholds, by
    :data:`YOUNG_OBJECTS` half of that.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


@asynccontextmanager
async def worker(
    choice: providers.Choice,
    *,
    agent: str,
    environ: Mapping[str, str],
    silence: float = ASK_AGAIN_AFTER_SECONDS,
    record: Record = Record.OFF,
    turns: TurnTaking = USUAL,
    opened: Callable[[VoiceSession], object] = _unwatched,
) -> AsyncIterator[OpenSession]:
    """Load everything that is loaded once, and yield the opener of sessions on this event loop.

    The arguments and errors are those of :func:`load` and :meth:`Loaded.opener`.
    """
    load_agent(agent)  # what is wrong with it is said before anything takes time
    providers.require(choice)
    loaded = await anyio.to_thread.run_sync(
        lambda: load(
            choice, agent=agent, silence=silence, record=record, turns=turns, opened=opened
        )
    )
    try:
        # plugins that need an HTTP client share the process's one, as in a job of LiveKit's
        async with http_context.open(), loaded.opener(environ) as open_session:
            yield open_session
    finally:
        with anyio.CancelScope(shield=True):  # inference that runs ends within a second
            await anyio.to_thread.run_sync(loaded.models.close)
