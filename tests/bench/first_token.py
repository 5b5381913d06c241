"""How true a reply's time to first token is: what its span says against when the server sent it.

Twenty conversations at once, each a LiveKit session whose model is behind a real HTTP server that
thinks for 50 to 500 ms and then streams. Of each reply: the span's start plus its time to first
token, against the server's own time of sending, in milliseconds. Server and sessions share a
machine, so a clock, and here an event loop: what it does meanwhile is in the figure.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from typing import TYPE_CHECKING

import anyio
from livekit.agents import Agent, AgentSession

from agent.providers import Connections, Models, load, require
from telemetry import attributes as names
from telemetry.integrations import livekit as livekit_telemetry
from telemetry.integrations.httpx2 import Httpx2Integration
from telemetry.testing import capture
from tests.agent.providers.openai_server import Chat, OpenAIServer, all_openai

from .figures import Figure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telemetry.records import SpanRecord

CALLERS = 20
TURNS = 3
TARGET = 20.0
"""Milliseconds."""


class _Thinking(OpenAIServer):
    """A model that needs its time, each time another."""

    def __init__(self) -> None:
        super().__init__(reply="Good evening to you.")
        self._random = random.Random(1)

    async def _events(self, chat: Chat) -> AsyncIterator[str]:
        await anyio.sleep(self._random.uniform(0.05, 0.5))
        async for event in super()._events(chat):
            yield event


async def _converse(models: Models, connections: Connections) -> None:
    plugins = models.plugins(connections=connections)
    session = AgentSession[None](llm=plugins.llm)
    livekit_telemetry.trace(session, name="bench")
    await session.start(Agent(instructions="Answer."), record=False)
    for _ in range(TURNS):
        await session.run(user_input="Hello.")
    await session.aclose()
    await plugins.aclose()


async def _converse_all(server: OpenAIServer) -> None:
    async with server.serving() as base_url, Connections.open() as connections:
        choice = all_openai(base_url)
        require(choice)
        with load(choice) as models:
            await asyncio.gather(*(_converse(models, connections) for _ in range(CALLERS)))


def _apart() -> float:
    """The median over the replies of one run."""
    server = _Thinking()
    with capture(auto_enabling_integrations=False, integrations=[Httpx2Integration()]) as captured:
        asyncio.run(_converse_all(server))
        spans = {
            span.span_id: span for event in captured.conversations for span in captured.spans(event)
        }
    return statistics.median(
        abs(_first_token(spans, chat.headers["sentry-trace"].split("-")[1]) - chat.sent_at)
        for chat in server.chats
    )


def _first_token(spans: dict[str, SpanRecord], request: str) -> float:
    """When the reply that made this request had its first token, in Unix seconds."""
    span = spans[request]
    while span.op != names.OP_CHAT:
        span = spans[span.parent_span_id or ""]
    first: float = span.attributes[names.GEN_AI_TIME_TO_FIRST_TOKEN]
    return span.started_at + first


def measure(rounds: int) -> list[Figure]:
    """The figure, as the median over so many rounds."""
    apart = statistics.median(_apart() for _ in range(rounds)) * 1000
    return [
        Figure(f"first token, span against server, {CALLERS} at once", apart, "ms", target=TARGET)
    ]
