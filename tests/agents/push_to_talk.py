"""Push to talk: the caller's app says when they speak, by two remote procedure calls."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from livekit.agents import Agent, AgentSession, JobContext, TurnHandlingOptions, WorkerOptions, cli

import telemetry
from telemetry.integrations import livekit as livekit_telemetry

from . import models

if TYPE_CHECKING:
    from livekit import rtc

runtime = telemetry.init(dsn=os.environ.get("SENTRY_DSN"), store="traces.db")

ANSWERS = {"What is there?": "There is pizza", "Goodbye": "See you soon"}


async def entrypoint(ctx: JobContext) -> None:
    """Take a call."""
    session = AgentSession[None](
        stt=models.Ear(),
        llm=models.Mind(ANSWERS),
        tts=models.Tone(),
        turn_handling=TurnHandlingOptions(turn_detection="manual"),
    )
    livekit_telemetry.trace(session, ctx)
    await session.start(Agent(instructions="Be brief."), room=ctx.room)
    session.input.set_audio_enabled(False)

    async def pressed(_: rtc.RpcInvocationData) -> str:
        await session.interrupt()
        session.clear_user_turn()
        session.input.set_audio_enabled(True)
        return "listening"

    async def released(_: rtc.RpcInvocationData) -> str:
        session.input.set_audio_enabled(False)
        session.commit_user_turn()
        return "thinking"

    ctx.room.local_participant.register_rpc_method("pressed", pressed)
    ctx.room.local_participant.register_rpc_method("released", released)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
