"""Text only: no voice, no recogniser. The caller types, and reads the answers."""

from __future__ import annotations

import os

from livekit.agents import Agent, AgentSession, JobContext, WorkerOptions, cli, function_tool
from livekit.agents.voice.room_io import RoomOptions

import telemetry
from telemetry.integrations import livekit as livekit_telemetry

from . import models

runtime = telemetry.init(dsn=os.environ.get("SENTRY_DSN"), store="traces.db")

ANSWERS: dict[str, models.Reply | str] = {
    "What is there?": models.Reply(tools={"menu": {}}),
    "Pizza and soup": "There is pizza, and soup",
}


class Waiter(Agent):
    """Knows the menu."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")

    @function_tool
    async def menu(self) -> str:
        """Read the menu."""
        return "Pizza and soup"


async def entrypoint(ctx: JobContext) -> None:
    """Take a chat."""
    session = AgentSession[None](llm=models.Mind(ANSWERS))
    livekit_telemetry.trace(session, ctx)
    await session.start(
        Waiter(), room=ctx.room, room_options=RoomOptions(audio_input=False, audio_output=False)
    )


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
