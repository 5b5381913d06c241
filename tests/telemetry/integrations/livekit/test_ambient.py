"""What is current inside an agent's own code, for us and for Sentry's integrations."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sentry_sdk
from livekit.agents import Agent, function_tool
from sentry_sdk import traces as streamed

import telemetry

from .call import Call, calling
from .providers import Reply
from .tree import above, complete

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterator

    from livekit import rtc
    from livekit.agents import ModelSettings, llm

    from telemetry.testing import Captured


class Service(BaseHTTPRequestHandler):
    """Answers, and remembers the trace headers it was sent."""

    seen: dict[str, str]

    def do_GET(self) -> None:
        """Answer."""
        type(self).seen[self.path.strip("/")] = self.headers["sentry-trace"]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[tuple[str, dict[str, str]]]:
    """A web service's address, and the headers it got, by stage."""
    Service.seen = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", Service.seen
        server.shutdown()
        thread.join()


class Curious(Agent):
    """Notes in each of its stages what is current there, and makes a request."""

    def __init__(self, service: str) -> None:
        super().__init__(instructions="Be brief.")
        self.current: dict[str, str] = {}
        self._client = httpx.AsyncClient(base_url=service)

    async def look(self, stage: str) -> None:
        """Note it, and start spans: Sentry's, ours, a request's."""
        ours = telemetry.current_span()
        assert ours is not None
        self.current[stage] = ours.op
        streaming = sentry_sdk.get_client().options["trace_lifecycle"] == "stream"
        theirs = (streamed if streaming else sentry_sdk).get_current_span()
        assert theirs is not None
        assert theirs.span_id == ours.id
        await self._client.get(f"/{stage}")
        if streaming:
            with streamed.start_span(stage, {"sentry.op": "plain"}):
                pass
        else:
            with sentry_sdk.start_span(op="plain", name=stage):
                pass
        with telemetry.span("own", stage):
            pass

    async def on_enter(self) -> None:
        await self.look("on_enter")

    async def on_exit(self) -> None:
        await self.look("on_exit")
        await self._client.aclose()

    async def on_user_turn_completed(
        self, turn_ctx: llm.ChatContext, new_message: llm.ChatMessage
    ) -> None:
        await self.look("on_user_turn_completed")

    @function_tool
    async def tool(self) -> str:
        """Look."""
        await self.look("tool")
        return "Looked"

    async def llm_node(
        self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: ModelSettings
    ) -> AsyncIterator[Any]:
        await self.look("llm_node")
        async for chunk in Agent.default.llm_node(self, chat_ctx, tools, model_settings):
            yield chunk

    async def tts_node(
        self, text: AsyncIterable[str], model_settings: ModelSettings
    ) -> AsyncIterator[rtc.AudioFrame]:
        await self.look("tts_node")
        async for frame in Agent.default.tts_node(self, text, model_settings):
            yield frame


async def test_each_stage_is_current_in_its_own_code(
    captured: Captured, service: tuple[str, dict[str, str]]
) -> None:
    """In a node, a tool or a hook the stage's span is current, ours and Sentry's are the same, a
    request carries it, and what is started there is its child.
    """
    address, seen = service
    call, agent = Call({"Look": Reply(tools={"tool": {}}), "Looked": "Yes"}), Curious(address)
    async with calling(call, agent):
        await call.asks("Look")
    [spans] = complete(captured)
    expected = {
        "on_enter": "livekit.on_enter",
        "on_exit": "livekit.on_exit",
        "on_user_turn_completed": "livekit.on_user_turn_completed",
        "llm_node": "gen_ai.chat",
        "tool": "gen_ai.execute_tool",
        "tts_node": "tts.synthesize",
    }
    assert agent.current == expected
    for stage, op in expected.items():
        children = [span for span in spans if span.name == stage and span.op in ("plain", "own")]
        assert {child.op for child in children} == {"plain", "own"}
        for child in children:
            assert child.parent_span_id in {span.span_id for span in spans if span.op == op}
        [request] = [span for span in spans if span.span_id == seen[stage].split("-")[1]]
        assert request.op == "http.client"
        around = above(spans, request, op)
        assert around is not None
        assert request.parent_span_id == around.span_id
