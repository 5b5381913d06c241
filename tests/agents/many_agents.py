"""Many agents: a waiter hands the caller over to a cashier, who hands them back."""

from __future__ import annotations

import os

from livekit.agents import (
    Agent,
    AgentSession,
    JobContext,
    TurnHandlingOptions,
    WorkerOptions,
    cli,
    function_tool,
)

import telemetry
from telemetry.integrations import livekit as livekit_telemetry

from . import models

runtime = telemetry.init(dsn=os.environ.get("SENTRY_DSN"), store="traces.db")

ANSWERS: dict[str, models.Reply | str] = {
    "I want to pay": models.Reply(tools={"to_the_cashier": {}}),
    "By card": models.Reply("One moment", tools={"charge": {}}),
    "An internal error occurred": "The terminal is broken, have you got cash?",
    "In cash": models.Reply(tools={"take_cash": {}}),
    "Paid": "Thank you",
    "Goodbye": "See you soon",
}


class Waiter(Agent):
    """Takes orders."""

    def __init__(self, *, greets: bool = False) -> None:
        super().__init__(instructions="Take orders.")
        self._greets = greets

    async def on_enter(self) -> None:
        """Greet who has just come in."""
        if self._greets:
            await self.session.say("Good evening")

    @function_tool
    async def to_the_cashier(self) -> Agent:
        """Hand the caller over when they want to pay."""
        return Cashier()


class Cashier(Agent):
    """Takes the money."""

    def __init__(self) -> None:
        super().__init__(instructions="Take the money.")

    async def on_enter(self) -> None:
        """Ask."""
        await self.session.say("How do you want to pay?")

    @function_tool
    async def charge(self) -> str:
        """Charge the card."""
        raise ConnectionError("the terminal doesn't answer")

    @function_tool
    async def take_cash(self) -> tuple[Agent, str]:
        """Take cash, and hand the caller back."""
        return Waiter(), "Paid"


async def entrypoint(ctx: JobContext) -> None:
    """Take a call."""
    session = AgentSession[None](
        vad=models.Activity(),
        stt=models.Ear(),
        llm=models.Mind(ANSWERS),
        tts=models.Tone(),
        turn_handling=TurnHandlingOptions(turn_detection="vad"),
    )
    livekit_telemetry.trace(session, ctx)
    await session.start(Waiter(greets=True), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
