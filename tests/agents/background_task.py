"""A background task: the kitchen cooks while the agent talks on, and says when it is done."""

from __future__ import annotations

import asyncio
import logging
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

log = logging.getLogger("kitchen")

COOKING_SECONDS = 3.0
ANSWERS: dict[str, models.Reply | str] = {
    "A pizza please": models.Reply(tools={"order": {"dish": "pizza"}}),
    "pizza is being made": "It is on its way",
    "Anything to drink?": "Water",
}


class Waiter(Agent):
    """Takes orders."""

    def __init__(self) -> None:
        super().__init__(instructions="Take orders.")
        self._cooking: set[asyncio.Task[None]] = set()

    @function_tool
    async def order(self, dish: str) -> str:
        """Order a dish; it is served when it is ready."""
        task = asyncio.create_task(self._cook(dish))
        self._cooking.add(task)
        task.add_done_callback(self._cooking.discard)
        return f"{dish} is being made"

    async def on_exit(self) -> None:
        """Stop cooking: nobody waits for it any more."""
        for task in self._cooking:
            task.cancel()
        await asyncio.gather(*self._cooking, return_exceptions=True)

    async def _cook(self, dish: str) -> None:
        with telemetry.span("kitchen.cook", "cook"):
            await asyncio.sleep(COOKING_SECONDS)
            log.error("out of basil: %s without", dish)
        await self.session.say(f"Your {dish} is served")


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
    await session.start(Waiter(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
