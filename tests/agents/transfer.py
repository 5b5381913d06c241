"""Warm transfer: the agent asks a colleague, in a room and a session of their own, before it puts
the caller through. A telephone would dial the colleague into that room.
"""

from __future__ import annotations

import asyncio
import os

from livekit import api, rtc
from livekit.agents import (
    Agent,
    AgentSession,
    AgentTask,
    JobContext,
    StopResponse,
    TurnHandlingOptions,
    WorkerOptions,
    cli,
    function_tool,
    get_job_context,
)

import telemetry
from telemetry.integrations import livekit as livekit_telemetry

from . import models

runtime = telemetry.init(dsn=os.environ.get("SENTRY_DSN"), store="traces.db")

ANSWERS: dict[str, models.Reply | str] = {
    "Your manager please": models.Reply("One moment please", tools={"transfer": {}}),
    "They are coming": "You are being put through",
    "Yes": models.Reply(tools={"accept": {}}),
}


def voice() -> AgentSession[None]:
    """A session with models of its own."""
    return AgentSession[None](
        vad=models.Activity(),
        stt=models.Ear(),
        llm=models.Mind(ANSWERS),
        tts=models.Tone(),
        turn_handling=TurnHandlingOptions(turn_detection="vad"),
    )


class Host(Agent):
    """Answers the caller."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")

    @function_tool
    async def transfer(self) -> str:
        """Ask a colleague to take over, while the caller waits."""
        return "They are coming" if await Consultation() else "Nobody has time"


class Consultation(AgentTask[bool]):
    """Asks a colleague, who is in another room; the caller waits."""

    def __init__(self) -> None:
        super().__init__(instructions="Wait.")

    async def on_enter(self) -> None:
        """Call the colleague, and hear what they say."""
        self.session.input.set_audio_enabled(False)
        answer: asyncio.Future[bool] = asyncio.Future()
        colleague, room = voice(), rtc.Room()
        name = f"{get_job_context().room.name}-colleague"
        grants = api.VideoGrants(room_join=True, room=name)
        token = api.AccessToken().with_identity("host").with_grants(grants).with_kind("agent")
        await room.connect(os.environ["LIVEKIT_URL"], token.to_jwt())
        livekit_telemetry.trace(colleague, name="consultation")
        await colleague.start(Briefing(answer), room=room)
        accepted = await answer
        await colleague.aclose()
        await room.disconnect()
        self.session.input.set_audio_enabled(True)
        self.complete(accepted)


class Briefing(Agent):
    """Tells the colleague what it is about."""

    def __init__(self, answer: asyncio.Future[bool]) -> None:
        super().__init__(instructions="Ask whether they take the caller.")
        self._answer = answer

    async def on_enter(self) -> None:
        """Ask."""
        await self.session.say("A caller wants you, have you got time?")

    @function_tool
    async def accept(self) -> None:
        """The colleague takes the caller."""
        self._answer.set_result(True)
        raise StopResponse


async def entrypoint(ctx: JobContext) -> None:
    """Take a call."""
    session = voice()
    livekit_telemetry.trace(session, ctx)
    await session.start(Host(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
