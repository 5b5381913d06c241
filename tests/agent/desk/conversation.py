"""A typed conversation with the front desk, in a real session with the scripted model."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from livekit.agents import AgentSession, CloseEvent, RunResult, llm

from agent.desk import DeskScript, FrontDesk
from agent.providers.scripted import LLM
from tests.agent.desk.conftest import TODAY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.desk import Reservations


@dataclass(frozen=True)
class Reply:
    """What the desk did and said in one turn."""

    words: str
    calls: tuple[llm.FunctionCall, ...]
    failures: tuple[str, ...]

    @classmethod
    def of(cls, result: RunResult[None]) -> Reply:
        """The desk's part in what happened."""
        items = [event.item for event in result.events]
        return cls(
            words=" ".join(
                item.text_content or ""
                for item in items
                if isinstance(item, llm.ChatMessage) and item.role == "assistant"
            ),
            calls=tuple(item for item in items if isinstance(item, llm.FunctionCall)),
            failures=tuple(
                item.output
                for item in items
                if isinstance(item, llm.FunctionCallOutput) and item.is_error
            ),
        )


@dataclass(frozen=True)
class Conversation:
    """A session in progress, after the greeting."""

    session: AgentSession[None]
    greeting: Reply
    closed: anyio.Event

    async def says(self, words: str) -> Reply:
        """Say something, and wait until the desk has answered."""
        return Reply.of(await self.session.run(user_input=words))


@asynccontextmanager
async def converse(reservations: Reservations) -> AsyncIterator[Conversation]:
    """Call the desk."""
    session = AgentSession[None](llm=LLM(DeskScript(lambda: TODAY), first_token=0, token=0))
    closed = anyio.Event()

    @session.on("close")
    def _closed(_: CloseEvent) -> None:
        closed.set()

    desk = FrontDesk(reservations, today=lambda: TODAY)
    started = await session.start(desk, capture_run=True, record=False)
    try:
        yield Conversation(session, Reply.of(started), closed)
    finally:
        await session.aclose()
