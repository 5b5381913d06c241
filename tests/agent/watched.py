"""The front desk, looking over telemetry's shoulder: what is current inside each stage?

Each stage writes what Sentry says there into the span that telemetry says is current, so that what
arrives at Sentry can be checked: ``seen.span`` has to be the span's own id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sentry_sdk
from livekit.agents import function_tool

import telemetry
from agent.desk import FrontDesk
from agent.desk.wire import Week, Weekday

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

    from livekit import rtc
    from livekit.agents import ModelSettings, llm


def look(stage: str) -> None:
    """Write down what is current."""
    span, ambient = telemetry.current_span(), sentry_sdk.get_current_span()
    conversation = telemetry.current_conversation()
    assert span is not None
    assert ambient is not None
    assert conversation is not None
    span.set({"seen.stage": stage, "seen.span": ambient.span_id})
    sentry_sdk.set_tag(f"seen_{stage}", conversation.id)


class WatchedDesk(FrontDesk):
    """The front desk with a look in the LLM node, the TTS node and a tool."""

    async def on_enter(self) -> None:
        """Tag the conversation with its own id, by plain Sentry; report an error of its own."""
        conversation = telemetry.current_conversation()
        assert conversation is not None
        sentry_sdk.set_tag("own", conversation.id)
        sentry_sdk.capture_message(f"entered {conversation.id}")
        await super().on_enter()

    async def llm_node(
        self,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool],
        model_settings: ModelSettings,
    ) -> AsyncIterator[llm.ChatChunk | str | Any]:
        """The default, with a look."""
        look("llm")
        async for chunk in super().llm_node(chat_ctx, tools, model_settings):  # type: ignore[union-attr]  # a generator, here
            yield chunk

    async def tts_node(
        self, text: AsyncIterable[str], model_settings: ModelSettings
    ) -> AsyncIterator[rtc.AudioFrame]:
        """The default, with a look."""
        look("tts")
        async for frame in super().tts_node(text, model_settings):  # type: ignore[union-attr]  # a generator, here
            yield frame

    @function_tool
    async def opening_hours(  # type: ignore[override]  # a FunctionTool's type names its class
        self, day: Weekday | None = None
    ) -> str:
        """Look up when the restaurant is open."""
        look("tool")
        week = (await self._reservations.hours()).root
        return Week({day: week[day]} if day else week).model_dump_json()
