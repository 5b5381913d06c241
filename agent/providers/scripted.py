"""A language model that says what a script says: deterministic, and a real ``llm.LLM``.

It streams tokens in time, calls tools and counts usage, so everything around it works as with a
remote model. Its words are a :class:`Script`'s business, a pure function of the conversation.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Never, Protocol, TypeAlias

import anyio
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectOptions,
    NotGivenOr,
    llm,
    utils,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIRST_TOKEN_SECONDS: Final = 0.03
"""Time to the first token."""
TOKEN_SECONDS: Final = 0.005
"""Time from a token to the next."""


@dataclass(frozen=True, slots=True)
class Say:
    """Words for the agent to say."""

    text: str


@dataclass(frozen=True, slots=True)
class CallTool:
    """A tool for the agent to call; the script is asked again when the result is there."""

    name: str
    arguments: Mapping[str, object]
    """The arguments, which become the call's JSON."""


Reply: TypeAlias = Say | CallTool


class Script(Protocol):
    """A stand-in for a language model's mind."""

    def reply(self, chat_ctx: llm.ChatContext) -> Reply:
        """The next step of this conversation. Called on the event loop: it must be quick."""


class EchoScript:
    """A script that repeats the caller's words, for agents that have none."""

    def reply(self, chat_ctx: llm.ChatContext) -> Reply:
        """Say the caller's latest words."""
        heard = [m.text_content for m in chat_ctx.messages() if m.role == "user"]
        return Say(f"You said: {heard[-1]}" if heard and heard[-1] else "I am listening.")


class LLM(llm.LLM[Never]):
    """One session's scripted model."""

    def __init__(
        self,
        script: Script,
        *,
        first_token: float = FIRST_TOKEN_SECONDS,
        token: float = TOKEN_SECONDS,
    ) -> None:
        super().__init__()
        self._script = script
        self._first_token = first_token
        self._token = token
        self._usage = _Usage()

    @property
    def model(self) -> str:
        """The script's name."""
        return type(self._script).__name__

    @property
    def provider(self) -> str:
        """The provider that runs the model."""
        return "scripted"

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,
    ) -> LLMStream:
        """Stream the script's reply to the conversation so far."""
        return LLMStream(
            self,
            self._script,
            chat_ctx=chat_ctx,
            tools=tools or [],
            conn_options=conn_options,
            delays=(self._first_token, self._token),
            usage=self._usage,
        )


class LLMStream(llm.LLMStream):
    """One reply, token by token; a word with the space after it is a token."""

    def __init__(
        self,
        parent: LLM,
        script: Script,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool],
        conn_options: APIConnectOptions,
        delays: tuple[float, float],
        usage: _Usage,
    ) -> None:
        super().__init__(parent, chat_ctx=chat_ctx, tools=tools, conn_options=conn_options)
        self._script = script
        self._first_token, self._token = delays
        self._usage = usage

    async def _run(self) -> None:
        request_id = utils.shortuuid("chat_")
        reply = self._script.reply(self._chat_ctx)
        first = anyio.current_time() + self._first_token
        await anyio.sleep_until(first)
        match reply:
            case Say(text):
                tokens = re.findall(r"\s*\S+\s*", text)
                deltas = [llm.ChoiceDelta(role="assistant", content=token) for token in tokens]
            case CallTool(name, arguments):
                tokens = [name, *map(str, arguments.values())]
                call = llm.FunctionToolCall(
                    name=name,
                    arguments=json.dumps(dict(arguments)),
                    call_id=utils.shortuuid("call_"),
                )
                deltas = [llm.ChoiceDelta(role="assistant", tool_calls=[call])]
        for index, delta in enumerate(deltas):
            await anyio.sleep_until(first + index * self._token)
            self._event_ch.send_nowait(llm.ChatChunk(id=request_id, delta=delta))
        usage = self._usage.of(self._chat_ctx.items, tokens)
        self._event_ch.send_nowait(llm.ChatChunk(id=request_id, usage=usage))


class _Usage:
    """Usage with words for tokens: those of the messages and tool results, those of the reply.

    The words of a conversation that goes on are counted once, as they are added to it.
    """

    def __init__(self) -> None:
        self._counted: dict[tuple[str, int], int] = {}
        """Words of each item of the last prompt, by its id and length."""

    def of(self, prompt: Sequence[llm.ChatItem], completion: Sequence[str]) -> llm.CompletionUsage:
        """The usage of one reply."""
        before, self._counted = self._counted, {}
        for item in prompt:
            match item:
                case llm.ChatMessage():
                    text = item.raw_text_content or ""
                case llm.FunctionCallOutput():
                    text = item.output
                case _:
                    continue
            key = item.id, len(text)
            known = before.get(key)
            self._counted[key] = len(text.split()) if known is None else known
        words = sum(self._counted.values())
        return llm.CompletionUsage(
            prompt_tokens=words,
            completion_tokens=len(completion),
            total_tokens=words + len(completion),
        )
