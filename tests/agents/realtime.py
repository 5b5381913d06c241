"""Realtime: one model hears and speaks by itself, and takes turns as it likes."""

from __future__ import annotations

import os

from livekit.agents import Agent, AgentSession, JobContext, WorkerOptions, cli, function_tool

import telemetry
from telemetry.integrations import livekit as livekit_telemetry

from . import models

runtime = telemetry.init(dsn=os.environ.get("SENTRY_DSN"), store="traces.db")

ANSWERS: dict[str, models.Reply | str] = {
    "What will be?": models.Reply(tools={"look_at_the_stars": {}}),
    "And then?": "Nobody knows",
}


class Astrologer(Agent):
    """Has a tool."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")

    @function_tool
    async def look_at_the_stars(self) -> str:
        """Look at the stars."""
        return "Clear"


async def entrypoint(ctx: JobContext) -> None:
    """Take a call."""
    session = AgentSession[None](llm=models.Seer(ANSWERS))
    livekit_telemetry.trace(session, ctx)
    await session.start(Astrologer(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
