"""Requests for a reply are traced: the server sees each as the child of the attempt it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from livekit.agents import Agent, AgentSession

from agent.providers import Connections, load, require
from telemetry import attributes as names
from telemetry.integrations import livekit as livekit_telemetry
from telemetry.integrations.httpx2 import Httpx2Integration
from telemetry.testing import capture

from .openai_server import OpenAIServer, all_openai

if TYPE_CHECKING:
    from typing import Literal

    from telemetry.records import SpanRecord

CALLERS = 20


async def _converse(number: int, models: Any, connections: Connections) -> None:
    """One conversation: the caller types, the model on the server answers."""
    plugins = models.plugins(connections=connections)
    session = AgentSession[None](llm=plugins.llm)
    livekit_telemetry.trace(session, name="host", id=f"c-{number}")
    await session.start(Agent(instructions="Answer."), record=False)
    for turn in range(2):
        await session.run(user_input=f"This is {number}, {turn}.")
    await session.aclose()
    await plugins.aclose()


@pytest.mark.parametrize("lifecycle", ["transaction", "stream"])
async def test_twenty_conversations_ask_through_one_client(
    lifecycle: Literal["transaction", "stream"],
) -> None:
    """Every request, streamed, names the attempt of that turn of that conversation as its parent;
    a conversation that comes later needs no connection of its own."""
    server = OpenAIServer(reply="Good evening to you.")
    with capture(
        lifecycle=lifecycle, auto_enabling_integrations=False, integrations=[Httpx2Integration()]
    ) as captured:
        async with server.serving() as base_url, Connections.open() as connections:
            choice = all_openai(base_url)
            require(choice)
            with load(choice) as models:
                await asyncio.gather(
                    *(_converse(number, models, connections) for number in range(CALLERS))
                )
                opened = set(server.connections)
                await _converse(CALLERS, models, connections)
                assert server.connections == opened
        assert captured.runtime.stats().orphan_spans == 0
        spans: dict[str, SpanRecord] = {}
        held_in: dict[str, str] = {}
        for event in captured.conversations:
            id = event["contexts"]["trace"]["data"][names.GEN_AI_CONVERSATION_ID]
            for span in captured.spans(event):
                spans[span.span_id], held_in[span.span_id] = span, id

    assert len(opened) <= 2 * CALLERS  # one to warm up, while the other asks
    assert len(server.chats) == 2 * (CALLERS + 1)
    for chat in server.chats:
        _, parent, _ = chat.headers["sentry-trace"].split("-")
        said = chat.body["messages"][-1]["content"]
        assert f"This is {held_in[parent].removeprefix('c-')}, " in said
        chain = [spans[parent]]
        while (above := spans.get(chain[-1].parent_span_id or "")) is not None:
            chain.append(above)
        assert [span.op for span in chain][:5] == [
            "http.client",
            "livekit.llm_request_run",
            "livekit.llm_request",
            names.OP_CHAT,
            names.OP_INVOKE_AGENT,
        ]
        # how exact it is: `make bench`
        assert chain[3].attributes[names.GEN_AI_TIME_TO_FIRST_TOKEN] > 0
