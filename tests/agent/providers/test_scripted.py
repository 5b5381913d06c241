"""The scripted language model is a real one, but deterministic."""

from __future__ import annotations

import json

import pytest
from livekit.agents import llm

from agent.providers import CallTool, EchoScript, Reply, Say
from agent.providers.scripted import LLM


class Opening:
    """Looks the hours up, then says them."""

    def reply(self, chat_ctx: llm.ChatContext) -> Reply:
        for item in chat_ctx.items:
            if isinstance(item, llm.FunctionCallOutput):
                return Say(f"We open at {item.output}.")
        return CallTool("opening_hours", {"day": "Friday", "party": 4})


async def test_reply_streams_word_by_word() -> None:
    """A reply arrives in order, a token a word, under one id, and ends with its usage."""
    chat_ctx = llm.ChatContext.empty()
    chat_ctx.add_message(role="user", content="good evening everybody")
    model = LLM(EchoScript(), first_token=0, token=0)
    async with model.chat(chat_ctx=chat_ctx) as stream:
        chunks = [chunk async for chunk in stream]
    said = [chunk.delta.content for chunk in chunks if chunk.delta]
    assert said == ["You ", "said: ", "good ", "evening ", "everybody"]
    assert len({chunk.id for chunk in chunks}) == 1
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 5, 8)


async def test_usage_is_of_the_whole_conversation() -> None:
    """Each request counts all that was said before it, and what was cut short as it is now."""
    chat_ctx = llm.ChatContext.empty()
    model = LLM(EchoScript(), first_token=0, token=0)
    chat_ctx.add_message(role="user", content="good evening everybody")
    replied = chat_ctx.add_message(role="assistant", content="You said: good evening")
    used = [(await model.chat(chat_ctx=chat_ctx).collect()).usage]
    chat_ctx.add_message(role="user", content="one more")
    replied.content = ["You said:"]
    used.append((await model.chat(chat_ctx=chat_ctx).collect()).usage)
    assert [usage and usage.prompt_tokens for usage in used] == [7, 7]


async def test_tool_is_called_and_its_result_used() -> None:
    """A tool call has JSON arguments; with its output in the conversation, the script goes on."""
    chat_ctx = llm.ChatContext.empty()
    model = LLM(Opening())
    response = await model.chat(chat_ctx=chat_ctx).collect()
    (call,) = response.tool_calls
    assert call.name == "opening_hours"
    assert json.loads(call.arguments) == {"day": "Friday", "party": 4}
    output = llm.FunctionCallOutput(
        call_id=call.call_id, name=call.name, output="five", is_error=False
    )
    chat_ctx.items.append(output)
    assert (await model.chat(chat_ctx=chat_ctx).collect()).text == "We open at five."


async def test_broken_script_is_reported() -> None:
    """What a script raises reaches the session as the model's error."""

    class Broken:
        def reply(self, chat_ctx: llm.ChatContext) -> Reply:
            raise LookupError("no idea")

    model = LLM(Broken())
    reported: list[llm.LLMError] = []
    model.on("error", reported.append)
    with pytest.raises(LookupError, match="no idea"):
        await model.chat(chat_ctx=llm.ChatContext.empty()).collect()
    assert [(type(error.error), error.recoverable) for error in reported] == [(LookupError, False)]
