"""The real ``openai`` package, and Sentry's integration of it, which is set up by itself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
from livekit.agents import Agent, function_tool, llm
from livekit.plugins import openai as livekit_openai
from openai import AsyncOpenAI

from telemetry import attributes as names
from telemetry.testing import capture

from ...conformance.whole import foreign_transaction, streaming
from .call import Call, calling
from .openai_server import CACHED_TOKENS, INPUT_TOKENS, OpenAIServer
from .providers import FAST, Mind, Reply, Thought
from .tree import above, complete, only, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from livekit.agents import ModelSettings

    from telemetry.records import SpanRecord
    from telemetry.testing import Captured


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """OpenAI, on this machine."""
    with OpenAIServer() as server:
        yield server


@pytest.fixture(params=["transaction", "stream"])
def captured(request: pytest.FixtureRequest) -> Iterator[Captured]:
    """Telemetry as README's two lines set it up, delivering into memory."""
    with capture(lifecycle=request.param) as captured:
        yield captured


def client(server: OpenAIServer) -> AsyncOpenAI:
    """OpenAI's own client."""
    return AsyncOpenAI(api_key="k", base_url=server.url)


async def ask(server: OpenAIServer, model: str = "m-2") -> str:
    """Ask a model, as an application does that has no framework."""
    async with client(server) as asking:
        messages: Any = [{"role": "user", "content": "What time is it?"}]
        answer = await asking.chat.completions.create(model=model, messages=messages)
    return str(answer.choices[0].message.content)


@asynccontextmanager
async def livekits(server: OpenAIServer) -> AsyncIterator[livekit_openai.LLM]:
    """LiveKit's plugin for OpenAI."""
    model = livekit_openai.LLM(model="m-1", api_key="k", base_url=server.url)
    try:
        yield model
    finally:
        await model.aclose()


def tokens(spans: list[SpanRecord]) -> tuple[int, int]:
    """The tokens that all spans together say were used."""
    return (
        sum(span.attributes.get(names.GEN_AI_USAGE_INPUT_TOKENS, 0) for span in spans),
        sum(span.attributes.get(names.GEN_AI_USAGE_OUTPUT_TOKENS, 0) for span in spans),
    )


async def test_a_request_is_counted_once(captured: Captured, server: OpenAIServer) -> None:
    """Tokens over all spans are those that the server charges; the client's part stays a span."""
    async with livekits(server) as model, calling(call := Call(model=model)):
        await call.asks("What time is it")
    [spans] = complete(captured)
    assert tokens(spans) == (server.input_tokens, server.output_tokens) == (100, 7)
    chat = only(spans, names.OP_CHAT)
    assert chat.name == "chat m-1"
    assert chat.attributes[names.GEN_AI_USAGE_CACHE_READ] == CACHED_TOKENS
    seen = only(spans, names.OP_MODEL_CLIENT)
    assert (seen.name, seen.origin) == ("m-1", "auto.ai.openai")
    assert above(spans, seen, names.OP_CHAT) == chat
    assert not [name for name in seen.attributes if name.startswith("gen_ai.usage")]
    [turn] = turns(spans)
    assert turn.attributes[names.USAGE + "input_tokens"] == server.input_tokens


async def test_a_call_in_a_tool_is_one_of_its_own(captured: Captured, server: OpenAIServer) -> None:
    """LiveKit knows nothing of it: Sentry's integration records it, as its agent's."""

    class Clock(Agent):
        @function_tool
        async def look(self) -> str:
            """Look at the clock."""
            return await ask(server)

    call = Call({"Time": Reply(tools={"look": {}}), "It is noon.": "Noon"})
    async with calling(call, Clock(instructions="Be brief.")):
        await call.asks("Time")
    [spans] = complete(captured)
    assert tokens(spans)[0] == server.input_tokens + 2 * 7
    [own] = [span for span in spans if span.origin == "auto.ai.openai"]
    assert (own.op, own.name) == (names.OP_CHAT, "chat m-2")
    assert own.attributes[names.GEN_AI_AGENT_NAME] == "clock"
    assert above(spans, own, names.OP_TOOL) is not None
    [turn] = turns(spans)
    assert turn.attributes[names.USAGE + "input_tokens"] == server.input_tokens + 2 * 7
    assert turn.attributes[names.MODELS][-1] == "tone-1"


async def test_a_node_that_asks_by_itself(captured: Captured, server: OpenAIServer) -> None:
    """LiveKit takes the node for the call: it has the client's model and its tokens."""

    class Clock(Agent):
        async def llm_node(
            self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: ModelSettings
        ) -> AsyncIterator[str]:
            """Ask the client."""
            yield await ask(server)

    call = Call()
    async with calling(call, Clock(instructions="Be brief.")):
        await call.asks("Time")
    [spans] = [captured.spans(event) for event in captured.conversations]
    assert tokens(spans) == (server.input_tokens, server.output_tokens)
    assert only(spans, names.OP_CHAT).name == "chat m-2"


