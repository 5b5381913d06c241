"""A museum's information line: the whole agent in one file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from livekit.agents import Agent, RunContext, function_tool

from agent.providers import CallTool, Reply, Say

if TYPE_CHECKING:
    from livekit.agents import llm

PRICE_EUROS = 12
"""Price for one visitor."""
NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


class MuseumScript:
    """A stand-in for a language model: the agent works without one (PARLEY_LLM=scripted)."""

    def reply(self, chat_ctx: llm.ChatContext) -> Reply:
        """The next step: words, or a tool to call."""
        newest = chat_ctx.items[-1]
        if newest.type == "function_call_output":
            return Say(newest.output)
        heard = (chat_ctx.messages()[-1].text_content or "").lower()
        if "bye" in heard or "that is all" in heard:
            return CallTool("end_call", {})
        if found := re.search(r"\d+|" + "|".join(NUMBERS), heard):
            word = found.group()
            return CallTool("price", {"visitors": NUMBERS.get(word) or int(word)})
        return Say("I can tell you what a visit costs. How many of you are there?")


class Museum(Agent):
    """The agent that answers one caller."""

    script = MuseumScript()

    def __init__(self) -> None:
        super().__init__(
            instructions="You answer a museum's telephone: one or two short sentences, numbers in "
            "words. Say what your tools tell you and nothing else. When the caller is done, call "
            "end_call."
        )

    async def on_enter(self) -> None:
        """Greet the caller."""
        self.session.say("Welcome to the City Museum. How can I help you?")

    @function_tool
    async def price(self, visitors: int) -> str:
        """Look up what a visit costs for so many visitors."""
        return f"For {visitors} that is {visitors * PRICE_EUROS} euros."

    @function_tool
    async def end_call(self, context: RunContext[None]) -> str:
        """End the call, when the caller is done."""
        # after the goodbye, which is said in answer to this
        context.speech_handle.add_done_callback(lambda _: context.session.shutdown(drain=True))
        return "Enjoy your visit. Goodbye."
