"""An agent whose history has words that it never said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livekit.agents import Agent

from agent.providers import Reply, Say

if TYPE_CHECKING:
    from livekit.agents import llm


class OneAnswer:
    """Says the same to everything."""

    def reply(self, chat_ctx: llm.ChatContext) -> Reply:
        """Answer."""
        return Say("I see.")


class Unsaid(Agent):
    """Puts words down that nobody heard."""

    script = OneAnswer()

    def __init__(self) -> None:
        super().__init__(instructions="Listen.")

    async def on_enter(self) -> None:
        """Greet."""
        self.session.say("Hello.")

    async def on_exit(self) -> None:
        """Make the history up."""
        self.session.history.add_message(role="assistant", content="Anything else?")
