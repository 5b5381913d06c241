"""Agents that several tests call."""

from __future__ import annotations

import asyncio

from livekit.agents import Agent, AgentTask, StopResponse, function_tool, llm


class Choosy(Agent):
    """Doesn't answer what it is told to ignore, and can't cope with noise."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")
        self.told = asyncio.Event()

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        """Ignore it, fail, or say something of its own."""
        self.told.set()
        match new_message.text_content:
            case "Ignore me":
                raise StopResponse
            case "Brr":
                raise ValueError("not a word")
            case "Say so":
                self.session.say("So")
                raise StopResponse


class Name(AgentTask[str]):
    """Asks for a name."""

    def __init__(self) -> None:
        super().__init__(instructions="Ask for a name.")

    async def on_enter(self) -> None:
        """Ask."""
        await self.session.say("Under which name?")

    @function_tool
    async def named(self) -> None:
        """The name is known."""
        self.complete("Anna")
