"""An agent that breaks where it is told to: in a tool, in its model, in its voice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livekit.agents import Agent, RunContext, function_tool

from agent.providers import CallTool, Reply, Say

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

    from livekit import rtc
    from livekit.agents import ModelSettings, llm


class BreakingScript:
    """Repeats what it hears, unless it is told to break."""

    def reply(self, chat_ctx: llm.ChatContext) -> Reply:
        """Answer the newest item."""
        newest = chat_ctx.items[-1]
        if newest.type == "function_call_output":
            return Say("That did not work." if newest.is_error else "Goodbye.")
        heard = newest.text_content if newest.type == "message" else None
        match heard:
            case "break the tool":
                return CallTool("explode", {})
            case "break the model":
                raise RuntimeError("model failure")
            case "goodbye":
                return CallTool("leave", {})
            case _:
                return Say(f"You said {heard}.")


class BreakingAgent(Agent):
    """Breaks on demand; its voice breaks on the word "voice"."""

    script = BreakingScript()

    def __init__(self) -> None:
        super().__init__(instructions="Repeat what you hear.")

    async def on_enter(self) -> None:
        """Greet."""
        self.session.say("Hello.")

    async def tts_node(
        self, text: AsyncIterable[str], model_settings: ModelSettings
    ) -> AsyncIterator[rtc.AudioFrame]:
        """Break instead of saying "voice"."""

        broken = False

        async def checked() -> AsyncIterator[str]:
            nonlocal broken
            async for part in text:
                broken = broken or "voice" in part
                yield part

        async for frame in super().tts_node(checked(), model_settings):  # type: ignore[union-attr]  # a generator, here
            if broken:
                raise RuntimeError("voice failure")
            yield frame

    @function_tool
    async def explode(self) -> str:
        """Break."""
        raise RuntimeError("tool failure")

    @function_tool
    async def leave(self, context: RunContext[None]) -> str:
        """End the call."""
        context.speech_handle.add_done_callback(lambda _: context.session.shutdown(drain=True))
        return "Say goodbye."
