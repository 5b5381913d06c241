"""An agent that quotes its caller wherever it can, and fails in doing so."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote

import sentry_sdk
from livekit.agents import Agent, RunContext, function_tool

import telemetry
from agent.providers import CallTool, Reply, Say

if TYPE_CHECKING:
    from livekit.agents import llm

app = logging.getLogger("app.guests")


class QuotingScript:
    """Looks up whatever it hears; says goodbye to whoever says it."""

    def reply(self, chat_ctx: llm.ChatContext) -> Reply:
        """Answer the newest item."""
        newest = chat_ctx.items[-1]
        if newest.type == "function_call_output":
            return Say("There is none." if newest.is_error else "Goodbye.")
        heard = newest.text_content if newest.type == "message" else None
        if heard == "goodbye":
            return CallTool("leave", {})
        return CallTool("look_up", {"guest": heard})


class QuotingAgent(Agent):
    """Quotes on the way to an error."""

    script = QuotingScript()

    def __init__(self) -> None:
        super().__init__(instructions="Look up guests.")
        self._jobs: set[asyncio.Task[None]] = set()

    async def on_enter(self) -> None:
        """Greet."""
        self.session.say("Hello.")

    @function_tool
    async def look_up(self, guest: str) -> str:
        """Look up a guest."""
        sentry_sdk.set_tag("guest", guest)
        sentry_sdk.set_tag("joined", guest.replace(" ", "_"))
        sentry_sdk.set_context("guest", {"name": guest})
        sentry_sdk.add_breadcrumb(message=f"looking for {guest}", data={"name": guest})
        app.error("no such guest: %s", guest, extra={"guest": guest})
        app.error(f"no guest at /guests/{quote(guest)}")
        with telemetry.span(f"lookup.{guest}", f"look up {guest}", attributes={"guest": guest}):
            await asyncio.sleep(0)
        with telemetry.span("db.query", f"SELECT * FROM guests WHERE name = '{guest}'"):  # noqa: S608
            await asyncio.sleep(0)
        job = asyncio.create_task(self._remember(guest), name=f"remember {guest}")
        self._jobs.add(job)
        thread = threading.Thread(target=_outside, args=[guest], name=f"for {guest}")
        thread.start()
        await asyncio.to_thread(thread.join)
        error = LookupError(f"no guest called {guest}")
        error.add_note(f"heard: {guest}")
        raise error

    @function_tool
    async def leave(self, context: RunContext[None]) -> str:
        """End the call."""
        context.speech_handle.add_done_callback(lambda _: context.session.shutdown(drain=True))
        return "Say goodbye."

    async def _remember(self, guest: str) -> None:
        raise RuntimeError(f"can't remember {guest.title().replace(' ', '')}")


def _outside(guest: str) -> None:
    """What belongs to no conversation."""
    try:
        raise ValueError(guest.upper())  # noqa: TRY301
    except ValueError as error:
        sentry_sdk.capture_exception(error)