async def test_a_node_that_asks_twice(captured: Captured, server: OpenAIServer) -> None:
    """What it asks the client after its own request to a model is a call besides."""

    class Clock(Agent):
        async def llm_node(
            self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: ModelSettings
        ) -> AsyncIterator[Any]:
            """Ask the model, then the client."""
            async for chunk in Agent.default.llm_node(self, chat_ctx, tools, model_settings):
                yield chunk
            await ask(server)

    call = Call({"Time": "Noon"})
    async with calling(call, Clock(instructions="Be brief.")):
        await call.asks("Time")
    [spans] = complete(captured)
    assert tokens(spans)[0] == server.input_tokens + 7
    chats = {span.name for span in spans if span.op == names.OP_CHAT}
    assert chats == {"chat mind-1", "chat m-2"}


class Unsaid(Thought):
    """An answer by OpenAI's client, of which LiveKit isn't told what it took."""

    async def _run(self) -> None:
        mind = self._llm
        assert isinstance(mind, Silent)
        delta = llm.ChoiceDelta(role="assistant", content=await ask(mind.server))
        self._event_ch.send_nowait(llm.ChatChunk(id="request", delta=delta))


class Silent(Mind):
    """A plugin that doesn't tell of tokens."""

    def __init__(self, server: OpenAIServer) -> None:
        super().__init__({})
        self.server = server

    def chat(self, **options: Any) -> Unsaid:
        return Unsaid(self, chat_ctx=options["chat_ctx"], tools=[], conn_options=FAST)


async def test_tokens_that_livekit_is_not_told_of(captured: Captured, server: OpenAIServer) -> None:
    """Are those that the client has counted."""
    call = Call(model=Silent(server))
    async with calling(call):
        await call.asks("Time")
    [spans] = [captured.spans(event) for event in captured.conversations]
    assert tokens(spans) == (server.input_tokens, server.output_tokens)
    assert only(spans, names.OP_CHAT).attributes[names.GEN_AI_USAGE_CACHE_READ] == CACHED_TOKENS


@contextmanager
def integrations(op: str, **about: Any) -> Iterator[None]:
    """A span as an integration of Sentry's makes it, in either lifecycle."""
    given = {name.replace("__", "."): value for name, value in about.items()}
    if streaming():
        named = {"sentry.op": op, "sentry.origin": "auto.ai.langgraph"}
        with sentry_sdk.traces.start_span(op, {**named, **given}):
            yield
    else:
        with sentry_sdk.start_span(op=op, name=op, origin="auto.ai.langgraph") as span:
            span.update_data(given)
            yield
        span.finish()  # as some do, for every way out


class Graph(Thought):
    """A framework of its own behind a request, which Sentry has an integration for."""

    async def _run(self) -> None:
        used = {"gen_ai__usage__input_tokens": 30, "gen_ai__request__model": "m-3"}
        with integrations("gen_ai.invoke_agent", **used):
            with integrations("gen_ai.chat", **used):
                await asyncio.sleep(0)
            with integrations("gen_ai.execute_tool", gen_ai__tool__name="search"):
                await asyncio.sleep(0)
        delta = llm.ChoiceDelta(role="assistant", content="Found it")
        self._event_ch.send_nowait(llm.ChatChunk(id="request", delta=delta))


class Graphs(Mind):
    """A plugin for it."""

    def chat(self, **options: Any) -> Graph:
        return Graph(self, chat_ctx=options["chat_ctx"], tools=[], conn_options=FAST)


async def test_a_framework_behind_a_request(captured: Captured) -> None:
    """Its own agent is none of the session's, its sums are no tokens; its tools are tools."""
    call = Call(model=Graphs({}))
    async with calling(call):
        await call.asks("Search")
    [spans] = [captured.spans(event) for event in captured.conversations]
    assert tokens(spans)[0] == 30
    ops = sorted(span.op for span in spans if span.op.startswith(("gen_ai.", "model.")))
    assert ops == [
        names.OP_CHAT,
        names.OP_TOOL,
        names.OP_INVOKE_AGENT,
        names.OP_MODEL_CLIENT,
        names.OP_MODEL_CLIENT,
    ]
    tool = only(spans, names.OP_TOOL)
    assert tool.attributes[names.GEN_AI_AGENT_NAME] == "default_agent"


async def test_outside_of_conversations_the_integration_works(
    captured: Captured, server: OpenAIServer
) -> None:
    """As ever: an AI span with its tokens, in whatever transaction there is."""
    async with livekits(server) as model, calling(call := Call(model=model)):
        await call.asks("What time is it")
    with foreign_transaction("queue.process", "job"):
        await ask(server)
    [job] = [event for event in captured.transactions if event["transaction"] == "job"]
    [chat] = [span for span in captured.spans(job) if span.op == names.OP_CHAT]
    assert chat.origin == "auto.ai.openai"
    assert chat.attributes[names.GEN_AI_USAGE_INPUT_TOKENS] == INPUT_TOKENS
